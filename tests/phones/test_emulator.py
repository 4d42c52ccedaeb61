"""What only the emulated phone does: it asks before it lets adb in, and it can be as old as Android 6."""

import pytest

from tests.phones.emulator import Emulator
from tests.phones.fixtures import attached


def test_it_asks_and_someone_allows(adb_server):
    with Emulator(authorization="asks") as phone:
        adb_server.attach(phone, "unauthorized")
        done = adb_server.adb("-s", phone.serial, "shell", "true")
        assert done.returncode == 1
        assert "device unauthorized" in done.stderr
        phone.allow()
        adb_server.attach(phone)
        assert adb_server.adb("-s", phone.serial, "shell", "echo in").stdout == "in\n"


def test_it_knows_the_key(adb_server):
    with attached(adb_server, Emulator(authorization="trusted")) as phone:
        assert adb_server.adb("-s", phone.serial, "shell", "echo in").stdout == "in\n"


def test_nobody_answers_the_question(adb_server):
    with Emulator(authorization="never") as phone:
        adb_server.attach(phone, "unauthorized")
        assert phone.services == []


def test_an_old_android_tells_no_exit_code(adb_server):
    with attached(adb_server, Emulator(old=True)) as phone:
        done = adb_server.adb("-s", phone.serial, "shell", "echo out; echo err >&2; exit 3")
        assert done.returncode == 0
        assert sorted(done.stdout.split()) == ["err", "out"]


def test_what_it_does_not_offer_is_refused(emulated_phone, adb_server):
    done = adb_server.adb("-s", emulated_phone.serial, "root")
    assert done.returncode != 0
    assert "closed" in done.stdout + done.stderr


def test_paths_of_the_phone_are_found_and_others_left_alone(emulated_phone, adb_server):
    command = "echo here > '/data/local/tmp/a b'; cat \"/data/local/tmp/a b\"; echo x/data /database /data.txt"
    done = adb_server.adb("-s", emulated_phone.serial, "shell", command)
    assert done.stdout == "here\nx/data /database /data.txt\n"
    assert emulated_phone.files() == {"/data/local/tmp/a b": 5}


def test_it_ends_what_was_started(adb_server):
    with attached(adb_server, Emulator()) as phone:
        adb_server.adb("-s", phone.serial, "shell", "sleep 62 >/dev/null 2>&1 </dev/null &")
        assert list(phone.processes().values()) == [["sleep", "62"]]
    assert phone.processes() == {}


@pytest.mark.parametrize("count", [1, 3])
def test_fixtures_attach_their_phones(request, adb_server, count):
    request.getfixturevalue("phone")
    if count == 3:
        request.getfixturevalue("two_phones")
    lines = adb_server.adb("devices").stdout.splitlines()
    assert len([line for line in lines if line.endswith("\tdevice")]) == count
