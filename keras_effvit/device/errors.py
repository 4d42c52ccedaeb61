"""What goes wrong between here and a phone: one type for every cause, each of which says what to do about it."""

import re
import signal

from keras_effvit.report.records import Round


class DeviceError(RuntimeError):
    """What was expected and what came, and what to do.

    Args:
        message: what was expected and what came.
        fix: what to do, in one sentence; the type's own advice when `None`.
        partial: what had arrived before it went wrong.

    Example:
        >>> try:
        ...     phone = Adb().phone()
        ... except DeviceError as error:
        ...     print(error.message, error.fix)
    """

    advice = "Run the same command by hand to see more."
    #: What was measured before it went wrong, if an engine was measuring.
    partial_round: Round | None = None

    def __init__(self, message: str, fix: str | None = None, partial: str = ""):
        super().__init__(message, fix, partial)
        self.message = message
        self.fix = fix or self.advice
        self.partial = partial

    def __str__(self) -> str:
        return f"{self.message} {self.fix}"


class AdbMissing(DeviceError):
    """There is no `adb` here, or it does not start."""

    advice = (
        "Install Android's platform tools (https://developer.android.com/tools/releases/platform-tools) or "
        "`pip install adbutils`, or set $ADB to the path of the program."
    )


class NoDevice(DeviceError):
    """No phone is attached, or not the one that was asked for."""

    advice = (
        "Plug the phone in, switch on USB debugging in its developer options and look for it in `adb devices`; "
        "one in the network needs `adb connect HOST:PORT`."
    )


class SeveralDevices(DeviceError):
    """Several phones are attached, and none was named."""

    advice = "Name one by its serial number, or set $ANDROID_SERIAL."


class Unauthorized(DeviceError):
    """The phone's owner has not allowed this computer to debug."""

    advice = (
        'Unlock the phone and tap "Allow" where it asks "Allow USB debugging?"; if it does not ask, pull the cable '
        "and plug it in again."
    )


class Offline(DeviceError):
    """The phone is attached and does not answer."""

    advice = "Pull the cable and plug it in again, or run `adb reconnect`; restart the phone if that does not help."


class NoPermissions(DeviceError):
    """This user may not talk to the USB device."""

    advice = (
        "On Linux install udev rules (Debian: `apt install android-sdk-platform-tools-common`), join the group "
        "`plugdev`, log in anew and plug the phone in again."
    )


class FileMissing(DeviceError):
    """A file or a program is not there."""

    advice = "Check the path; on the phone, a program is also said to be missing when its loader is."


class NoSpace(DeviceError):
    """The phone is full."""

    advice = "Delete something on the phone, or what earlier runs left in /data/local/tmp."


class NotExecutable(DeviceError):
    """The phone does not let a file run."""

    advice = "Use a folder below /data/local/tmp: nothing may run from /sdcard."


class WrongAbi(DeviceError):
    """A program for another processor."""

    advice = "Use a program for one of the ABIs that `adb shell getprop ro.product.cpu.abilist` names."


class Seccomp(DeviceError):
    """The phone's kernel forbids a system call."""

    advice = "Use the engine `benchmark_model` on this phone: its program is built for Android's own C library."


class Disconnected(DeviceError):
    """The connection broke before the phone had answered in full."""

    advice = "Plug the cable in again, keep it still, and repeat the command."


class TimedOut(DeviceError):
    """No answer in time."""

    advice = "Look at the phone: it may be asleep, busy or frozen; a longer time may help."


class AdbFailed(DeviceError):
    """`adb` failed for a reason without a type of its own."""

    advice = "Run the same `adb` command by hand to see more."


class AssetsMissing(DeviceError):
    """What the phone needs could not be downloaded."""

    advice = "Connect to the internet once, or set $https_proxy; later runs need no network."


class Damaged(DeviceError):
    """A file that was downloaded is not what it should be."""

    advice = "Delete it from the cache and try again; a proxy may have answered in its place."


class RunFailed(DeviceError):
    """A program ran on the device and reported an error."""

    advice = "What the program printed tells the reason."


class Killed(DeviceError):
    """A signal ended a program on the device."""

    advice = "Close other apps and try a smaller model: phones kill what needs too much memory."


class NotRestored(DeviceError):
    """Settings of the phone are not as they were."""

    advice = "Restore them by hand."


_WRITABLE = "Use a folder that the shell may write to, such as /data/local/tmp."
_SERVER = (
    "Something keeps adb's server from starting, such as another program on its port (5037): stop that, or set "
    "$ADB_SERVER_SOCKET to a free port."
)
#: What `adb` 29 to 36 print, the most telling first: a phone that drops out also makes copies fail.
_CAUSES: tuple[tuple[str, type[DeviceError], str | None], ...] = (
    (r"unauthorized|failed to authenticate|still authorizing", Unauthorized, None),
    (r"insufficient permissions|no permissions|missing udev rules", NoPermissions, None),
    (r"more than one (device|emulator)", SeveralDevices, None),
    (r"no devices|device ('.*' )?not found|device with transport id .* not found", NoDevice, None),
    (r"device offline|still connecting", Offline, None),
    (r"No space left on device", NoSpace, None),
    (r"Read-only file system|Permission denied|Operation not permitted", AdbFailed, _WRITABLE),
    (r"No such file or directory", FileMissing, None),
    (r"cannot connect to daemon|failed to start daemon|server didn't ACK|cannot bind", AdbFailed, _SERVER),
    (r"couldn't read from device|failed to read copy response|protocol fault|closed\b", Disconnected, None),
    (r"connection reset|broken pipe|unexpected EOF|connect failed|failed to (connect|resolve)", Disconnected, None),
)


