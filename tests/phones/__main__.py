"""Prepares the machine for tests with phones: `make phone`. What cannot be had is said, and the suite does without."""

import os
import shutil
import subprocess

from tests.phones import arm, box, cache

#: Debian's package for a program.
PROGRAMS = {"adb": "adb", "qemu-aarch64-static": "qemu-user-static"}


def install() -> str | None:
    """Installs what is missing, if that is possible; else the reason why not."""
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if not missing:
        return None
    wanted = f"apt-get install {' '.join(missing)}"
    if not shutil.which("apt-get"):
        return f"install {' and '.join(missing)} by hand: this machine has no apt-get"
    if os.geteuid() != 0:
        return f"only root can do it: {wanted}"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    options = ["-qq", "-o", "DPkg::Lock::Timeout=120"]
    for words in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", *options, *words], env=environment, capture_output=True, text=True)
    return f"{wanted} failed: {done.stderr.strip().splitlines()[-1:]}" if done.returncode else None


def main() -> None:
    """Installs, fetches, boots once."""
    cache.forget_failures()
    if reason := install():
        print(f"adb and qemu: {reason}")
    try:
        print(f"ARM programs: {arm.arm_root()}")
    except cache.UnavailableError as error:
        print(f"ARM programs: not here: {error}")
    reason = box.unsupported()
    print("Phones: in a box" if reason is None else f"Phones: emulated, because {reason}")


if __name__ == "__main__":
    main()
