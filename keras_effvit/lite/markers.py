"""The ranges in a file made of a graph that rounds: each is a QUANTIZE with a DEQUANTIZE behind it."""

import numpy as np

from keras_effvit.lite.calibration import Calibration
from keras_effvit.lite.flatfile import builtin_name, drop_unused, pack, unpack
from keras_effvit.lite.inspection import MOVES, Inspection, Operator

#: Types of the schema, with their lowest integer and how many steps there are above it.
INT8, UINT8, INT16, UINT16 = 9, 3, 7, 16
_LIMITS = {INT8: (-128, 255), UINT8: (0, 255), INT16: (-32768, 65535), UINT16: (0, 65535)}


def take_ranges(content: bytes) -> tuple[bytes, dict[str, tuple[float, float]]]:
    """The file without its markers, and the ranges they stood for.

    Args:
        content: a float file, as `export_float` makes it of a graph that rounds. No runtime need be able to run it:
            it may have markers of 16 bits.

    Returns:
        A float file, and ranges by tensor; of a tensor with ranges for 8 and for 16 bits, the former.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    sources: dict[int, int] = {}
    ranges: dict[str, tuple[float, float]] = {}
    kept = []
    for operator in graph.operators:
        name = builtin_name(model, operator)
        if name == "QUANTIZE":
            source, marked = int(operator.inputs[0]), int(operator.outputs[0])
            source = sources.get(source, source)
            narrow = graph.tensors[marked].type in (INT8, UINT8)
            if narrow or names[source] not in ranges:
                ranges[names[source]] = _range(graph.tensors[marked])
            sources[marked] = source
        elif name == "DEQUANTIZE":
            sources[int(operator.outputs[0])] = sources[int(operator.inputs[0])]
        else:
            operator.inputs = np.array([sources.get(int(index), int(index)) for index in operator.inputs], np.int32)
            kept.append(operator)
    graph.operators = kept
    graph.outputs = np.array([sources.get(int(index), int(index)) for index in graph.outputs], np.int32)
    for entry in model.signatureDefs[0].outputs:
        entry.tensorIndex = sources.get(entry.tensorIndex, entry.tensorIndex)
    drop_unused(model)
    return pack(model), ranges


def _range(tensor) -> tuple[float, float]:
    """From the lowest to the highest step."""
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    lowest, steps = _LIMITS[tensor.type]
    return (lowest - zero_point) * scale, (lowest + steps - zero_point) * scale


def learnt_ranges(found: Inspection, ranges: dict[str, tuple[float, float]]) -> Calibration:
    """Ranges for every tensor that shares the steps of a marked one, as calibration would give.

    Args:
        found: of `inspect`, of the file without markers.
        ranges: of `take_ranges`.
    """
    known = dict(ranges)
    names = [tensor.name for tensor in found.tensors]
    for operator in found.operators:
        data = _data(operator, found)
        if operator.name in MOVES and names[data[0]] in known:
            for index in operator.outputs:
                known.setdefault(names[index], known[names[data[0]]])
    for operator in reversed(found.operators):
        result = names[operator.outputs[0]]
        if operator.name in MOVES and result in known:
            known.setdefault(names[_data(operator, found)[0]], known[result])
    return Calibration(ranges=known, method="learnt", images=0, fingerprint="", outliers=())


def _data(operator: Operator, found: Inspection) -> list[int]:
    """An operator's inputs that are no constants."""
    return [index for index in operator.inputs if not found.tensors[index].bytes]
