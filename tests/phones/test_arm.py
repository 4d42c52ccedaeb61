"""ARM programs run here, and on the core that was asked for."""

import pytest

from tests.phones import arm, cache

#: Not in cortex-a53: the int8 dot product, half precision, atomic instructions.
NEWER = {"asimddp", "asimdhp", "atomics"}


@pytest.fixture(scope="module")
def root():
    try:
        return arm.arm_root()
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))


def test_the_libraries_of_a_program_are_all_there(root):
    loader = root / "lib/ld-linux-aarch64.so.1"
    listing = arm.run_arm([loader, "--list", root / "lib/aarch64-linux-gnu/libstdc++.so.6"])
    assert listing.returncode == 0, listing.stderr
    assert {"libm.so.6", "libc.so.6", "libgcc_s.so.1"} <= set(listing.stdout.split())
    assert "not found" not in listing.stdout


@pytest.mark.parametrize(("cpu", "part"), [("cortex-a76", "0xd0b"), ("cortex-a53", "0xd03")])
def test_the_processor_says_what_the_emulator_can_do(root, cpu, part):
    text = (arm.arm_root(cpu) / "proc/cpuinfo").read_text()
    [features] = {line.split(": ")[1] for line in text.splitlines() if line.startswith("Features")}
    assert f"CPU part\t: {part}" in text
    assert {"fp", "asimd"} <= set(features.split())
    assert NEWER & set(features.split()) == (NEWER if cpu == "cortex-a76" else set())


def test_an_unknown_processor_is_an_error_of_the_emulator(root):
    assert arm.run_arm([root / "lib/ld-linux-aarch64.so.1", "--version"], env={"QEMU_CPU": "x"}).returncode == 0
    with pytest.raises(cache.UnavailableError, match="cortex-z1"):
        arm.arm_root("cortex-z1")
