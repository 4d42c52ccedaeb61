"""What an inference costs, counted in an inspection: for files of which nobody else has counted it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

#: Constants of these are shapes and axes, not parameters, but for the biases of quantised operators.
_INDICES = frozenset({"INT32", "INT64", "BOOL"})
_WITH_BIAS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


def count_costs(inspection: Mapping[str, Any]) -> dict[str, int]:
    """Parameters and multiply-accumulates.

    Parameters are the numbers the file stores: batch normalisation is folded into its neighbours by then, so they are
    a little fewer than the Keras model's.

    Args:
        inspection: of `lite.inspect`, as JSON.

    Returns:
        `params` and `macs`.

    Raises:
        TypeError, KeyError, IndexError, ValueError: if it is no inspection.

    Example:
        >>> count_costs(lite.inspect("sepvit_lite.tflite").to_json())["macs"]
        568414464
    """
    tensors = inspection["tensors"]
    shapes = [tuple(int(side) for side in tensor["shape"]) for tensor in tensors]
    biases, macs = set(), 0
    for operator in inspection["operators"]:
        inputs = [shapes[index] if index >= 0 else () for index in operator["inputs"]]
        output = shapes[operator["outputs"][0]] if operator["outputs"] else ()
        macs += _macs(operator["name"], inputs, output)
        if operator["name"] in _WITH_BIAS:
            biases.update(operator["inputs"][2:3])
    params = sum(
        math.prod(shapes[index])
        for index, tensor in enumerate(tensors)
        if tensor["bytes"] > 0 and (tensor["type"] not in _INDICES or index in biases)
    )
    return {"params": params, "macs": macs}


def _macs(name: str, inputs: Sequence[tuple[int, ...]], output: tuple[int, ...]) -> int:
    if name == "CONV_2D":
        return math.prod(output) * math.prod(inputs[1][1:])
    if name == "DEPTHWISE_CONV_2D":
        return math.prod(output) * math.prod(inputs[1][1:3])
    if name == "FULLY_CONNECTED":
        return math.prod(output) * inputs[1][-1]
    if name == "TRANSPOSE_CONV":
        return math.prod(inputs[2]) * math.prod(inputs[1][:3])
    if name == "BATCH_MATMUL":
        # b m k times b k n times b m n is b (b m k n) (m k n), whichever of them is transposed: MACs squared, times b.
        sizes = math.prod(inputs[0]) * math.prod(inputs[1]) * math.prod(output)
        return math.isqrt(sizes // max(1, math.prod(output[:-2])))
    return 0
