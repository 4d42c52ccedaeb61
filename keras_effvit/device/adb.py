"""Phones through the user's own `adb`, none of whose answers is believed without proof.

Every call has a time limit: a program that holds the server's port and says nothing would keep `adb` for ever. The
server is the user's, and is left running.
"""

import importlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from keras_effvit.atomic import replacing
from keras_effvit.device.errors import (
    AdbFailed,
    AdbMissing,
    DeviceError,
    Disconnected,
    FileMissing,
    NoDevice,
    TimedOut,
    from_adb,
    from_state,
)
from keras_effvit.device.listing import Listed, chosen, names, parse_devices
from keras_effvit.device.process import Program
from keras_effvit.device.shell import Shell, Stream, command

_SERVER_FIX = (
    "adb's server does not answer, or another program holds its port (5037): run `adb kill-server`, or set "
    "$ADB_SERVER_SOCKET to a free port such as tcp:localhost:5038."
)


class Adb:
    """The `adb` of this machine.

    Args:
        path: of the program; searched in $ADB, $ANDROID_HOME, $PATH and the package `adbutils` when `None`.
        env: variables to add to those of this process, such as ADB_SERVER_SOCKET for a server of one's own.

    Raises:
        AdbMissing: if there is none.

    Example:
        >>> for listed in Adb().devices():
        ...     print(listed.serial, listed.state)
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, env: Mapping[str, str] | None = None):
        self.env = {**os.environ, **(env or {}), "LC_ALL": "C"}
        self.path = _found(os.fspath(path) if path is not None else None, self.env)

    def run(self, *words: str, timeout: float, doing: str, fix: str | None = None) -> str:
        """Calls `adb`.

        Args:
            words: its arguments.
            timeout: in seconds.
            doing: what is expected, for an error's message.
            fix: what to do when time is up.

        Returns:
            What it printed.

        Raises:
            DeviceError: if it reports an error or does not end in time.
        """
        deadline = time.monotonic() + timeout
        said = bytearray()
        try:
            with self.start(*words) as program:
                while chunk := program.read(deadline - time.monotonic()):
                    said += chunk
                code = program.wait(deadline - time.monotonic())
                stderr = program.stderr
        except TimeoutError:
            received = f"Received: no end within {timeout:g} s."
            raise TimedOut(f"Expected {doing}. {received}", fix, said.decode("utf-8", "replace")) from None
        stdout = said.decode("utf-8", "replace")
        if error := from_adb(code, stdout, stderr, doing=doing):
            raise error
        return stdout

    def start(self, *words: str) -> Program:
        """A call of `adb` that runs on, for those who read it as it goes.

        Args:
            words: its arguments.

        Raises:
            AdbMissing: if the program does not start.
        """
        try:
            return Program([self.path, *words], self.env)
        except (OSError, ValueError) as error:
            raise AdbMissing(f"Expected {self.path} to start. Received: {error}.") from error

    def devices(self, *, timeout: float = 20.0) -> tuple[Listed, ...]:
        """What is attached, ready or not.

        Args:
            timeout: in seconds. The first call starts adb's server, which takes a while.

        Raises:
            DeviceError: if `adb` does not tell.
        """
        text = self.run("devices", "-l", timeout=timeout, doing="`adb devices` to answer", fix=_SERVER_FIX)
        return parse_devices(text)

    def connect(self, address: str, *, timeout: float = 20.0) -> None:
        """Attaches a phone in the network.

        Args:
            address: its host and port.
            timeout: in seconds.

        Raises:
            DeviceError: if it cannot be reached.
        """
        doing = f"`adb connect {address}` to succeed"
        said = self.run("connect", address, timeout=timeout, doing=doing, fix=_SERVER_FIX)
        if re.match(r"(already )?connected to", said):  # its code is 0 in any case
            return
        error = from_adb(1, said, "", doing=doing) or AdbFailed(doing)
        if isinstance(error, Disconnected):
            error = NoDevice(error.message, "Check the address, and that the phone debugs over the network.")
        raise error

    def phone(self, serial: str | None = None, *, timeout: float = 20.0) -> "Phone":
        """The one phone that is ready, or the one that is named.

        Args:
            serial: of the phone, or its address in the network; $ANDROID_SERIAL or the only one when `None`.
            timeout: in seconds, for `adb`'s answer.

        Raises:
            NoDevice: if there is none.
            SeveralDevices: if there are several and none is named.
            DeviceError: if it is not ready.
        """
        serial = serial or self.env.get("ANDROID_SERIAL") or None
        listed = self.devices(timeout=timeout)
        if serial and ":" in serial and serial not in {each.serial for each in listed}:
            self.connect(serial, timeout=timeout)
            listed = self.devices(timeout=timeout)
        phone = Phone(self, chosen(listed, serial))
        phone.wait(timeout=5.0)  # a connection says "connected" a moment before it is ready
        return phone


class Phone:
    r"""One phone.

    Args:
        adb: by which it is reached.
        serial: its name there.

    Example:
        >>> phone = Adb().phone()
        >>> phone.shell(command("getprop", "ro.product.model")).stdout
        'Pixel 8\n'
    """

    def __init__(self, adb: Adb, serial: str):
        self.adb = adb
        self.serial = serial

    def shell(self, command: str, *, timeout: float = 60.0) -> Shell:
        """Runs a command on the phone to its proven end.

        Args:
            command: one string for the phone's shell; `command` quotes words.
            timeout: in seconds.

        Returns:
            Its output and exit code, whatever that is.

        Raises:
            Disconnected: if the end did not arrive; `partial` holds what did.
            TimedOut: if time was up. The command is killed on the phone.
            DeviceError: if `adb` reports another error.
        """
        stream = self.stream(command, timeout=timeout)
        for _ in stream:
            pass
        return Shell(stream.stdout, stream.stderr, stream.returncode)

    def stream(self, command: str, *, timeout: float, idle: float | None = None) -> Stream:
        """Runs a command on the phone and gives its lines as they come.

        Args:
            command: one string for the phone's shell; `command` quotes words.
            timeout: in seconds, for all of it.
            idle: the longest silence, in seconds.

        Returns:
            An iterator over the lines, that raises what `shell` does.

        Example:
            >>> with phone.stream("logcat", timeout=60.0) as lines:
            ...     for line in lines:
            ...         print(line)
        """
        return Stream(self.adb.start, self.serial, command, timeout=timeout, idle=idle)

    def push(
        self, local: str | os.PathLike[str], remote: str, *, executable: bool = False, timeout: float = 300.0
    ) -> None:
        """Copies a file to the phone. Its name there never stands for half of it.

        Args:
            local: the file.
            remote: its absolute path on the phone. Folders that are missing are made.
            executable: whether it is to be run.
            timeout: in seconds.

        Raises:
            FileMissing: if there is no such file here.
            DeviceError: if not all of it arrived.
        """
        path = Path(local).absolute()
        if not path.is_file():
            raise FileMissing(f"Expected a file to copy to the phone. Received: {path}.", "Check the path.")
        size = path.stat().st_size
        part = f"{_absolute(remote)}.part"
        doing = f"{path.name!r} to be copied to {remote!r}"
        try:
            self._adb("push", str(path), part, timeout=timeout, doing=doing)
            quoted = command(part)
            # Several versions print "1 file pushed" and fail, or the other way round: the size is the proof.
            script = f"wc -c < {quoted} && chmod {'755' if executable else '644'} {quoted}"
            arrived = self.shell(script, timeout=60.0).check(doing).stdout.strip()
            if arrived != str(size):
                raise Disconnected(f"Expected {size} bytes of {path.name!r} on the phone. Received: {arrived}.")
            self.shell(command("mv", "-f", part, remote), timeout=60.0).check(doing)
        except (Disconnected, TimedOut):
            raise  # the phone would not hear it, and the next attempt replaces the part
        except DeviceError:
            with suppress(DeviceError):
                self.shell(f"{command('rm', '-f', part)}", timeout=20.0)
            raise

    def pull(self, remote: str, local: str | os.PathLike[str], *, timeout: float = 300.0) -> None:
        """Copies a file from the phone. Its name here never stands for half of it.

        Args:
            remote: its absolute path on the phone.
            local: where it is to be.
            timeout: in seconds.

        Raises:
            FileMissing: if there is no such file on the phone.
            DeviceError: if not all of it arrived.
        """
        doing = f"{remote!r} to be copied from the phone"
        script = f"wc -c < {command(_absolute(remote))}"
        found = self.shell(script, timeout=60.0)
        if "No such file" in found.stderr + found.stdout:
            raise FileMissing(f"Expected {doing}. Received: no such file.")
        size = found.check(doing).stdout.strip()
        with replacing(Path(local)) as temporary:
            self._adb("pull", remote, str(temporary), timeout=timeout, doing=doing)
            arrived = temporary.stat().st_size if temporary.exists() else 0
            if str(arrived) != size:
                raise Disconnected(f"Expected {size} bytes of {remote!r}. Received: {arrived}.")

    def wait(self, *, timeout: float = 60.0) -> None:
        """Waits until the phone is ready.

        Args:
            timeout: in seconds.

        Raises:
            DeviceError: what the phone lacks, when time is up.
        """
        deadline = time.monotonic() + timeout
        while True:
            listed = self.adb.devices()
            state = {each.serial: each.state for each in listed}.get(self.serial)
            if state == "device":
                return
            if time.monotonic() > deadline:
                if state is None:
                    raise NoDevice(f"Expected device {self.serial} to be attached. Received: {names(listed)}.")
                raise from_state(self.serial, state) or AdbFailed(f"Expected {self.serial} to be ready.")
            time.sleep(0.2)

    def _adb(self, *words: str, timeout: float, doing: str) -> str:
        return self.adb.run("-s", self.serial, *words, timeout=timeout, doing=doing)


def _absolute(remote: str) -> str:
    if not remote.startswith("/") or remote.endswith("/") or "\0" in remote:
        raise FileMissing(f"Expected a file's absolute path on the phone. Received: {remote!r}.", "Check the path.")
    return remote


def _found(path: str | None, env: Mapping[str, str]) -> str:
    search = env.get("PATH", os.defpath)
    for name in (path, env.get("ADB")):
        if name:  # what somebody chose is not replaced silently
            if found := shutil.which(name, path=search):
                return os.path.abspath(found)
            raise AdbMissing(f"Expected a program. Received: {name!r}.", "Set $ADB to the path of `adb`.")
    homes = [env[name] for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT") if env.get(name)]
    for name in [*(os.path.join(home, "platform-tools", "adb") for home in homes), "adb"]:
        if found := shutil.which(name, path=search):
            return os.path.abspath(found)
    try:
        return str(importlib.import_module("adbutils").adb_path())
    except Exception as error:  # whatever somebody else's package does
        raise AdbMissing("Expected `adb` in $ADB, $ANDROID_HOME or $PATH. Received: none of them has it.") from error
