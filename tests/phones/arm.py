"""ARM programs on this machine: a sysroot with the libraries they are linked to, and the emulator that runs them."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.phones import cache, debian, processor

#: Has the int8 dot product, as phones of the last years do. Not "max": qemu 7.2 gets its SME wrong, and int8 with it.
CPU = "cortex-a76"
LIBRARIES = ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1")
LIBRARIES += ("libgcc_s.so.1", "libstdc++.so.6")


def emulator() -> str:
    """The path of qemu's program for ARM programs.

    Raises:
        cache.UnavailableError: if it is not installed.
    """
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not found:
        raise cache.UnavailableError("qemu-aarch64-static is not installed; `make phone` as root installs it")
    return found


def arm_root(cpu: str = CPU) -> Path:
    """A sysroot for programs linked to glibc, fetched at first use.

    Args:
        cpu: its `/proc/cpuinfo` is this core's. A runtime that reads the host's instead crashes, and one that reads
            another core's uses instructions that this one has not.

    Returns:
        The folder: `lib/ld-linux-aarch64.so.1`, `lib/aarch64-linux-gnu/*.so.*`, `proc/cpuinfo`.

    Raises:
        cache.UnavailableError: without network, apt or emulator.
    """
    qemu = emulator()
    base = cache.made("arm", f"flat {debian.ARM} {LIBRARIES}", _flatten)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    recipe = f"{base.name} {qemu} {cores}"
    return cache.made(
        f"arm-{cpu}", recipe, lambda folder: _with_processor(folder, base, processor.cpuinfo(cpu, cores, qemu, base))
    )


def run_arm(
    argv: Sequence[str | Path],
    cpu: str = CPU,
    *,
    env: Mapping[str, str] | None = None,
    libraries: Sequence[str | Path] = (),
    timeout: float = 300.0,
    **options,
) -> subprocess.CompletedProcess:
    """Runs an aarch64 program to its end.

    Args:
        argv: the program and its arguments. Files are those of this machine.
        cpu: as the emulator calls it.
        env: variables more than this process has.
        libraries: folders with shared libraries besides the sysroot's.
        timeout: in seconds.
        options: of `subprocess.run`; output is captured as text unless they say otherwise.

    Returns:
        Of the process.

    Raises:
        cache.UnavailableError: without network, apt or emulator.
    """
    root = arm_root(cpu)
    variables = {"LD_LIBRARY_PATH": ":".join(map(str, libraries))} if libraries else {}
    assignments = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
    command = [emulator(), "-cpu", cpu, "-L", root, *assignments, *argv]
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run(command, env={**os.environ, **(env or {})}, timeout=timeout, **options)


def _flatten(folder: Path) -> None:
    source = debian.unpacked("packages-arm", debian.ARM) / "arm64"
    libraries = folder / "lib" / "aarch64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in LIBRARIES:
        [found] = {path.resolve() for path in source.rglob(name) if path.exists()}
        shutil.copy(found, libraries / name)
    (folder / "lib" / LIBRARIES[0]).symlink_to(f"aarch64-linux-gnu/{LIBRARIES[0]}")


def _with_processor(folder: Path, base: Path, text: str) -> None:
    # Hard links: a symbolic link would lead out of the sysroot.
    shutil.copytree(base, folder, copy_function=os.link, symlinks=True, dirs_exist_ok=True)
    (folder / "proc").mkdir()
    (folder / "proc" / "cpuinfo").write_text(text)
