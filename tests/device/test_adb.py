"""adb as users have it: missing, misled, mute; with no phone, several, and phones that do not let it in."""

import os
import socket
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device import errors
from keras_effvit.device.adb import Adb
from keras_effvit.device.listing import Listed, parse_devices
from keras_effvit.device.phone import Phone
from tests.device.conftest import raises, reach
from tests.phones import fixtures
from tests.phones.emulator import Emulator


def test_no_device(server):
    adb = Adb(server.path, env=server.env)
    assert adb.devices() == ()
    with raises(errors.NoDevice, "Received: none", "USB debugging"):
        adb.phone()
    with raises(errors.NoDevice):
        Phone(adb, "0A1B").shell("true", timeout=20)
    with raises(errors.NoDevice):
        Phone(adb, "0A1B").push(__file__, "/data/local/tmp/x", timeout=20)
    with raises(errors.NoDevice):
        Phone(adb, "0A1B").wait(timeout=0.3)


def test_wrong_serial(both):
    with raises(errors.NoDevice, "0A1B", both.phone.serial):
        both.adb.phone("0A1B")
    with raises(errors.NoDevice, "0A1B"):
        Phone(both.adb, "0A1B").shell("true", timeout=20)


def test_the_only_phone_needs_no_name(both):
    assert both.adb.phone().serial == both.phone.serial
    assert both.adb.devices() == (Listed(both.phone.serial, "device", "Pixel 8"),)


def test_of_two_devices_one_is_named(server):
    with (
        fixtures.attached(server, Emulator()) as first,
        fixtures.attached(server, Emulator("SM-S921B", "e1s")) as second,
    ):
        adb = Adb(server.path, env=server.env)
        with raises(errors.SeveralDevices, first.serial, second.serial, "Pixel 8", "SM S921B"):
            adb.phone()
        for phone, model in ((first, "Pixel 8\n"), (second, "SM-S921B\n")):
            assert adb.phone(phone.serial).shell("getprop ro.product.model").stdout == model
        named = Adb(server.path, env=server.env | {"ANDROID_SERIAL": second.serial})
        assert named.phone().serial == second.serial


def test_an_address_is_connected_to(server):
    with Emulator() as phone:
        assert reach(server, phone).adb.phone(phone.serial).serial == phone.serial


def test_nobody_at_an_address(server):
    adb = Adb(server.path, env=server.env)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with raises(errors.NoDevice, address):
        adb.phone(address)
    with raises(errors.NoDevice, "no.such.host.invalid"):
        adb.phone("no.such.host.invalid:5555")


def test_unauthorized(server):
    with Emulator(authorization="asks") as phone:
        server.attach(phone, "unauthorized")
        device = reach(server, phone).device
        for attempt in (device.adb.phone, lambda: device.adb.phone(phone.serial), lambda: device.shell("true")):
            with raises(errors.Unauthorized, 'tap "Allow"'):
                attempt()
        with raises(errors.Unauthorized):
            device.push(__file__, "/data/local/tmp/x")
        with raises(errors.Unauthorized):
            device.wait(timeout=0.3)
        phone.allow()
        device.wait(timeout=20)
        assert device.shell("echo in").stdout == "in\n"


def test_one_that_is_ready_is_taken_before_one_that_is_not(server):
    with Emulator(authorization="never") as stranger, Emulator() as friend:
        server.attach(stranger, "unauthorized")
        server.attach(friend)
        assert reach(server, friend).adb.phone().serial == friend.serial


def test_offline(both):
    both.phone.offline()
    both.server.attach(both.phone, "offline")
    for attempt in (both.adb.phone, lambda: both.device.shell("true"), lambda: both.device.wait(timeout=0.3)):
        with raises(errors.Offline, "cable"):
            attempt()


