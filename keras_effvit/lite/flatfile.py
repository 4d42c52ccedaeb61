"""The flatbuffer of a `.tflite` file, taken apart and put together with its constants where runtimes want them."""

import functools
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


def drop_unused(model: Any) -> None:
    """Leaves out operators whose results nobody takes, tensors that none touches, and the constants of those.

    Args:
        model: of `unpack`, with one graph; it is changed.
    """
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    needed = {int(index) for index in graph.outputs}
    operators = []
    for operator in reversed(graph.operators):
        if needed & {int(index) for index in operator.outputs}:
            needed |= {int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0}
            operators.append(operator)
    graph.operators = operators[::-1]
    needed |= {int(index) for index in graph.inputs}
    place = {old: new for new, old in enumerate(sorted(needed))} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in sorted(needed)]
    for holder in (graph, *graph.operators):
        holder.inputs = [place[int(index)] for index in holder.inputs]
        holder.outputs = [place[int(index)] for index in holder.outputs]
    for entry in (*signature.inputs, *signature.outputs):
        entry.tensorIndex = place[entry.tensorIndex]
    # Buffer 0 is the empty one, by the format.
    owners = [*graph.tensors, *(model.metadata or [])]
    used = sorted({0, *(owner.buffer for owner in owners)})
    model.buffers = [model.buffers[index] for index in used]
    for owner in owners:
        owner.buffer = used.index(owner.buffer)


def builtin_name(model: Any, operator: Any) -> str:
    """What an operator is, such as `"CONV_2D"`.

    Args:
        model: of `unpack`.
        operator: one of its operators.
    """
    entry = model.operatorCodes[operator.opcodeIndex]
    return _builtins()[max(entry.builtinCode, entry.deprecatedBuiltinCode)]


def opcode(model: Any, name: str, version: int = 2) -> int:
    """The place of an operator among the file's kinds of operators, where it is put if it is a new one.

    Args:
        model: of `unpack`.
        name: such as `"QUANTIZE"`.
        version: of a new one.
    """
    from ai_edge_litert import schema_py_generated as schema

    code = getattr(schema.BuiltinOperator, name)
    codes = [max(entry.builtinCode, entry.deprecatedBuiltinCode) for entry in model.operatorCodes]
    if code in codes:
        return codes.index(code)
    entry = schema.OperatorCodeT()
    entry.builtinCode, entry.version = code, version
    # Readers of before 2020 know a byte's worth of operators; the others are told apart by this one.
    entry.deprecatedBuiltinCode = min(code, 127)
    model.operatorCodes.append(entry)
    return len(model.operatorCodes) - 1


@functools.cache
def _builtins() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
