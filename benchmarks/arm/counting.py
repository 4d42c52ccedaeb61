"""Instructions that a `.tflite` file executes on an ARM core, counted under emulation.

qemu's plugin (`instructions.c`) counts, and a clock (`clock.c`) shows the count to the runner in place of the time. Its
latencies and its profile by operator become numbers of instructions, which no other program on this machine disturbs.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from keras_effvit.device.assets import assets
from keras_effvit.device.engine import Plan
from keras_effvit.device.events import Answers, arguments
from keras_effvit.device.host import BINARIES
from tests.phones import arm, cache, debian

HERE = Path(__file__).parent
#: The emulator that loads plugins, which the static one cannot, and all that it is linked to itself.
PACKAGES = (
    *("qemu-user", "libc6", "libgcc-s1", "zlib1g", "libcapstone4", "libnuma1", "liburing2", "libglib2.0-0"),
    *("libpcre2-8-0", "libgnutls30", "libp11-kit0", "libidn2-0", "libunistring2", "libtasn1-6", "libnettle8"),
    *("libhogweed6", "libgmp10", "libffi8"),
)
#: By the kind of instruction: the words that count, and the bits that matter. Products of whole registers: `SDOT` of
#: bytes multiplies 16 pairs of numbers, `FMLA` of floats 4; both take a second operand from a register or a part of it.
KINDS = {
    "all": (),
    "sdot": ("4e809400/ffe0fc00", "4f80e000/ffc0f400"),
    "fmla": ("4e20cc00/ffe0fc00", "4f801000/ffc0f400"),
}
#: Multiplications that one instruction does.
MACS = {"sdot": 16, "fmla": 4}
#: As the compiler calls them: of this machine, which runs the emulator, and of the core inside.
_TARGETS = {"instructions": "x86_64-linux-gnu.2.31", "clock": "aarch64-linux-gnu.2.34"}
#: In instructions, and in the runner's seconds a million times fewer: no file is stopped by it.
_LONGEST = 400_000.0


def count(file: Path, kind: str = "all", *, cpu: str = arm.CPU, runs: int = 2, profile: int = 0) -> Answers:
    """Runs a file on one thread and counts.

    Args:
        file: the `.tflite` file.
        kind: of instructions, a key of `KINDS`.
        cpu: the core, as the emulator calls it.
        runs: inferences to count, after one that is not: the first prepares things.
        profile: inferences by operator besides.

    Returns:
        What the runner said, a microsecond for every instruction.

    Raises:
        DeviceError: if the file does not run.
        cache.UnavailableError: where the emulator cannot be had.
    """
    plan = Plan(warm_ups=1, warm_up_seconds=0, runs=runs, seconds=0, longest_seconds=_LONGEST)
    programs, libraries, root = _programs(), assets(), arm.arm_root(cpu)
    with tempfile.NamedTemporaryFile(prefix="instructions-") as page:
        plugin = ",".join([str(programs / "instructions.so"), f"page={page.name}", *_patterns(kind)])
        command = [*_emulator(), "-cpu", cpu, "-L", root, "-plugin", plugin]
        command += [
            libraries / "ld-linux-aarch64.so.1",
            "--library-path",
            libraries,
            "--preload",
            programs / "clock.so",
        ]
        command += [BINARIES / "runner-aarch64", f"--lib={libraries / 'libLiteRt.so'}", f"--graph={file.resolve()}"]
        done = subprocess.run(
            [*map(str, command), *arguments(plan, profile=profile)],
            env={**os.environ, "INSTRUCTIONS_PAGE": page.name},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    answers = Answers.of(done.stdout.splitlines())
    answers.check(128 - done.returncode if done.returncode < 0 else done.returncode, done.stderr)
    return answers


def instructions(answers: Answers) -> int:
    """Of one inference.

    Args:
        answers: of `count`.

    Raises:
        ValueError: if two inferences are further apart than a thousandth, and something else was counted with them.
    """
    counts = [round(1000 * latency) for latency in answers.latencies_ms]
    if max(counts) - min(counts) > min(counts) / 1000:
        raise ValueError(f"Expected the same number of instructions every time. Received: {counts}")
    return min(counts)


def _patterns(kind: str) -> list[str]:
    return [f"pattern={pattern}" for pattern in KINDS[kind]]


def _emulator() -> list[Path | str]:
    """By its own loader: its libraries are not those of this machine."""
    root = debian.unpacked("qemu", PACKAGES) / "amd64"
    libraries = [root / folder / "x86_64-linux-gnu" for folder in ("lib", "usr/lib")]
    loader = libraries[0] / "ld-linux-x86-64.so.2"
    return [loader, "--library-path", ":".join(map(str, libraries)), root / "usr/bin/qemu-aarch64"]


def _programs() -> Path:
    """The folder with plugin and clock, compiled at first use."""
    sources = {name: (HERE / f"{name}.c").read_bytes() for name in _TARGETS}
    recipe = hashlib.sha256(b"".join(sources.values())).hexdigest()
    return cache.made("instructions", f"{recipe} {_TARGETS}", _compile)


def _compile(folder: Path) -> None:
    for name, target in _TARGETS.items():
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-std=gnu11", "-O2", "-shared", "-fPIC"]
        command += ["-Wall", "-Wextra", "-o", str(folder / f"{name}.so"), f"{name}.c"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        if done.returncode:
            raise cache.UnavailableError(f"{name}.c does not compile: {done.stderr.strip()[:500]}")
