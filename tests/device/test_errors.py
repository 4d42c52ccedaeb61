"""What adb 29, 34 and 36 print, word for word, and the type that each of it amounts to."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device import errors
from keras_effvit.device.errors import DeviceError, from_adb, from_shell, from_state

UNAUTHORIZED = (
    "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb kill-server' if that seems wrong.\n"
    "Otherwise check for a confirmation dialog on your device.\n"
)
FULL = "adb: error: failed to copy '/tmp/a' to '/data/local/tmp/x': remote write failed: No space left on device\n"
PUSHED = "/tmp/a: 1 file pushed, 0 skipped. 743.9 MB/s (48000000 bytes in 0.062s)\n"
NO_FEATURES = "adb: error: failed to get feature set: "
PLUGDEV = (
    "insufficient permissions for device: user alice is not in the plugdev group\nSee [http://developer.android.com"
)

#: Type, exit code, stdout, stderr.
PRINTED = [
    (errors.NoDevice, 1, "", "error: no devices/emulators found\n"),
    (errors.NoDevice, 1, "", "adb: no devices/emulators found\n"),
    (errors.NoDevice, 1, f"{NO_FEATURES}no devices/emulators found\n", ""),
    (errors.NoDevice, 1, "", f"{NO_FEATURES}no devices/emulators found\n"),
    (errors.NoDevice, 1, "", "error: device 'NOPE' not found\n"),
    (errors.NoDevice, 1, "", "adb: device 'NOPE' not found\n"),
    (errors.NoDevice, 1, f"{NO_FEATURES}device 'NOPE' not found\n", ""),
    (errors.SeveralDevices, 1, "", "error: more than one device/emulator\n"),
    (errors.SeveralDevices, 1, "", "adb: more than one device/emulator\n"),
    (errors.Unauthorized, 1, "", f"error: {UNAUTHORIZED}"),
    (errors.Unauthorized, 1, "", f"adb: {UNAUTHORIZED}"),
    (errors.Unauthorized, 1, f"{NO_FEATURES}{UNAUTHORIZED}", ""),
    (errors.Unauthorized, 1, "", "error: device still authorizing\n"),
    (errors.Unauthorized, 1, "failed to authenticate to 127.0.0.1:37011\n", ""),
    (errors.Offline, 1, "", "error: device offline\n"),
    (errors.Offline, 1, "", "adb: device offline\n"),
    (errors.Offline, 1, "", "adb: device still connecting\n"),
    (errors.NoPermissions, 1, "", f"error: {PLUGDEV}\n"),
    (
        errors.NoPermissions,
        1,
        "",
        "adb: insufficient permissions for device: missing udev rules? user is in the plugdev",
    ),
    (errors.NoSpace, 1, FULL + "/tmp/a: 0 files pushed, 0 skipped. 643.0 MB/s (48000000 bytes in 0.071s)\n", ""),
    (errors.NoSpace, 1, PUSHED + FULL, ""),
    (errors.NoSpace, 1, "", PUSHED + FULL),
    (errors.FileMissing, 1, "", "adb: error: cannot stat '/x': No such file or directory\n"),
    (errors.FileMissing, 1, "", "adb: error: failed to stat remote object '/x': No such file or directory\n"),
    (
        errors.AdbFailed,
        1,
        "adb: error: failed to copy '/tmp/a' to '/system/x': remote couldn't create file: Read-only file system\n",
        "",
    ),
    (
        errors.AdbFailed,
        1,
        "adb: error: failed to copy 'a' to '/x/y': remote secure_mkdirs failed: Operation not permitted\n",
        "",
    ),
    (errors.Disconnected, 1, "adb: error: failed to copy '/tmp/a' to '/data/x': couldn't read from device\n", ""),
    (errors.Disconnected, 1, f"adb: error: failed to read copy response\n{PUSHED}", ""),
    (errors.Disconnected, 1, "", "adb: error: failed to read copy response: EOF\n"),
    (errors.Disconnected, -6, "", "adb: error: protocol fault: failed to read stat response: EOF\n"),
    (errors.Disconnected, 1, "[  9%] /data/local/tmp/big\n", ""),
    (errors.Disconnected, 255, "", ""),
    (errors.Disconnected, 1, "", "error: closed\n"),
    (errors.Disconnected, 1, "failed to connect to '127.0.0.1:9': Connection refused\n", ""),
    (errors.Disconnected, 1, "failed to resolve host: 'no.such.host.invalid': Name or service not known\n", ""),
    (errors.AdbFailed, 1, "", "* daemon not running; starting now at tcp:5037\nADB server didn't ACK\n"),
    (errors.AdbFailed, 1, "", "adb: unknown command nonsense\n"),
]


@pytest.mark.parametrize(("kind", "code", "stdout", "stderr"), PRINTED)
def test_what_adb_prints_has_a_type(kind, code, stdout, stderr):
    error = from_adb(code, stdout, stderr, doing="the test to pass")
    assert error is not None
    assert type(error) is kind
    assert error.message.startswith("Expected the test to pass. Received: ")
    assert error.message.endswith(".")
    assert str(error) == f"{error.message} {error.fix}"


def test_a_code_of_0_is_no_error_whatever_is_printed():
    started = "* daemon not running; starting now at tcp:5037\n* daemon started successfully\n"
    assert from_adb(0, "error: device offline", started) is None
    assert from_shell(0, "Killed", "Bad system call") is None


@pytest.mark.parametrize("name", ["unauthorized", "No space left on device", "device offline", "error: closed", "a'b"])
def test_names_of_files_are_nobodys_opinion(name):
    said = (
        f"adb: error: failed to copy '/tmp/{name}' to '/system/{name}': remote couldn't create file: Permission denied"
    )
    assert type(from_adb(1, "", said)) is errors.AdbFailed


@pytest.mark.parametrize(
    ("kind", "code", "stderr"),
    [
        (errors.NotExecutable, 126, "/system/bin/sh: /sdcard/x: can't execute: Permission denied"),
        (errors.FileMissing, 127, "/system/bin/sh: ./x: inaccessible or not found"),
        (errors.WrongAbi, 126, "/system/bin/sh: ./x: not executable: 64-bit ELF file"),
        (errors.WrongAbi, 1, "sh: ./x: Exec format error"),
        (errors.Seccomp, 159, "Bad system call "),
        (errors.Killed, 139, "Segmentation fault "),
        (errors.Killed, 137, "Killed "),
        (errors.TimedOut, 142, "Alarm clock "),
        (errors.NoSpace, 1, "cat: write: No space left on device"),
        (errors.RunFailed, 1, "cannot open the model"),
        (errors.RunFailed, 3, ""),
    ],
)
def test_how_a_program_ended_has_a_type(kind, code, stderr):
    error = from_shell(code, "what came before", stderr, doing="the runner to measure")
    assert error is not None
    assert type(error) is kind
    assert error.message.startswith("Expected the runner to measure. Received: ")
    assert stderr.strip() in error.message
    assert error.partial == "what came before"


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (errors.Unauthorized, "unauthorized"),
        (errors.Unauthorized, "authorizing"),
        (errors.Offline, "offline"),
        (errors.Offline, "recovery"),
        (
            errors.NoPermissions,
            "no permissions (user in plugdev group; are your udev rules wrong?); see [http://d.a.c]",
        ),
    ],
)
def test_states_have_a_type(kind, state):
    assert type(from_state("0A1B", state)) is kind
    assert from_state("0A1B", "device") is None


KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.DeviceError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_says_what_to_do_in_one_sentence_and_survives_a_pickle(kind):
    error = kind("Expected this. Received: that.", partial="some")
    assert error.fix == kind.advice
    assert error.fix[0].isupper() or error.fix.startswith("`")
    assert error.fix.endswith(".")
    assert ". " not in error.fix
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.partial) == (kind, str(error), "some")
    assert kind("a", "Do this.").fix == "Do this."


@given(st.integers(-64, 300), st.text(), st.text())
def test_anything_is_an_error_or_none(code, stdout, stderr):
    for error in (from_adb(code, stdout, stderr), from_shell(code, stdout, stderr)):
        assert (error is None) == (code == 0)
        assert error is None or isinstance(error, DeviceError)
    assert isinstance(from_state("a", stdout), DeviceError | None)
