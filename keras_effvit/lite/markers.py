"""The ranges in a file made of a graph that rounds: each is a QUANTIZE with a DEQUANTIZE behind it."""

import numpy as np

from keras_effvit.lite.calibration import Calibration
from keras_effvit.lite.flatfile import pack, unpack
from keras_effvit.lite.inspection import Inspection

#: Operators whose result lies on the steps that their operand lies on.
MOVES = frozenset(
    {
        "EXPAND_DIMS",
        "MAX_POOL_2D",
        "PAD",
        "RESHAPE",
        "SLICE",
        "SPLIT",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TRANSPOSE",
    }
)


def take_ranges(content: bytes, found: Inspection) -> tuple[bytes, dict[str, tuple[float, float]]]:
    """The file without its markers, and the ranges they stood for.

    Args:
        content: a float file, as `export_float` makes it of a graph that rounds.
        found: of `inspect`.

    Returns:
        A float file, and ranges by tensor.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    sources: dict[int, int] = {}
    ranges: dict[str, tuple[float, float]] = {}
    kept = []
    for operator, flat in zip(graph.operators, found.operators, strict=True):
        if flat.name == "QUANTIZE":
            source, marked = int(operator.inputs[0]), int(operator.outputs[0])
            source = sources.get(source, source)
            ranges[names[source]] = _range(graph.tensors[marked])
            sources[marked] = source
        elif flat.name == "DEQUANTIZE":
            sources[int(operator.outputs[0])] = sources[int(operator.inputs[0])]
        else:
            operator.inputs = np.array([sources.get(int(index), int(index)) for index in operator.inputs], np.int32)
            kept.append(operator)
    graph.operators = kept
    graph.outputs = np.array([sources.get(int(index), int(index)) for index in graph.outputs], np.int32)
    for entry in model.signatureDefs[0].outputs:
        entry.tensorIndex = sources.get(entry.tensorIndex, entry.tensorIndex)
    return pack(model), ranges


def _range(tensor) -> tuple[float, float]:
    """From the lowest to the highest of 256 steps."""
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    lowest = {3: 0, 9: -128}[tensor.type]  # of UINT8 and INT8 in the schema
    return (lowest - zero_point) * scale, (lowest + 255 - zero_point) * scale


def learnt_ranges(found: Inspection, ranges: dict[str, tuple[float, float]]) -> Calibration:
    """Ranges for every tensor that shares the steps of a marked one, as calibration would give.

    Args:
        found: of `inspect`, of the file without markers.
        ranges: of `take_ranges`.
    """
    known = dict(ranges)
    names = [tensor.name for tensor in found.tensors]
    moves = [operator for operator in found.operators if operator.name in MOVES]
    for operators, backwards in ((moves, False), (moves[::-1], True)):
        for operator in operators:
            data = [index for index in operator.inputs if not found.tensors[index].bytes]
            given, taken = (operator.outputs, data) if backwards else (data, operator.outputs)
            value = next((known[names[index]] for index in given if names[index] in known), None)
            if value is not None:
                for index in taken:
                    known.setdefault(names[index], value)
    return Calibration(ranges=known, method="learnt", images=0, fingerprint="", outliers=())