def from_adb(returncode: int, stdout: str, stderr: str, *, doing: str = "`adb` to succeed") -> DeviceError | None:
    """The error that a call of `adb` amounts to.

    A code of 0 is not proof of success: see `Phone.shell`.

    Args:
        returncode: of the `adb` client.
        stdout: of the client. Some versions print errors here.
        stderr: of the client.
        doing: what was expected, to begin the message with.

    Returns:
        The error, or `None` for a code of 0.

    Example:
        >>> from_adb(1, "", "error: device offline")
        Offline(...)
    """
    if returncode == 0:
        return None
    said = f"{stderr}\n{stdout}".strip()
    # Files' names are the user's: what they hold is not adb's opinion. A reason follows the last of them.
    reason = re.sub(r"'.*': ", "'...': ", said, flags=re.DOTALL)
    message = f"Expected {doing}. Received: {_sentence(said) or f'no reason, and exit code {returncode}'}."
    for pattern, kind, fix in _CAUSES:
        if re.search(pattern, reason, re.IGNORECASE):
            return kind(message, fix, stdout)
    # adb gives a reason for everything but a cable that was pulled.
    explained = re.search(r"^(adb|error|\* failed)\b.*: ", reason, re.MULTILINE)
    return (AdbFailed if explained else Disconnected)(message, partial=stdout)


def from_shell(
    returncode: int, stdout: str, stderr: str, *, doing: str = "the command to succeed"
) -> DeviceError | None:
    """The error that a program's end on the device amounts to.

    Args:
        returncode: as the device's shell reports it: 126 and up are the shell's own, 128 + n is signal n.
        stdout: of the program.
        stderr: of the program.
        doing: what was expected, to begin the message with.

    Returns:
        The error, or `None` for a code of 0.

    Example:
        >>> from_shell(126, "", "sh: /sdcard/x: can't execute: Permission denied")
        NotExecutable(...)
    """
    if returncode == 0:
        return None
    said = _short(stderr.strip() or stdout.strip())
    kind: type[DeviceError] = RunFailed
    if re.search(r"not executable: (32|64)-bit ELF|Exec format error|wrong ELF", said):
        kind = WrongAbi
    elif returncode == 128 + 31 or "Bad system call" in said:
        kind = Seccomp
    elif "No space left on device" in said:
        kind = NoSpace
    elif returncode == 126:
        kind = NotExecutable
    elif returncode == 127:
        kind = FileMissing
    elif returncode == 128 + 14:
        kind = TimedOut
    elif returncode > 128:
        kind = Killed
    end = f"signal {_signal(returncode - 128)}" if returncode > 128 else f"exit code {returncode}"
    return kind(f"Expected {doing}. Received: {end}{f', and {said!r}' if said else ''}.", partial=stdout)


def from_state(serial: str, state: str) -> DeviceError | None:
    """The error that a state in `adb devices` amounts to.

    Args:
        serial: of the device.
        state: as `adb devices` prints it.

    Returns:
        The error, or `None` for a device that is ready.

    Example:
        >>> from_state("0A1B", "unauthorized")
        Unauthorized(...)
    """
    if state == "device":
        return None
    message = f"Expected device {serial} to be ready. Received: {state}."
    if state in ("unauthorized", "authorizing"):
        return Unauthorized(message)
    if state.startswith("no permissions"):
        return NoPermissions(message)
    if state in ("bootloader", "fastboot", "recovery", "rescue", "sideload"):
        return Offline(message, "Start the phone normally, for instance with `adb reboot`.")
    return Offline(message)


def _signal(number: int) -> str:
    # The device is a Linux whatever this machine is, and these are the numbers of every one of its processors.
    known = {4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 14: "SIGALRM"}
    known |= {13: "SIGPIPE", 15: "SIGTERM", 31: "SIGSYS", int(signal.SIGINT): "SIGINT"}
    return known.get(number, str(number))


def _sentence(said: str) -> str:
    """What adb printed, once, without how far it had got."""
    progress = re.compile(r"\[ *\d+%\]|.*\b(pushed|pulled)(, \d+ skipped)?\.")
    lines = dict.fromkeys(line.strip() for line in said.splitlines() if not progress.match(line))
    return _short(" ".join(lines)).strip().rstrip(".")


def _short(text: str, most: int = 600) -> str:
    """The end of a long text: errors come last."""
    return text if len(text) <= most else f"... {text[-most:]}"
