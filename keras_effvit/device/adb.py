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

from keras_effvit.device.errors import AdbFailed, AdbMissing, Disconnected, NoDevice, TimedOut, from_adb
from keras_effvit.device.listing import Listed, chosen, parse_devices
from keras_effvit.device.phone import Phone
from keras_effvit.device.process import Program

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
