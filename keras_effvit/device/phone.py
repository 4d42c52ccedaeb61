"""One phone: commands, files, and whether it is there at all."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keras_effvit.atomic import replacing
from keras_effvit.device.errors import (
    DeviceError,
    Disconnected,
    FileMissing,
    NoDevice,
    NoPermissions,
    Offline,
    TimedOut,
    Unauthorized,
    from_state,
)
from keras_effvit.device.listing import names
from keras_effvit.device.shell import Shell, Stream, command

if TYPE_CHECKING:
    from keras_effvit.device.adb import Adb

#: Gives a file its name once all of it is there. `mv` would move into a folder of that name.
_ARRIVED = (
    "s=$(wc -c < {part}) && echo $s && [ $s -eq {size} ] || exit 1; "
    "if [ -d {remote} ]; then echo 'Is a directory' >&2; exit 1; fi; chmod {mode} {part} && mv -f {part} {remote}"
)


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

    def __init__(self, adb: "Adb", serial: str):
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
            # Some versions print "1 file pushed" and fail, and a lost cable can look well: the size is the proof.
            script = _ARRIVED.format(
                part=command(part), remote=command(remote), size=size, mode="755" if executable else "644"
            )
            came = self.shell(script, timeout=60.0)
            if came.stdout.strip() not in ("", str(size)):
                received = f"{came.stdout.strip()} bytes"
                raise Disconnected(f"Expected {size} bytes of {path.name!r} on the phone. Received: {received}.")
            came.check(doing)
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
            try:
                return self._ready()
            except (Disconnected, NoDevice, NoPermissions, Offline, Unauthorized):  # each of which may pass
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _ready(self) -> None:
        listed = self.adb.devices()
        state = next((each.state for each in listed if each.serial == self.serial), None)
        if state is None:
            raise NoDevice(f"Expected device {self.serial} to be attached. Received: {names(listed)}.")
        if error := from_state(self.serial, state):
            raise error
        self.shell("true", timeout=20.0)  # adb lists what has just gone for a while

    def _adb(self, *words: str, timeout: float, doing: str) -> str:
        return self.adb.run("-s", self.serial, *words, timeout=timeout, doing=doing)


def _absolute(remote: str) -> str:
    if not remote.startswith("/") or remote.endswith("/") or "\0" in remote:
        raise FileMissing(f"Expected a file's absolute path on the phone. Received: {remote!r}.", "Check the path.")
    return remote
