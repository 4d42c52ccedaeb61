"""The cable between adb and a phone: it carries bytes, and it can be pulled, cut at a byte, or go dead."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

CNXN = 0x4E584E43
HEADER = struct.Struct("<6I")
UP, DOWN = "up", "down"  # from the phone, to the phone


def exactly(source: socket.socket, length: int) -> bytes:
    """So many bytes of a socket.

    Raises:
        EOFError: if it ends before.
    """
    parts = bytearray()
    while len(parts) < length:
        part = source.recv(length - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


class Link:
    """Takes connections of adb's server and carries each to the phone.

    Args:
        listener: where the server connects to.
        connect: opens a connection to the phone.
        banner: "ro.product.name=..;ro.product.model=..;" to introduce the phone with, where it does not do so itself.
    """

    def __init__(self, listener: socket.socket, connect: Callable[[], socket.socket], banner: str | None = None):
        self._listener, self._connect, self._banner = listener, connect, banner
        self._plugged, self._answering = True, True
        self._flowing = threading.Event()
        self._flowing.set()
        self._left: dict[str, int | None] = {UP: None, DOWN: None}
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def drop(self) -> None:
        """Cuts what is connected. New connections are welcome: a cable with a loose contact."""
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop_after(self, direction: str, count: int) -> None:
        """Cuts when so many more bytes have passed, "up" from the phone or "down" to it."""
        self._left[direction] = count

    def unplug(self) -> None:
        """Cuts, and nobody comes through until `plug`."""
        self._plugged = False
        self.drop()

    def plug(self) -> None:
        """The cable is back."""
        self._plugged = True

    def offline(self) -> None:
        """Cuts, and whoever connects finds nobody who answers."""
        self._answering = False
        self.drop()

    def online(self) -> None:
        """The phone answers again; who waited in vain is sent away to come back."""
        self._answering = True
        self.drop()

    def mute(self) -> None:
        """Connections stay and nothing passes."""
        self._flowing.clear()

    def unmute(self) -> None:
        """What was held passes."""
        self._flowing.set()

    def close(self) -> None:
        """No more connections, and none left."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # `accept` does not return for `close` alone
        self._listener.close()
        self.drop()
        self.unmute()

    def _accept(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            if self._plugged:
                threading.Thread(target=self._serve, args=(host,), daemon=True).start()
            else:
                host.close()

    def _serve(self, host: socket.socket) -> None:
        ends = [host]
        self._ends.add(host)
        with contextlib.suppress(OSError, EOFError):
            if self._answering:
                phone = self._connect()
                ends.append(phone)
                self._ends.add(phone)
                for end in ends:
                    if end.family == socket.AF_INET:
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                down = threading.Thread(target=self._carry, args=(host, phone, DOWN), daemon=True)
                down.start()
                if self._banner is not None:
                    host.sendall(self._introduced(phone, self._banner))
                self._carry(phone, host, UP)
                down.join()
            else:
                while host.recv(4096):
                    pass
        for end in ends:
            self._ends.discard(end)
            end.close()

    def _carry(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                self._flowing.wait()
                left = self._left[direction]
                if left is not None and len(data) >= left:
                    self._left[direction] = None
                    target.sendall(data[:left])
                    self.drop()
                    break
                if left is not None:
                    self._left[direction] = left - len(data)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _introduced(phone: socket.socket, banner: str) -> bytes:
        """The phone's first packet; an adbd on Linux has no properties to put into it."""
        header = exactly(phone, HEADER.size)
        command, first, second, length, _, magic = HEADER.unpack(header)
        data = exactly(phone, length)
        if command == CNXN:
            data = f"device::{banner}features=".encode() + data.split(b"features=")[-1]
            # The sum counts until both sides have agreed on a version that needs none.
            header = HEADER.pack(command, first, second, len(data), sum(data) & 0xFFFFFFFF, magic)
        return header + data
