"""Files to a phone and back: all of it or none of it, whatever they are called."""

import pytest

from keras_effvit.device import errors
from tests.device.conftest import raises, reach
from tests.device.test_shell import UGLY

TMP = "/data/local/tmp"


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large file.bin"
    path.write_bytes(bytes(range(256)) * 40_000)
    return path


@pytest.mark.parametrize("name", UGLY)
def test_a_file_goes_there_and_back(both, tmp_path, name):
    local, remote = tmp_path / "there" / name, f"{TMP}/folder of {name}/{name}"
    local.parent.mkdir()
    local.write_bytes(name.encode() + bytes(range(256)))
    both.device.push(local, remote)
    assert both.phone.files() == {remote: local.stat().st_size}
    (tmp_path / "back").mkdir()
    both.device.pull(remote, tmp_path / "back" / name)
    assert (tmp_path / "back" / name).read_bytes() == local.read_bytes()
    assert [path.name for path in (tmp_path / "back").iterdir()] == [name]


def test_a_program_may_run_and_a_file_may_not(both, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho $0 runs\n")
    both.device.push(program, f"{TMP}/a program", executable=True)
    assert both.device.shell(f"'{TMP}/a program'").stdout.endswith("/a program runs\n")
    both.device.push(program, f"{TMP}/a program")
    with raises(errors.NotExecutable):
        both.device.shell(f"'{TMP}/a program'").check()


def test_a_file_replaces_another(both, tmp_path):
    for text in ("long before", "short", ""):
        (tmp_path / "a").write_text(text)
        both.device.push(tmp_path / "a", f"{TMP}/a")
        assert both.phone.read(f"{TMP}/a") == text
    (tmp_path / "back").write_text("old")
    both.device.pull(f"{TMP}/a", tmp_path / "back")
    assert (tmp_path / "back").read_text() == ""


def test_what_is_not_there(both, tmp_path):
    with raises(errors.FileMissing, "nowhere"):
        both.device.push(tmp_path / "nowhere", f"{TMP}/a")
    with raises(errors.FileMissing, str(tmp_path)):
        both.device.push(tmp_path, f"{TMP}/a")
    with raises(errors.FileMissing, f"{TMP}/nowhere"):
        both.device.pull(f"{TMP}/nowhere", tmp_path / "a")
    for remote in ("relative", "/data/", ""):
        with raises(errors.FileMissing, "absolute"):
            both.device.push(__file__, remote)
    assert not (tmp_path / "a").exists()
    assert both.phone.files() == {}


def test_a_folder_is_in_the_way(both):
    both.device.shell(f"mkdir {TMP}/a").check()
    with raises(errors.RunFailed, "Is a directory"):
        both.device.push(__file__, f"{TMP}/a")
    assert both.phone.files() == {}


def test_a_file_is_in_the_way(both):
    both.device.shell(f"echo > {TMP}/a").check()
    with raises(errors.AdbFailed):
        both.device.push(__file__, f"{TMP}/a/b")


def test_a_place_that_nobody_may_write_to(arm_phone, adb_server):
    with raises(errors.AdbFailed, "Read-only file system", "such as /data/local/tmp"):
        reach(adb_server, arm_phone).device.push(__file__, "/system/a")


def test_the_phone_is_full(both, large):
    both.device.push(__file__, f"{TMP}/a")
    before = both.phone.files()
    both.phone.fill(leave=1_000_000)
    with raises(errors.NoSpace, "No space left on device", "Delete something"):
        both.device.push(large, f"{TMP}/a")
    assert both.phone.files() == before
    both.phone.empty()
    both.device.push(large, f"{TMP}/a")
    assert both.phone.files() == {f"{TMP}/a": large.stat().st_size}


def test_the_cable_is_pulled_during_a_push(both, large):
    both.phone.drop_after(down=2_000_000)
    with raises(errors.Disconnected, large.name, "Plug the cable in again"):
        both.device.push(large, f"{TMP}/a")
    assert f"{TMP}/a" not in both.phone.files()
    both.device.wait(timeout=30)
    both.device.push(large, f"{TMP}/a")
    assert both.phone.files() == {f"{TMP}/a": large.stat().st_size}


def test_the_cable_is_pulled_during_a_pull(both, large, tmp_path):
    both.device.push(large, f"{TMP}/a")
    both.phone.drop_after(up=2_000_000)
    with raises(errors.Disconnected, "Plug the cable in again"):
        both.device.pull(f"{TMP}/a", tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == [large.name]
    both.device.wait(timeout=30)
    both.device.pull(f"{TMP}/a", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_a_phone_that_stops_taking(both, large):
    both.phone.mute()
    with raises(errors.TimedOut, "no end within 1.5 s"):
        both.device.push(large, f"{TMP}/a", timeout=1.5)
    both.phone.unmute()
    both.device.wait(timeout=30)


def test_waiting_for_a_phone_that_comes_back(both):
    both.phone.unplug()
    with pytest.raises((errors.Offline, errors.NoDevice)):
        both.device.wait(timeout=0.5)
    both.phone.plug()
    both.device.wait(timeout=30)
    assert both.device.shell("echo back").stdout == "back\n"
