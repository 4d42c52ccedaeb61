"""What makes the box a phone and no Linux machine."""

import shutil
import stat

import pytest

from tests.phones import arm, box, debian
from tests.phones.box import PhoneBox
from tests.phones.fixtures import attached

TEMPORARY = "/data/local/tmp"


@pytest.fixture
def boxed(adb_server):
    if reason := box.unsupported():
        pytest.skip(reason)
    with attached(adb_server, PhoneBox(data_size="32m")) as phone:
        yield phone


@pytest.fixture
def shell(boxed, adb_server):
    return lambda command: adb_server.adb("-s", boxed.serial, "shell", command)


@pytest.fixture
def program(tmp_path):
    """A program that is linked to glibc, with the libraries it needs and their loader."""
    folder = tmp_path / "program"
    folder.mkdir()
    packages = debian.unpacked("packages-phone", debian.PHONE) / "arm64"
    libraries = arm.arm_root() / "lib/aarch64-linux-gnu"
    for file in (packages / "bin/toybox", *packages.rglob("libcrypt.so.1"), *libraries.iterdir()):
        shutil.copy(file, folder / file.name)
        (folder / file.name).chmod(0o755)
    return folder


def test_it_is_an_arm_machine(shell):
    assert shell("uname -m").stdout == "aarch64\n"
    text = shell("cat /proc/cpuinfo").stdout
    assert "CPU part\t: 0xd0b\n" in text
    assert "asimddp" in text


def test_another_core(adb_server):
    if reason := box.unsupported():
        pytest.skip(reason)
    with attached(adb_server, PhoneBox(cpu="cortex-a53")) as phone:
        text = adb_server.adb("-s", phone.serial, "shell", "cat /proc/cpuinfo").stdout
        assert "CPU part\t: 0xd03\n" in text
        assert "asimddp" not in text


def test_its_user_is_the_shell(shell):
    assert shell("id -u; id -un").stdout == "2000\nshell\n"
    assert "Permission denied" in shell("ls /data").stderr


def test_the_system_cannot_be_written(shell):
    done = shell("touch /system/x")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_commands_can_be_bound_to_cores(boxed, shell):
    online = shell("cat /sys/devices/system/cpu/online").stdout.strip()
    last = int(online.replace("-", ",").split(",")[-1])
    assert shell(f"taskset {1 << last:x} true").returncode == 0
    done = shell("taskset 8000000000000000 true")
    assert done.returncode == 1
    assert "Invalid argument" in done.stderr


def test_data_ends_somewhere(boxed, shell):
    assert int(shell(f"df -k {TEMPORARY}").stdout.split()[-3]) == 32 * 1024
    done = shell(f"cat /dev/zero > {TEMPORARY}/zeros")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_nothing_on_the_card_can_be_run(boxed, adb_server, shell, program):
    assert adb_server.adb("-s", boxed.serial, "push", str(program / "toybox"), "/sdcard/toybox").returncode == 0
    done = shell("/sdcard/toybox uname")
    assert done.returncode == 126
    assert "Permission denied" in done.stderr


def test_a_glibc_program_finds_no_loader_and_runs_by_one_that_was_pushed(boxed, adb_server, shell, program):
    assert adb_server.adb("-s", boxed.serial, "push", f"{program}/.", f"{TEMPORARY}/it/").returncode == 0
    assert stat.S_IMODE((program / "toybox").stat().st_mode) == 0o755
    done = shell(f"cd {TEMPORARY}/it && ./toybox uname -m")
    assert done.returncode == 127
    assert "not found" in done.stderr
    done = shell(f"cd {TEMPORARY}/it && ./ld-linux-aarch64.so.1 --library-path . ./toybox uname -m")
    assert (done.returncode, done.stdout) == (0, "aarch64\n")
    missing = shell(f"cd {TEMPORARY}/it && rm libcrypt.so.1 && ./ld-linux-aarch64.so.1 --library-path . ./toybox")
    assert missing.returncode == 127
    assert "libcrypt.so.1: cannot open shared object file" in missing.stderr


def test_an_intel_program_does_not_run(boxed, adb_server, shell):
    adb_server.adb("-s", boxed.serial, "push", shutil.which("true") or "", f"{TEMPORARY}/intel")
    assert shell(f"{TEMPORARY}/intel").returncode in (126, 127)


def test_what_cannot_boot_says_why():
    if reason := box.unsupported():
        pytest.skip(reason)
    with pytest.raises(RuntimeError, match="data: Invalid argument"), PhoneBox(data_size="none"):
        pass
