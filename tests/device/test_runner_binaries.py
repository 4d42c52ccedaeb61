"""The binaries in the package are those that the sources make."""

import importlib.util
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from keras_effvit.device.host import BINARIES

BUILD = Path(__file__).parents[2] / "tflite" / "runner" / "build.py"
if not BUILD.exists():
    pytest.skip("no checkout: the sources are not installed", allow_module_level=True)
_spec = importlib.util.spec_from_file_location("build", BUILD)
assert _spec
assert _spec.loader
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


def test_they_are_no_older_than_their_sources():
    recorded = (BINARIES / "source.sha256").read_text().strip()
    assert recorded == build.fingerprint(), "run `make runner` and commit keras_effvit/device/binaries"


def test_a_build_gives_the_same_bytes(tmp_path):
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: `pip install .[runner]`")
    # Elsewhere, so that no path of this checkout can be part of them.
    sources = shutil.copytree(BUILD.parent, tmp_path / "elsewhere" / "runner")
    subprocess.run([sys.executable, sources / BUILD.name, tmp_path / "built"], check=True, timeout=300)
    for machine in build.TARGETS:
        name = f"runner-{machine}"
        assert (tmp_path / "built" / name).read_bytes() == (BINARIES / name).read_bytes(), name


@pytest.mark.parametrize(("machine", "number"), [("aarch64", 183), ("x86_64", 62)])
def test_they_are_programs_for_their_machine(machine, number):
    header = (BINARIES / f"runner-{machine}").read_bytes()[:20]
    assert header[:5] == b"\x7fELF\x02"
    assert struct.unpack("<H", header[18:20]) == (number,)
    assert (BINARIES / f"runner-{machine}").stat().st_mode & 0o111
    assert (BINARIES / f"runner-{machine}").stat().st_size < 50_000
