"""Commands on a phone, to their proven end.

An exit code of 0 says little: when a cable is pulled in the middle of a command, `adb shell` of many versions ends with
it. So every command is followed by a line that nothing else can print, and that line carries the command's own code.
"""

import os
import re
import secrets
import shlex
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from keras_effvit.device.errors import DeviceError, Disconnected, Killed, TimedOut, from_adb, from_shell
from keras_effvit.device.process import Program

#: A shell of its own lets the command `exit` or `exec`, and its `$$` is the process that runs. When the connection
#: breaks, adbd hangs up on the outer shell alone; that one then ends the command's session, so that nothing runs on.
_PROVEN = (
    "p=; trap 'kill -9 -$p $p 2>/dev/null; exit 129' HUP; $(command -v setsid) sh -c {command} & p=$!; wait $p; s=$?; "
    "echo; echo {mark} $s"
)
#: What still writes after the command's end, such as a background process, is not waited for longer, in seconds.
_AFTERMATH = 2.0


def command(*words: str | os.PathLike[str]) -> str:
    """One string that a shell reads as exactly these words.

    Args:
        words: whatever they hold: spaces, quotes, `$(...)`, newlines.

    Example:
        >>> command("cat", "/sdcard/my file")
        "cat '/sdcard/my file'"
    """
    return shlex.join(os.fspath(word) for word in words)


@dataclass(frozen=True)
class Shell:
    """What a command on a phone left.

    Args:
        stdout: exactly as it was written.
        stderr: the same. Phones before Android 7 mix it into `stdout`.
        returncode: of the command on the phone, not of `adb`.
    """

    stdout: str
    stderr: str
    returncode: int

    def check(self, doing: str = "the command to succeed") -> "Shell":
        """Itself, if the command went well.

        Args:
            doing: what was expected, to begin an error's message with.

        Raises:
            DeviceError: of the type that fits, otherwise.
        """
        if error := from_shell(self.returncode, self.stdout, self.stderr, doing=doing):
            raise error
        return self


class Stream(Iterator[str]):
    """The lines of a command on a phone as they come; see `Phone.stream`.

    After the last line, `stderr` and `returncode` are those of the command, and `stdout` is all that came. Leaving its
    `with` ends the command.

    Args:
        start: calls `adb` with some words.
        serial: of the phone.
        command: for its shell.
        timeout: in seconds, for all of it.
        idle: the longest silence, in seconds.
    """

    def __init__(
        self, start: Callable[..., Program], serial: str, command: str, *, timeout: float, idle: float | None = None
    ):
        self.stderr = ""
        self.returncode = -1
        self._received = bytearray()
        self._mark = f"end-{secrets.token_hex(8)}"
        self._timeout, self._idle = timeout, idle
        self._deadline = time.monotonic() + timeout
        script = _PROVEN.format(command=shlex.quote(command), mark=self._mark)
        self._lines = self._read(lambda: start("-s", serial, "shell", script))

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> str:
        return next(self._lines)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the command, if it still runs."""
        self._lines.close()

    @property
    def stdout(self) -> str:
        """What came so far, exactly as the command wrote it."""
        text = self._received.decode("utf-8", "replace")
        end = re.search(rf"(\r?\n){self._mark} \d+\r?\n", text)
        if end is None:
            return text
        # A phone before Android 7 runs everything on a terminal, which writes its own ends of lines.
        return text[: end.start()].replace("\r\n", "\n") if "\r" in end[1] else text[: end.start()]

    def _read(self, start: Callable[[], Program]) -> Generator[str, None, None]:
        with start() as program:
            tail, blank = b"", False
            while chunk := self._next(program):
                self._received += chunk
                *lines, tail = (tail + chunk).split(b"\n")
                for line in (each.removesuffix(b"\r").decode("utf-8", "replace") for each in lines):
                    if self._is_end(line):
                        self._finish(program)
                        return
                    if blank:
                        yield ""
                    # The line before the last is ours, should it be empty; only the next one will tell.
                    blank = not line
                    if line:
                        yield line
            raise self._broken(program)

    def _next(self, program: Program) -> bytes:
        left = self._deadline - time.monotonic()
        try:
            return program.read(left if self._idle is None else min(left, self._idle))
        except TimeoutError:
            silent = self._idle is not None and self._idle < left
            received = f"silence for {self._idle:g} s" if silent else f"no end within {self._timeout:g} s"
            partial = self.stdout
            raise TimedOut(f"Expected the phone to finish a command. Received: {received}.", partial=partial) from None

    def _is_end(self, line: str) -> bool:
        mark, _, code = line.partition(" ")
        if mark != self._mark or not code.isdecimal():
            return False
        self.returncode = int(code)
        return True

    def _finish(self, program: Program) -> None:
        deadline = time.monotonic() + _AFTERMATH
        try:
            while program.read(deadline - time.monotonic()):
                pass
            program.wait(deadline - time.monotonic())
        except TimeoutError:
            pass
        self.stderr = program.stderr

    def _broken(self, program: Program) -> DeviceError:
        try:
            code = program.wait(_AFTERMATH)
        except TimeoutError:
            code = 0
        self.stderr = said = program.stderr
        if not self._received and re.match(r"adb: |error: |\* ", said):
            doing = "a command to run on the phone"
            return from_adb(code or 1, "", said, doing=doing) or Disconnected(f"Expected {doing}.")
        if 128 < code < 128 + 32:
            error = from_shell(code, self.stdout, said, doing="the phone's shell to go on")
            return Killed(error.message, partial=self.stdout) if error else Killed("The phone's shell was killed.")
        received = f"{len(self._received)} bytes without an end, exit code {code}"
        message = (
            f"Expected a command to finish on the phone. Received: {received}{said and f', and {said.strip()!r}'}."
        )
        return Disconnected(message, partial=self.stdout)
