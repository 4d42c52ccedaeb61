"""Writes PyTorch's files without PyTorch, opcode by opcode, so that a test can make a checkpoint of any content.

`tests/weights/test_torch_file.py` holds what it writes against files that PyTorch itself wrote.
"""

import pickle
import struct
import zipfile

import numpy as np

STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Writer:
    """Turns dicts of arrays and plain values into a pickle and the storages it refers to."""

    def __init__(self):
        self.storages: list[np.ndarray] = []

    def pickled(self, tree) -> bytes:
        return b"\x80\x02" + self.value(tree) + b"."

    def value(self, item) -> bytes:
        if isinstance(item, dict):
            return b"}(" + b"".join(self.value(key) + self.value(value) for key, value in item.items()) + b"u"
        if isinstance(item, np.ndarray):
            return self.tensor(np.ascontiguousarray(item).reshape(item.shape))
        return pickle.dumps(item, 2)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b"")

    def tensor(self, array: np.ndarray) -> bytes:
        strides = [stride // array.itemsize for stride in array.strides]
        call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + self.storage(array) + b"K\x00"
        call += numbers(array.shape) + numbers(strides)
        return call + b"\x89ccollections\nOrderedDict\n)RtR"

    def storage(self, array: np.ndarray) -> bytes:
        key = str(len(self.storages))
        self.storages.append(array)
        kind = b"ctorch\n" + STORAGES[array.dtype.name].encode() + b"\n"
        return b"(" + text("storage") + kind + text(key) + text("cpu") + number(array.size) + b"tQ"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def numbers(values) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def write_zip(path, tree):
    """A file in the zip format."""
    writer = Writer()
    data = writer.pickled(tree)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        for key, array in enumerate(writer.storages):
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
    return path


def write_legacy(path, tree):
    """A file in the legacy format."""
    writer = Writer()
    start = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    parts = [pickle.dumps(part, 2) for part in start] + [writer.pickled(tree)]
    parts.append(pickle.dumps([str(key) for key in range(len(writer.storages))], 2))
    for array in writer.storages:
        parts += [struct.pack("<q", array.size), array.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


FORMATS = {"zip": write_zip, "legacy": write_legacy}
