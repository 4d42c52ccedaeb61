"""The phones themselves: a real client must find in them what it finds in a phone, in a box and emulated alike."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.phones import box
from tests.phones.box import ROOT, PhoneBox
from tests.phones.emulator import Emulator
from tests.phones.fixtures import attached

TEMPORARY = "/data/local/tmp"


@pytest.fixture(params=[PhoneBox, Emulator], ids=["box", "emulator"])
def kind(request):
    if request.param is PhoneBox and (reason := box.unsupported()):
        pytest.skip(reason)
    return request.param


@pytest.fixture
def any_phone(kind, adb_server):
    with attached(adb_server, kind()) as phone:
        yield phone


@pytest.fixture
def shell(any_phone, adb_server):
    return lambda command, **options: adb_server.adb("-s", any_phone.serial, "shell", command, **options)


@pytest.fixture
def adb(any_phone, adb_server):
    return lambda *words, **options: adb_server.adb("-s", any_phone.serial, *words, **options)


def eventually(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_adb_lists_the_model(any_phone, adb_server):
    [line] = [each for each in adb_server.adb("devices", "-l").stdout.splitlines() if each.startswith("127.")]
    assert line.split()[:2] == [any_phone.serial, "device"]
    assert {"product:shiba", "model:Pixel_8", "device:shiba"} <= set(line.split())


def test_properties(shell):
    assert shell("getprop ro.product.model").stdout == "Pixel 8\n"
    assert shell("getprop ro.no.such.property").stdout == "\n"
    assert "[ro.build.version.sdk]: [35]\n" in shell("getprop").stdout


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("exit 42", 42), ("/no/such", 127), ("kill -9 $$", 137)])
def test_exit_codes(shell, command, code):
    assert shell(command).returncode == code


def test_outputs_are_apart_and_input_is_passed_on(adb, adb_server, any_phone):
    done = adb("shell", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    command = [adb_server.path, "-s", any_phone.serial, "shell", "cat; echo end"]
    done = subprocess.run(command, env=adb_server.env, input="in\n", capture_output=True, text=True, timeout=30)
    assert done.stdout == "in\nend\n"


def test_files_arrive_and_return_as_they_were(adb, any_phone, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    content = os.urandom(3_000_000)
    (source / "deep" / 'it\'s a "file" of $(ours)').write_bytes(content)
    (source / "empty").touch()
    assert adb("push", f"{source}/.", f"{TEMPORARY}/there/").returncode == 0
    assert any_phone.files(f"{TEMPORARY}/there") == {
        f'{TEMPORARY}/there/deep/it\'s a "file" of $(ours)': len(content),
        f"{TEMPORARY}/there/empty": 0,
    }
    assert adb("pull", f"{TEMPORARY}/there", str(tmp_path / "back")).returncode == 0
    assert next((tmp_path / "back" / "deep").iterdir()).read_bytes() == content
    again = adb("push", "--sync", f"{source}/.", f"{TEMPORARY}/there/")
    assert "0 files pushed, 2 skipped" in again.stdout + again.stderr
    missing = adb("pull", f"{TEMPORARY}/nothing", str(tmp_path / "x"))
    assert missing.returncode == 1
    assert "No such file or directory" in missing.stdout + missing.stderr


def test_services_remember_what_was_set(any_phone, shell):
    before = any_phone.settings()
    assert shell("settings get global low_power; settings get global no_such").stdout == "0\nnull\n"
    shell("settings put global low_power 1; svc power stayon true; input keyevent KEYCODE_SLEEP")
    shell("cmd power set-fixed-performance-mode-enabled true; cmd thermalservice override-status 3")
    changed = {"low_power": "1", "stay_on_while_plugged_in": "15", "wakefulness": "Asleep", "fixed_performance": "true"}
    assert any_phone.settings() == {**before, **changed}
    assert "Thermal Status: 3\n" in shell("dumpsys thermalservice").stdout
    assert "mWakefulness=Asleep\n" in shell("dumpsys power").stdout
    assert "  level: 20\n" in shell("dumpsys battery set level 20; dumpsys battery").stdout
    assert any_phone.calls()[2:4] == ["settings put global low_power 1", "svc power stayon true"]
    assert any_phone.files() == {}


def test_sensors_can_be_changed_from_outside(any_phone, shell):
    zone = "/sys/class/thermal/thermal_zone0/temp"
    assert shell(f"cat {zone}").stdout == "41000\n"
    any_phone.write(zone, "55000\n")
    assert shell(f"cat {zone}").stdout == "55000\n"
    cores = shell("cat /sys/devices/system/cpu/cpu*/cpu_capacity").stdout.split()
    assert len(cores) == len(os.sched_getaffinity(0))


def test_a_full_phone_takes_no_file(any_phone, adb, tmp_path):
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    any_phone.fill(1_000_000)
    done = adb("push", str(tmp_path / "large"), f"{TEMPORARY}/large")
    assert done.returncode == 1
    assert "No space left on device" in done.stdout + done.stderr
    assert any_phone.files() == {}
    any_phone.empty()
    assert adb("push", str(tmp_path / "large"), f"{TEMPORARY}/large").returncode == 0


def test_a_pulled_cable_cuts_the_output_and_ends_the_command(any_phone, shell, adb_server):
    timer = threading.Timer(1.0, any_phone.drop)
    timer.start()
    done = shell("echo first; sleep 60; echo last")
    assert done.stdout == "first\n"  # and the code may well be 0
    eventually(lambda: not any_phone.processes())
    adb_server.attach(any_phone)
    assert shell("echo again").stdout == "again\n"


def test_a_cable_is_cut_at_a_byte(any_phone, adb, adb_server, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(5_000_000))
    any_phone.drop_after(down=2_000_000)
    assert adb("push", str(tmp_path / "large"), f"{TEMPORARY}/large").returncode != 0
    eventually(lambda: any_phone.files() == {})
    adb_server.attach(any_phone)
    any_phone.drop_after(up=50_000)
    assert 0 < len(adb("shell", "while true; do echo 123456789; done").stdout) <= 50_000


def test_unplugged_means_gone_until_it_is_plugged_in(any_phone, shell, adb_server):
    any_phone.unplug()
    assert shell("true").returncode != 0
    eventually(lambda: adb_server.state(any_phone) != "device")
    any_phone.plug()
    adb_server.attach(any_phone)
    assert shell("true").returncode == 0


def test_offline(any_phone, shell, adb_server):
    any_phone.offline()
    adb_server.attach(any_phone, "offline")
    done = shell("true")
    assert done.returncode == 1
    assert "device offline" in done.stderr
    any_phone.online()
    adb_server.attach(any_phone)
    assert shell("true").returncode == 0


def test_a_mute_phone_keeps_adb_waiting(any_phone, shell):
    any_phone.mute()
    with pytest.raises(subprocess.TimeoutExpired):
        shell("true", timeout=1.0)
    any_phone.unmute()
    assert shell("echo back").stdout == "back\n"


def test_processes_are_seen_from_outside_and_can_be_killed(any_phone, shell):
    answers = []
    runner = threading.Thread(target=lambda: answers.append(shell("sleep 61; echo $?")))
    runner.start()
    eventually(lambda: any("61" in words for words in any_phone.processes().values()))
    # The shell has the word in its command line too, but not as a word of its own.
    [number] = [number for number, words in any_phone.processes().items() if "61" in words]
    any_phone.kill(number)
    runner.join(30)
    assert answers[0].stdout.split()[-1:] == ["137"]
    assert any_phone.processes() == {}


def test_two_phones_at_once(kind, adb_server):
    with attached(adb_server, kind()) as first, attached(adb_server, kind(model="SM-S921B", name="e1s")) as second:
        models = [
            adb_server.adb("-s", each.serial, "shell", "getprop ro.product.model").stdout for each in (first, second)
        ]
        assert models == ["Pixel 8\n", "SM-S921B\n"]
        done = adb_server.adb("shell", "true")
        assert done.returncode == 1
        assert "more than one device" in done.stderr
        adb_server.adb("-s", first.serial, "shell", f"echo here > {TEMPORARY}/file")
        assert (len(first.files()), len(second.files())) == (1, 0)


def test_many_commands_at_once(any_phone, shell):
    answers = {}
    threads = [
        threading.Thread(target=lambda number=number: answers.update({number: shell(f"echo {number}").stdout}))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {number: f"{number}\n" for number in range(12)}


BOOT = """
import sys, time
from tests.phones.{module} import {kind}
with {kind}() as phone:
    print(phone.serial, flush=True)
    time.sleep(60)
"""


def test_a_killed_test_leaves_no_phone(kind, tmp_path):
    code = BOOT.format(module=kind.__module__.split(".")[-1], kind=kind.__name__)
    options = {"cwd": ROOT, "env": {**os.environ, "TMPDIR": str(tmp_path)}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **options) as process:
        assert process.stdout
        address, port = process.stdout.readline().strip().split(":")
        socket.create_connection((address, int(port)), 5).close()
        process.kill()

    def refused():
        with contextlib.suppress(ConnectionResetError):
            try:
                socket.create_connection((address, int(port)), 5).close()
            except ConnectionRefusedError:
                return True
        return False

    eventually(refused)


def test_the_machine_stays_as_it_was(kind):
    def machine():
        registry = Path("/proc/sys/fs/binfmt_misc")
        return Path("/proc/self/mountinfo").read_text(), sorted(os.listdir(registry)) if registry.is_dir() else []

    before = machine()
    with kind():
        assert machine() == before
    assert machine() == before
