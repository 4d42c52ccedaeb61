"""What an emulated phone does for adb: shell commands and files."""

import contextlib
import os
import signal
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.phones.protocol import Stream

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
PACKET = struct.Struct("<BI")
REQUEST = struct.Struct("<4sI")
STATUS = struct.Struct("<IQQIIIIQqqq")
LONGEST_PART = 64 * 1024


def shell(stream: Stream, command: list[str], folder: Path, environment: Mapping[str, str], *, framed: bool) -> None:
    """Runs a command.

    Args:
        stream: of the client.
        command: its words.
        folder: to run it in.
        environment: its variables.
        framed: the newer way, with two outputs and an exit code; the old has neither.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if framed else subprocess.STDOUT,
        start_new_session=True,
    )
    outputs = [(process.stdout, STDOUT)] + ([(process.stderr, STDERR)] if framed else [])
    pumps = [threading.Thread(target=_pump, args=(stream, *each, framed), daemon=True) for each in outputs]
    feeder = threading.Thread(target=_feed, args=(stream, process, framed), daemon=True)
    for thread in (*pumps, feeder):
        thread.start()
    code = process.wait()
    for thread in pumps:
        thread.join()
    if framed:
        stream.write(PACKET.pack(EXIT, 1) + bytes([code if code >= 0 else 128 - code]))


def _pump(stream: Stream, output, number: int, framed: bool) -> None:
    with contextlib.suppress(OSError), output:
        while data := os.read(output.fileno(), 32768):
            stream.write(PACKET.pack(number, len(data)) + data if framed else data)


def _feed(stream: Stream, process: subprocess.Popen, framed: bool) -> None:
    assert process.stdin
    with contextlib.suppress(EOFError):
        while True:
            if framed:
                kind, length = PACKET.unpack(stream.read(PACKET.size))
                data = stream.read(length)
            else:
                kind, data = STDIN, stream.some()
                if not data:
                    break
            with contextlib.suppress(OSError, ValueError):  # who does not read any more
                if kind == CLOSE_STDIN:
                    process.stdin.close()
                elif kind == STDIN:
                    os.write(process.stdin.fileno(), data)
    with contextlib.suppress(OSError):
        process.stdin.close()
    if process.poll() is None:
        _hang_up(process)


def _hang_up(process: subprocess.Popen) -> None:
    """As on a phone: adbd's signal goes to the shell, and one that dies of it takes along what it is waiting for."""
    waited_for = []
    with contextlib.suppress(OSError):  # it may have ended by itself
        waited_for = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGHUP)
    with contextlib.suppress(subprocess.TimeoutExpired):
        if process.wait(1) == -signal.SIGHUP:
            for number in map(int, waited_for):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGHUP)


class Sync:
    """Files, one request after the other.

    Args:
        locate: a path of the phone, as one of this machine.
        room: takes so many bytes of the phone's space; `False` if it is used up.
    """

    def __init__(self, locate: Callable[[str], Path], room: Callable[[int], bool]):
        self._locate, self._room = locate, room

    def __call__(self, stream: Stream) -> None:
        """Serves until the client has enough, or asks for what nobody knows."""
        self._stream = stream
        known = {b"STAT": self._stat, b"STA2": self._stat2, b"LST2": self._stat2, b"LIST": self._list}
        known |= {b"LIS2": self._list2, b"RECV": self._receive, b"SEND": self._send}
        while True:
            kind, length = REQUEST.unpack(stream.read(REQUEST.size))
            argument = stream.read(length).decode("utf-8", "surrogateescape")
            if kind not in known:
                break
            known[kind](kind, argument)
        if kind != b"QUIT":
            self._fail(f"unknown command {kind!r}")

    def _fail(self, text: str) -> None:
        self._stream.write(REQUEST.pack(b"FAIL", len(text.encode())) + text.encode())

    def _stat(self, _: bytes, argument: str) -> None:
        self._stream.write(b"STAT" + _short(self._locate(argument)))

    def _stat2(self, kind: bytes, argument: str) -> None:
        self._stream.write(kind + _long(self._locate(argument), follow=kind == b"STA2"))

    def _list(self, _: bytes, argument: str) -> None:
        for name, path in _entries(self._locate(argument)):
            self._stream.write(b"DENT" + _short(path) + struct.pack("<I", len(name)) + name)
        self._stream.write(b"DONE" + bytes(16))

    def _list2(self, _: bytes, argument: str) -> None:
        for name, path in _entries(self._locate(argument)):
            self._stream.write(b"DNT2" + _long(path, follow=False) + struct.pack("<I", len(name)) + name)
        self._stream.write(b"DONE" + bytes(STATUS.size + 4))

    def _receive(self, _: bytes, argument: str) -> None:
        try:
            file = open(self._locate(argument), "rb")  # noqa: SIM115
        except OSError as error:
            self._fail(f"open failed: {error.strerror}")
            return
        with file:
            while part := file.read(LONGEST_PART):
                self._stream.write(REQUEST.pack(b"DATA", len(part)) + part)
        self._stream.write(REQUEST.pack(b"DONE", 0))

    def _send(self, kind: bytes, argument: str) -> None:
        name, _, mode = argument.rpartition(",")
        path = self._locate(name)
        content, error = bytearray(), None
        while True:  # to the last part, also after an error: the client hears of it only then
            kind, length = REQUEST.unpack(self._stream.read(REQUEST.size))
            if kind == b"DONE":
                break
            content += self._stream.read(length)
            if error is None and not self._room(length):
                error = "write failed: No space left on device"
        if error is None:
            error = _store(path, bytes(content), int(mode), length)
        if error:
            self._fail(error)
        else:
            self._stream.write(REQUEST.pack(b"OKAY", 0))


def _store(path: Path, content: bytes, mode: int, time: int) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.is_file():
            path.unlink()
        if stat.S_ISLNK(mode):
            path.symlink_to(content.rstrip(b"\0").decode())
        else:
            path.write_bytes(content)
            path.chmod(mode & 0o777)
            os.utime(path, (time, time))
    except OSError as error:
        return f"couldn't create file: {error.strerror}"
    return None


def _entries(folder: Path) -> list[tuple[bytes, Path]]:
    if not folder.is_dir():
        return []
    return [(os.fsencode(name), folder / name) for name in (".", "..", *sorted(os.listdir(folder)))]


def _short(path: Path) -> bytes:
    try:
        found = path.lstat()
    except OSError:
        return bytes(12)
    return struct.pack("<III", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))


def _long(path: Path, *, follow: bool) -> bytes:
    try:
        found = path.stat() if follow else path.lstat()
    except OSError as error:
        return STATUS.pack(error.errno or 2, *[0] * 10)
    who = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size)
    return STATUS.pack(0, *who, int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