@pytest.fixture
def mute():
    """An address where something listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"


def test_a_mute_server_does_not_hang(server, mute):
    adb = Adb(server.path, env=server.env | {"ADB_SERVER_SOCKET": mute})
    began = time.monotonic()
    with raises(errors.TimedOut, "no end within 1 s", "adb kill-server", "ADB_SERVER_SOCKET"):
        adb.devices(timeout=1.0)
    with raises(errors.TimedOut):
        adb.phone(timeout=1.0)
    with raises(errors.TimedOut):
        Phone(adb, "0A1B").shell("true", timeout=1.0)
    assert time.monotonic() - began < 25


def test_a_server_is_started_when_there_is_none_and_left_running(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    adb = Adb(server.path, env=server.env | {"ADB_SERVER_SOCKET": f"tcp:localhost:{port}", "HOME": str(tmp_path)})
    try:
        assert adb.devices(timeout=30) == ()
        socket.create_connection(("127.0.0.1", port), 5).close()
    finally:
        adb.run("kill-server", timeout=20, doing="the server of this test to end")


def test_the_server_goes_on_and_the_environment_is_left_alone(both):
    before = dict(os.environ)
    with pytest.raises(errors.TimedOut):
        both.device.shell("sleep 30", timeout=0.5)
    assert both.device.shell("echo here").stdout == "here\n"
    assert dict(os.environ) == before


class TestFinding:
    """$ADB, then $ANDROID_HOME, then $PATH."""

    @pytest.fixture
    def program(self, tmp_path):
        def make(folder):
            path = tmp_path / folder / "adb"
            path.parent.mkdir(parents=True)
            path.write_text("#!/bin/sh\necho 'List of devices attached'; echo '0A1B device model:Pixel_8'\n")
            path.chmod(0o755)
            return path

        return make

    @pytest.mark.skipif(os.name != "posix", reason="needs a shell")
    def test_the_order(self, program, tmp_path):
        chosen, home, search = program("chosen"), program("home/platform-tools"), program("path")
        everything = {
            "ADB": str(chosen),
            "ANDROID_HOME": str(home.parents[1]),
            "PATH": f"{search.parent}:/bin:/usr/bin",
        }
        assert Adb(home, env=everything).path == str(home)
        for name, path in (("ADB", chosen), ("ANDROID_HOME", home), ("PATH", search)):
            env = {"ADB": "", "ANDROID_HOME": "", "ANDROID_SDK_ROOT": "", "PATH": "/nowhere", **everything}
            adb = Adb(env=env)
            assert adb.path == str(path)
            assert [each.serial for each in adb.devices()] == ["0A1B"]
            everything.pop(name)

    def test_none(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "adbutils", None)  # as if it were not installed
        nothing = {"ADB": "", "ANDROID_HOME": "", "ANDROID_SDK_ROOT": "", "PATH": "/nowhere"}
        with raises(errors.AdbMissing, "platform-tools", "$ADB"):
            Adb(env=nothing)

    def test_one_that_was_chosen_is_not_replaced(self, tmp_path):
        with raises(errors.AdbMissing, "nowhere"):
            Adb(tmp_path / "nowhere")
        with raises(errors.AdbMissing, "nowhere"):
            Adb(env={"ADB": str(tmp_path / "nowhere")})

    @pytest.mark.skipif(os.name != "posix", reason="needs a shell")
    def test_one_that_does_not_start(self, tmp_path):
        broken = tmp_path / "adb"
        broken.write_bytes(b"\x7fELF nonsense")
        broken.chmod(0o755)
        with raises(errors.AdbMissing, "to start"):
            Adb(broken).devices()


LISTING = """* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
0A1B2C3D               device usb:1-1 product:shiba model:Pixel_8 device:shiba transport_id:1
127.0.0.1:5555         offline transport_id:2
R5CT1234567            unauthorized usb:1-2 transport_id:3
adb-0A1B-x (2)._adb-tls-connect._tcp device product:e1s model:SM_S921B device:e1s transport_id:4
0123456789ABCDEF       no permissions (user in plugdev group; are your udev rules wrong?); see [http://d.a.c/t] usb:1-1

"""


def test_listings_are_read():
    found = parse_devices(LISTING)
    assert [(each.serial, each.state.split(" (")[0], each.model) for each in found] == [
        ("0A1B2C3D", "device", "Pixel 8"),
        ("127.0.0.1:5555", "offline", ""),
        ("R5CT1234567", "unauthorized", ""),
        ("adb-0A1B-x (2)._adb-tls-connect._tcp", "device", "SM S921B"),
        ("0123456789ABCDEF", "no permissions", ""),
    ]


@given(st.text() | st.lists(st.sampled_from(LISTING.split()), max_size=30).map(" ".join))
def test_no_listing_is_too_strange(text):
    for each in parse_devices(text):
        assert each.serial
        assert each.state
