"""Counting multiply-accumulates of a built model.

The papers' "FLOPs" are multiply-accumulates of convolutions, linear layers and activation-by-activation matmuls,
and nothing else: pooling and resizing cost nothing, also where they are products with constants. They are
counted in the graph TensorFlow really runs, so that no formula can drift from the code.
"""

import math
from collections.abc import Iterator

import keras
import tensorflow as tf


def _sides(tensor: tf.Tensor) -> list[int]:
    sides = tensor.shape.as_list()
    if None in sides:
        raise ValueError(f"Cannot count the MACs of a tensor of unknown shape: {tensor.name} of {sides}")
    return [side for side in sides if side is not None]


def _size(tensor: tf.Tensor) -> int:
    return math.prod(_sides(tensor))


def _conv2d(op: tf.Operation) -> int:
    *taps_and_inputs, _ = _sides(op.inputs[1])  # rows, columns, inputs of a group, filters
    return _size(op.outputs[0]) * math.prod(taps_and_inputs)


def _depthwise(op: tf.Operation) -> int:
    if _is_constant(op.inputs[1]):
        return 0
    # A dilated convolution runs on a padded rearrangement of the map; its true output follows the way back.
    after = [user for user in op.outputs[0].consumers() if user.type == "BatchToSpaceND"]
    output = after[0].outputs[0] if after else op.outputs[0]
    return _size(output) * math.prod(_sides(op.inputs[1])[:2])


def _matmul(op: tf.Operation) -> int:
    # Of rank 2 as all of them are: attention to one single token has constant shares too, one for every image and head.
    if any(tensor.shape.rank == 2 and _is_constant(tensor) for tensor in op.inputs):
        return 0
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    return _size(op.outputs[0]) * _sides(op.inputs[0])[-2 if transposed else -1]


def _is_constant(tensor: tf.Tensor) -> bool:
    """Whether a tensor is the same for all images and all weights."""
    op = tensor.op
    return op.type == "Const" or (op.type in _REARRANGED and _is_constant(op.inputs[0]))


_REARRANGED = {"Cast", "Identity", "Reshape", "Transpose"}
_COUNTERS = {
    "Conv2D": _conv2d,
    "DepthwiseConv2dNative": _depthwise,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_UNCOUNTABLE = {"Einsum", "Conv3D", "Conv2DBackpropInput", "While", "If"}


def count_macs(model: keras.Model, input_shape: tuple[int, int, int] | None = None) -> int:
    """Multiply-accumulates of one image through `model`.

    Args:
        model: a Keras model with one image input.
        input_shape: (height, width, channels); needed where the model was built for any size.

    Returns:
        The count, for batch 1.

    Raises:
        ValueError: if the input size is unknown, or the graph holds an operator whose cost is not known here.

    Example:
        >>> dense = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Dense(3)])
        >>> count_macs(dense)
        96
    """
    shape = tuple(input_shape or model.input_shape[1:])
    if None in shape:
        raise ValueError(f"`input_shape` is needed to count the MACs of a model of any size. Received: {shape}")
    function = tf.function(lambda image: model(image, training=False))
    graph = function.get_concrete_function(tf.TensorSpec((1, *shape), model.inputs[0].dtype)).graph
    return sum(_cost(op) for op in _operations(graph))


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Every operator, those of called functions too: Keras compiles grouped convolutions as functions of their own."""
    for op in graph.get_operations():
        if op.type in _CALLS:
            yield from _operations(graph._get_function(op.get_attr("f").name).graph)
        else:
            yield op


def _cost(op: tf.Operation) -> int:
    if op.type in _UNCOUNTABLE:
        raise ValueError(f"Cannot count the MACs of operator {op.type} ({op.name})")
    return _COUNTERS[op.type](op) if op.type in _COUNTERS else 0
