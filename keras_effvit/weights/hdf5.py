"""Reads the part of HDF5 that Keras writes, in bounded time: numbers in one piece, in named groups with named layers.

The library everyone reads HDF5 with is written in C and believes its files: one changed byte makes it run in circles,
a link makes it open other files. What Keras saves needs little of the format, and nothing that leads outside: version 0
of the superblock, groups as symbol tables, object headers of version 1, contiguous data. Anything else is refused.

Names follow the HDF5 file format specification, version 3.0.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_effvit.weights.pickle_machine import CheckpointError

MAGIC = b"\x89HDF\r\n\x1a\n"
#: Types of the messages in an object header.
_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 0x0B, 0x0C, 0x10, 0x11
_CONTIGUOUS = 1
_SOFT_LINK = 2
_LONGEST_NAME = 512
#: Looks at a file beyond what any model needs: what refers to itself would take them without end.
_MOST_READS = 1_000_000
#: Position and length of exponent and mantissa in the floating-point numbers that numpy knows, by their bytes.
_IEEE = {2: (10, 5, 0, 10), 4: (23, 8, 0, 23), 8: (52, 11, 0, 52)}


@dataclass(frozen=True)
class Node:
    """A group or a dataset, by the messages of its header."""

    messages: dict[int, list[bytes]]

    @property
    def is_group(self) -> bool:
        """Whether it holds others."""
        return bool({_SYMBOL_TABLE, _LINK, _LINK_INFO} & set(self.messages))


class HDF5:
    """A file.

    Args:
        content: its bytes. The arrays it gives are views of them.

    Raises:
        CheckpointError: here and below, if the file is damaged or written in another way than Keras does.
    """

    def __init__(self, content: np.ndarray):
        self._content = content
        self._reads = 0
        self._heaps: dict[int, dict[int, bytes]] = {}
        if self._bytes(0, 8) != MAGIC or self._bytes(8, 1) != b"\0" or self._bytes(13, 2) != b"\x08\x08":
            raise CheckpointError("Expected HDF5 as Keras writes it. Received: another version of the format")
        base, _, end = struct.unpack("<QQQ", self._bytes(24, 24))
        if base != 0 or end > content.size:
            raise CheckpointError(f"Expected a file of {end} bytes. Received: {content.size}")
        self.root = self.node(self._number(64))

    def node(self, address: int) -> Node:
        """The object whose header is at `address`.

        Args:
            address: in the file.
        """
        version, _, count, _, size = struct.unpack("<BBHII", self._bytes(address, 12))
        if version != 1:
            raise CheckpointError(f"Expected an object at {address}. Received: a header of version {version}")
        messages: dict[int, list[bytes]] = {}
        blocks, seen = [(address + 16, size)], set()
        while blocks and count > 0:
            start, size = blocks.pop(0)
            if start in seen:
                raise CheckpointError("Expected a header that ends. Received: one that holds itself")
            seen.add(start)
            end = start + size
            while start + 8 <= end and count > 0:
                kind, length, _ = struct.unpack("<HHB", self._bytes(start, 5))
                data = self._bytes(start + 8, length)
                messages.setdefault(kind, []).append(data)
                if kind == _CONTINUATION:
                    blocks.append(struct.unpack("<QQ", data[:16]))
                start, count = start + 8 + length, count - 1
        return Node(messages)

    def members(self, group: Node) -> Iterator[tuple[str, Node]]:
        """What a group holds, by name.

        Args:
            group: the group.
        """
        if _LINK in group.messages or _LINK_INFO in group.messages:
            raise CheckpointError("Expected arrays. Received: a link, which may lead elsewhere")
        if not group.is_group:
            raise CheckpointError("Expected a group. Received: another object")
        tree, heap = struct.unpack("<QQ", group.messages[_SYMBOL_TABLE][0][:16])
        if self._bytes(heap, 4) != b"HEAP":
            raise CheckpointError(f"Expected the names of a group at {heap}. Received: other bytes")
        names = self._number(heap + 24)
        for leaf in self._leaves(tree):
            if self._bytes(leaf, 4) != b"SNOD":
                raise CheckpointError(f"Expected a group's table at {leaf}. Received: other bytes")
            (count,) = struct.unpack("<H", self._bytes(leaf + 6, 2))
            for number in range(count):
                offset, address, kind = struct.unpack("<QQI", self._bytes(leaf + 8 + 40 * number, 20))
                name = self._text(names + offset)
                if kind == _SOFT_LINK:
                    raise CheckpointError(f"Expected arrays. Received: {name}, a link, which may lead elsewhere")
                yield name, self.node(address)

    def _leaves(self, root: int) -> Iterator[int]:
        """The tables of a group, from the B-tree that orders them."""
        todo, seen = [root], set()
        while todo:
            address = todo.pop()
            if address in seen:
                raise CheckpointError("Expected a tree of names. Received: one that holds itself")
            seen.add(address)
            magic, kind, level, count = struct.unpack("<4sBBH", self._bytes(address, 8))
            if magic != b"TREE" or kind != 0:
                raise CheckpointError(f"Expected a tree of names at {address}. Received: other bytes")
            children = [self._number(address + 32 + 16 * number) for number in range(count)]
            if level == 0:
                yield from children
            else:
                todo += reversed(children)

    def array(self, dataset: Node, name: str) -> np.ndarray:
        """A dataset's values, as a view.

        Args:
            dataset: the dataset.
            name: for messages.
        """
        try:
            space, kind = dataset.messages[_DATASPACE][0], dataset.messages[_DATATYPE][0]
            layout = dataset.messages[_LAYOUT][0]
        except KeyError:
            raise CheckpointError(f"Expected an array. Received: {name}, another kind of object") from None
        shape, dtype = _shape(space, name), _dtype(kind, name)
        size = dtype.itemsize * math.prod(shape)
        if size == 0:
            return np.zeros(shape, dtype)
        address, stored = struct.unpack("<QQ", layout[2:18]) if layout[:2] == bytes([3, _CONTIGUOUS]) else (0, 0)
        if stored != size or address + size > self._content.size or {_FILTERS, _EXTERNAL} & set(dataset.messages):
            raise CheckpointError(f"Expected {size} bytes in one piece. Received: {name}, stored in another way")
        return self._content[address : address + size].view(dtype).reshape(shape)

    def text_attribute(self, node: Node, wanted: str) -> str | None:
        """The text that is noted at an object under a name.

        Args:
            node: the object.
            wanted: the name.
        """
        for data in node.messages.get(_ATTRIBUTE, []):
            version, _, name, kind, space = struct.unpack("<BBHHH", data[:8])
            start = 8
            pieces = []
            for length in (name, kind, space):
                pieces.append(data[start : start + length])
                start += -(-length // 8) * 8
            # Text of any length: a class number in four bits, and where the global heap keeps it.
            if version == 1 and pieces[0].rstrip(b"\0") == wanted.encode() and pieces[1][:1] == b"\x19":
                length, address, index = struct.unpack("<IQI", data[start : start + 16])
                if address not in self._heaps:
                    self._heaps[address] = self._heap(address)
                return self._heaps[address].get(index, b"")[:length].decode("utf-8", "replace")
        return None

    def _heap(self, address: int) -> dict[int, bytes]:
        """The objects of a global heap by number."""
        magic, _, size = struct.unpack("<4sIQ", self._bytes(address, 16))
        if magic != b"GCOL" or address + size > self._content.size or size > 2**20:
            raise CheckpointError(f"Expected a heap of texts at {address}. Received: other bytes")
        objects, start, end = {}, address + 16, address + size
        while start + 16 <= end:
            index, _, _, length = struct.unpack("<HHIQ", self._bytes(start, 16))
            if index == 0:  # the free space at the end
                break
            objects[index] = self._bytes(start + 16, min(length, _LONGEST_NAME))
            start += 16 + -(-length // 8) * 8
        return objects

    def _bytes(self, start: int, count: int) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise CheckpointError("Expected the layers of a model. Received: a file without an end")
        if start + count > self._content.size:
            raise CheckpointError(f"Expected {count} bytes at {start}. Received: a file of {self._content.size}")
        return self._content[start : start + count].tobytes()

    def _number(self, start: int) -> int:
        return int.from_bytes(self._bytes(start, 8), "little")

    def _text(self, start: int) -> str:
        piece = self._content[start : start + _LONGEST_NAME].tobytes()
        if b"\0" not in piece:
            raise CheckpointError(f"Expected a name at {start}. Received: other bytes")
        return piece[: piece.index(b"\0")].decode("utf-8", "replace")


def _shape(space: bytes, name: str) -> tuple[int, ...]:
    version, rank = space[0], space[1]
    start = {1: 8, 2: 4}.get(version)
    if start is None or rank > 32 or len(space) < start + 8 * rank or (version == 2 and space[3] == 2):
        raise CheckpointError(f"Expected a shape. Received: {name}, which has none")
    return struct.unpack(f"<{rank}Q", space[start : start + 8 * rank])


def _dtype(kind: bytes, name: str) -> np.dtype:
    """The numbers numpy knows: integers (class 0) and floating point (class 1)."""
    family, bits, size = kind[0] & 15, kind[1], int.from_bytes(kind[4:8], "little")
    order = ">" if bits & 1 else "<"
    if family == 0 and size in (1, 2, 4, 8):
        return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
    if family == 1 and tuple(kind[12:16]) == _IEEE.get(size):
        return np.dtype(f"{order}f{size}")
    raise CheckpointError(f"Expected numbers. Received: {name}, a type of class {family} in {size} bytes")
