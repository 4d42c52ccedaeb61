"""adb's packets and streams, from the device's side.

A packet is a header of six numbers and data. A stream carries one service, such as a shell; of each, one packet may be
under way until the other side says OKAY.
"""

import contextlib
import queue
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from tests.phones.link import HEADER, exactly

COMMANDS = {
    each.decode(): int.from_bytes(each, "little") for each in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
}
NAMES = {number: name for name, number in COMMANDS.items()}
#: From this version on nobody looks at the sum of a packet's bytes.
VERSION, VERSION_WITH_SUMS = 0x01000001, 0x01000000
LONGEST = 1 << 20
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3
#: Clients send large files in a newer, compressed way only to devices that say they know it.
FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,fixed_push_symlink_timestamp"


class Peer(Protocol):
    """What a connection asks its device for."""

    features: str

    def banner(self) -> str: ...

    def trusts(self, kind: int) -> bool: ...

    def service(self, name: str) -> "Callable[[Stream], None] | None": ...


class Stream:
    """One service's bytes, both ways."""

    def __init__(self, connection: "Connection", local: int, remote: int):
        self._connection, self._local, self._remote = connection, local, remote
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._acknowledged = threading.Semaphore(0)
        self._writing = threading.Lock()
        self._closed = False
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Sends bytes and waits until they are taken.

        Raises:
            BrokenPipeError: if the other side closes the stream.
        """
        with self._writing:
            for start in range(0, len(data), self._connection.longest):
                if not self._closed:
                    part = data[start : start + self._connection.longest]
                    self._connection.send("WRTE", self._local, self._remote, part)
                    self._acknowledged.acquire()
                if self._closed:
                    raise BrokenPipeError

    def some(self) -> bytes:
        """What came next; nothing if the stream is closed."""
        data = self._received.get()
        if data:
            self._connection.send("OKAY", self._local, self._remote)  # only now: whoever sends too fast has to wait
        return data

    def read(self, length: int) -> bytes:
        """So many bytes.

        Raises:
            EOFError: if the stream is closed before.
        """
        while len(self._rest) < length:
            data = self.some()
            if not data:
                raise EOFError
            self._rest += data
        data, self._rest = self._rest[:length], self._rest[length:]
        return data

    def run(self, service: Callable[["Stream"], None]) -> None:
        """Offers a service until it ends, and closes."""
        with contextlib.suppress(EOFError, OSError):
            service(self)
        if not self._closed:
            self._closed = True
            self._connection.send("CLSE", self._local, self._remote)
        self._connection.streams.pop(self._local, None)
        self._received.put(b"")  # whoever still reads

    def arrived(self, data: bytes) -> None:
        self._received.put(data)

    def taken(self) -> None:
        self._acknowledged.release()

    def closed(self) -> None:
        self._closed = True
        self._received.put(b"")
        self._acknowledged.release()


class Connection:
    """One adb server's connection; it ends with its socket."""

    def __init__(self, peer: Peer, end: socket.socket):
        self._peer, self._end = peer, end
        self._sending = threading.Lock()
        self._version, self.longest = VERSION_WITH_SUMS, 4096
        self._online = False
        self._count = 0
        self.streams: dict[int, Stream] = {}
        threading.Thread(target=self._run, daemon=True).start()

    def send(self, name: str, first: int, second: int, data: bytes = b"") -> None:
        """Sends a packet; to nobody, if nobody is left."""
        total = sum(data) & 0xFFFFFFFF if self._version < VERSION else 0
        command = COMMANDS[name]
        header = HEADER.pack(command, first, second, len(data), total, command ^ 0xFFFFFFFF)
        with self._sending, contextlib.suppress(OSError):
            self._end.sendall(header + data)

    def admit(self) -> None:
        """Greets: the device is online for this server."""
        self._online = True
        self.send("CNXN", VERSION, LONGEST, f"device::{self._peer.banner()}features={self._peer.features}".encode())

    def _run(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                command, first, second, length, _, magic = HEADER.unpack(exactly(self._end, HEADER.size))
                if magic != command ^ 0xFFFFFFFF or length > LONGEST:
                    break
                self._packet(NAMES.get(command, ""), first, second, exactly(self._end, length))
        for stream in list(self.streams.values()):
            stream.closed()
        self._end.close()

    def _packet(self, name: str, first: int, second: int, data: bytes) -> None:
        if name == "CNXN":
            self._version, self.longest = min(first, VERSION), min(second, LONGEST)
            self._decide(0)
        elif name == "AUTH":
            self._decide(first)
        elif not self._online:
            return
        elif name == "OPEN":
            self._open(first, data.rstrip(b"\0").decode("utf-8", "surrogateescape"))
        elif second in self.streams:
            stream = self.streams[second]
            if name == "WRTE":
                stream.arrived(data)
            elif name == "OKAY":
                stream.taken()
            elif name == "CLSE":
                del self.streams[second]
                stream.closed()

    def _decide(self, kind: int) -> None:
        """Answers a greeting, a signature or a key."""
        if self._peer.trusts(kind):
            self.admit()
        elif kind != PUBLIC_KEY:  # an unknown signature: with a new token the client tries its next key
            self.send("AUTH", TOKEN, 0, secrets.token_bytes(20))

    def _open(self, remote: int, name: str) -> None:
        service = self._peer.service(name)
        if service is None:
            self.send("CLSE", 0, remote)
            return
        self._count += 1
        stream = self.streams[self._count] = Stream(self, self._count, remote)
        self.send("OKAY", self._count, remote)
        threading.Thread(target=stream.run, args=(service,), daemon=True).start()
