"""Builds the runner for phones (aarch64) and for hosts, with Zig's C compiler from PyPI: the same bytes everywhere.

python tflite/runner/build.py             writes keras_effvit/device/binaries/
python tflite/runner/build.py FOLDER      writes there, as the tests do
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
BINARIES = HERE.parents[1] / "keras_effvit" / "device" / "binaries"
#: Also in pyproject.toml; another version may write other bytes.
ZIG = "0.17.1"
#: By the machine's name; the oldest C library that is enough. LiteRT itself needs 2.34 on ARM, and on a host 2.27.
TARGETS = {"aarch64": "aarch64-linux-gnu.2.34", "x86_64": "x86_64-linux-gnu.2.27"}
#: No CPU features beyond the architecture's first: the runner only waits for LiteRT, which finds out for itself.
FLAGS = ("-std=c11", "-O2", "-s", "-fPIE", "-pie", "-mcpu=baseline", "-Wl,--build-id=none")
WARNINGS = ("-Wall", "-Wextra", "-Werror")


def sources() -> list[Path]:
    """What the binaries are made from, in a fixed order."""
    return sorted([*HERE.glob("*.c"), *HERE.glob("*.h")])


def fingerprint() -> str:
    """SHA-256 of all that decides about the binaries' bytes: sources, flags and compiler."""
    digest = hashlib.sha256(repr((ZIG, sorted(TARGETS.items()), FLAGS)).encode())
    for path in sources():
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def build(machine: str, folder: Path) -> Path:
    """Builds the runner for one kind of machine.

    Args:
        machine: a key of `TARGETS`.
        folder: where `runner-MACHINE` is written.

    Returns:
        The binary's path.
    """
    binary = folder / f"runner-{machine}"
    files = [path.name for path in sources() if path.suffix == ".c"]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[machine], *FLAGS, *WARNINGS]
    # Relative names, because the compiler writes down what it was given; libdl for C libraries before 2.34.
    subprocess.run([*command, "-o", str(binary.resolve()), *files, "-ldl", "-lm"], cwd=HERE, check=True)
    binary.chmod(0o755)
    return binary


def main(arguments: Sequence[str]) -> None:
    """Builds all.

    Args:
        arguments: of the command line.
    """
    version = subprocess.run([sys.executable, "-m", "ziglang", "version"], check=True, capture_output=True, text=True)
    if version.stdout.strip() != ZIG:
        sys.exit(f"Expected ziglang {ZIG}, with which the binaries are the same everywhere. Received: {version.stdout}")
    folder = Path(arguments[0]) if arguments else BINARIES
    folder.mkdir(parents=True, exist_ok=True)
    for machine in TARGETS:
        binary = build(machine, folder)
        print(f"{os.path.relpath(binary)}: {binary.stat().st_size} bytes")
    (folder / "source.sha256").write_text(fingerprint() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
