"""Files as mapped bytes, and zip archives whose entries are windows on them: nothing is unpacked that need not be."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_effvit.weights.pickle_machine import CheckpointError

#: What a reader may need beside a multiple of the file's size.
SLACK = 2**24
#: How much larger than the file its content may be once it is unpacked.
MOST_EXPANSION = 4
#: What one entry of a zip directory costs: the bytes it takes at least, and those of Python's record of it.
_ENTRY_BYTES, _RECORD_BYTES = 46, 1024


def map_file(path: Path) -> np.ndarray:
    """The bytes of a file, read when they are touched.

    Args:
        path: the file.

    Raises:
        CheckpointError: if there is nothing in it.
        OSError: if it cannot be opened.
    """
    if path.stat().st_size == 0:
        raise CheckpointError(f"Expected a checkpoint. Received: {path.name}, which is empty")
    return np.memmap(path, np.uint8, "r")


class Window(io.RawIOBase):
    """Mapped bytes as a file that is read, without a copy of the whole.

    Args:
        content: the bytes.
    """

    #: No piece of a checkpoint that is read at once is longer, and no line of a pickle.
    LONGEST_READ, LONGEST_LINE = 2**24, 2**16

    def __init__(self, content: np.ndarray):
        super().__init__()
        self._content = content.data
        self._position = 0

    def readable(self) -> bool:  # noqa: D102
        return True

    def seekable(self) -> bool:  # noqa: D102
        return True

    def tell(self) -> int:  # noqa: D102
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:  # noqa: D102
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._content)}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; all that follow when negative."""
        if size > self.LONGEST_READ:
            raise CheckpointError(f"Expected at most {self.LONGEST_READ} bytes in one piece. Received: {size}")
        end = len(self._content) if size < 0 else self._position + size
        piece = bytes(self._content[self._position : end])
        self._position += len(piece)
        return piece

    def readinto(self, buffer) -> int:  # noqa: D102
        piece = self._content[self._position : self._position + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readline(self, size: int | None = -1) -> bytes:
        """The bytes up to and with the next line feed, in sight of `LONGEST_LINE`."""
        for sight in (2**8, self.LONGEST_LINE):
            piece = bytes(self._content[self._position : self._position + sight])
            end = piece.find(b"\n") + 1
            if end or len(piece) < sight:
                line = piece[: end or None]
                self._position += len(line)
                return line
        raise CheckpointError(f"Expected lines of at most {self.LONGEST_LINE} bytes. Received: a longer one")


class Archive:
    """A zip file. Its entries are views of the file where they are stored as they are, which `torch.save` and Keras do.

    Args:
        path: the file.
        content: its bytes, of `map_file`.

    Raises:
        CheckpointError: if it is no zip file, damaged, or a bomb.
    """

    def __init__(self, path: Path, content: np.ndarray):
        self.name = path.name
        self._content = content
        self._unpacked = 0
        self._check_directory()
        try:
            with zipfile.ZipFile(path) as archive:
                self._entries = {info.filename: info for info in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError, EOFError) as error:
            raise CheckpointError(f"Expected a whole zip file. Received: {self.name}: {error}") from error

    def _check_directory(self) -> None:
        """Refuses a directory that would become many times larger than the file when Python reads it."""
        tail = bytes(self._content[-(2**16 + 22) :])
        end = tail.rfind(b"PK\x05\x06")
        size = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
        if size == 0xFFFFFFFF:  # zip64 keeps the size elsewhere; no more than the file fits
            size = self._content.size
        records = size // _ENTRY_BYTES * _RECORD_BYTES
        if records > MOST_EXPANSION * self._content.size + SLACK:
            raise CheckpointError(
                f"Expected a directory of tensors. Received: {self.name}, whose directory takes {size} bytes"
            )

    @property
    def names(self) -> list[str]:
        """The entries."""
        return list(self._entries)

    def stored(self, name: str) -> np.ndarray:
        """The bytes of an entry, where they lie in the file.

        Args:
            name: the entry.

        Raises:
            CheckpointError: if there is none, if it is compressed, or if the file ends before it does.
        """
        info = self._find(name)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise CheckpointError(f"Expected entries as they are. Received: {info.filename}, compressed")
        return self._packed(info)

    def unpacked(self, name: str) -> np.ndarray:
        """The bytes of an entry, unpacked if need be and if that stays within bounds.

        Args:
            name: the entry.

        Raises:
            CheckpointError: as `stored`, or if all that was unpacked so far is too large for such a file.
        """
        info = self._find(name)
        if info.compress_type != zipfile.ZIP_DEFLATED or info.flag_bits & 1:
            return self.stored(name)
        self._unpacked += info.file_size
        if self._unpacked > MOST_EXPANSION * self._content.size:
            raise CheckpointError(
                f"Expected at most {MOST_EXPANSION} times the file's {self._content.size} bytes. "
                f"Received: {info.filename}, which claims {info.file_size}"
            )
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._packed(info).data, info.file_size or 1)
        except zlib.error as error:
            raise CheckpointError(f"Expected a whole zip file. Received: {self.name}: {error}") from error
        if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise CheckpointError(f"Expected {info.file_size} bytes of {info.filename}. Received: a damaged entry")
        return np.frombuffer(content, np.uint8)

    def _find(self, name: str) -> zipfile.ZipInfo:
        if name not in self._entries:
            raise CheckpointError(f"Expected {name} inside {self.name}. Received: no such entry")
        return self._entries[name]

    def _packed(self, info: zipfile.ZipInfo) -> np.ndarray:
        header = bytes(self._content[info.header_offset : info.header_offset + 30])
        if len(header) != 30 or header[:4] != b"PK\x03\x04":
            raise CheckpointError(
                f"Expected an entry at {info.header_offset}. Received: other bytes for {info.filename}"
            )
        name, extra = struct.unpack("<HH", header[26:])
        start = info.header_offset + 30 + name + extra
        if start + info.compress_size > self._content.size:
            raise CheckpointError(
                f"Expected {info.compress_size} bytes of {info.filename}. Received: a file that ends before"
            )
        return self._content[start : start + info.compress_size]
