"""The flatbuffer of a `.tflite` file, taken apart and put together with its constants where runtimes want them."""

from typing import Any

import flatbuffers
import numpy as np

#: Constants start at multiples of this in a file that the converter wrote; kernels may count on it.
ALIGNMENT = 16
IDENTIFIER = b"TFL3"


class _Builder(flatbuffers.Builder):
    """A builder that aligns bytes, which flatbuffers' own packs wherever they come to lie."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        data = x.tobytes()
        self.StartVector(x.itemsize, x.size, max(x.dtype.alignment, ALIGNMENT if x.dtype == np.uint8 else 1))
        self.head = self.Head() - len(data)
        self.Bytes[self.head : self.head + len(data)] = data
        self.vectorNumElems = x.size
        return self.EndVector()


def unpack(content: bytes) -> Any:
    """The file as objects of the schema, constants that lie behind the flatbuffer included.

    Args:
        content: a file the runtime has verified.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(content)


def pack(model: Any) -> bytes:
    """The file that objects of the schema describe.

    Args:
        model: of `unpack`.
    """
    size = 2**20
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data):
            buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
            size += buffer.data.size
    builder = _Builder(size)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())
