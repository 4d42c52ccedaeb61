"""What an ARM core says of itself in `/proc/cpuinfo`, asked of the emulator that plays it."""

import functools
import re
import subprocess
from pathlib import Path

from tests.phones import cache

#: By bit, as Linux names them: of AT_HWCAP and of AT_HWCAP2.
HWCAP = """fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3
    sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg"""
HWCAP2 = """dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm
    bf16 dgh rng bti mte ecv afp rpres mte3 sme smei16i64 smef64f64 smei8i32 smef16f32 smeb16f32 smef32f32 smefa64
    wfxt"""
#: The number of the part in ARM's list; runtimes choose their kernels by it.
PARTS = {"cortex-a53": 0xD03, "cortex-a57": 0xD07, "cortex-a72": 0xD08, "cortex-a76": 0xD0B, "neoverse-n1": 0xD0C}
PARTS |= {"cortex-a710": 0xD47}


@functools.cache
def cpuinfo(cpu: str, numbers: tuple[int, ...], emulator: str, root: Path) -> str:
    """The text of `/proc/cpuinfo`.

    Args:
        cpu: as the emulator calls it, such as "cortex-a76".
        numbers: of the cores.
        emulator: path of `qemu-aarch64-static`.
        root: a sysroot that holds the loader.
    """
    return "".join(_core(each, cpu, features(cpu, emulator, root)) for each in numbers)


@functools.cache
def features(cpu: str, emulator: str, root: Path) -> str:
    """What the emulated core can do: the loader prints what the kernel, here the emulator, told it."""
    command = [
        emulator,
        "-cpu",
        cpu,
        "-E",
        "LD_SHOW_AUXV=1",
        "-L",
        root,
        root / "lib/ld-linux-aarch64.so.1",
        "--version",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise cache.UnavailableError(f"{emulator} plays no {cpu}: {done.stderr.strip()}")
    names: list[str] = []
    for key, known in (("AT_HWCAP", HWCAP), ("AT_HWCAP2", HWCAP2)):
        found = re.search(rf"^{key}:\s+(?:0x)?([0-9a-f]+)$", done.stdout, re.MULTILINE)
        bits = int(found[1], 16) if found else 0
        names += [name for bit, name in enumerate(known.split()) if bits >> bit & 1]
    return " ".join(names)


def _core(number: int, cpu: str, able: str) -> str:
    part = PARTS.get(cpu.split(",")[0], 0x051)
    implementer = 0x41 if part != 0x051 else 0x00
    facts = {
        "processor\t": number,
        "BogoMIPS\t": "100.00",
        "Features\t": able,
        "CPU implementer\t": hex(implementer),
        "CPU architecture": 8,
        "CPU variant\t": "0x0",
        "CPU part\t": f"{part:#05x}",
        "CPU revision\t": 0,
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items()) + "\n"
