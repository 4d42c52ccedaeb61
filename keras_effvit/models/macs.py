"""Counting multiply-accumulates of a built model.

The papers' "FLOPs" are multiply-accumulates of convolutions, linear layers and activation-by-activation matmuls,
and nothing else. They are counted in the graph TensorFlow really runs, so that no formula can drift from the code.
"""

import math

import keras
import tensorflow as tf


def _conv2d(op: tf.Operation) -> int:
    kernel = op.inputs[1].shape.as_list()  # height, width, inputs of a group, filters
    return op.outputs[0].shape.num_elements() * math.prod(kernel[:3])


def _depthwise(op: tf.Operation) -> int:
    # A dilated convolution runs on a padded rearrangement of the map; its true output follows the way back.
    after = [user for user in op.outputs[0].consumers() if user.type == "BatchToSpaceND"]
    output = after[0].outputs[0] if after else op.outputs[0]
    return output.shape.num_elements() * math.prod(op.inputs[1].shape.as_list()[:2])


def _matmul(op: tf.Operation) -> int:
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    return op.outputs[0].shape.num_elements() * op.inputs[0].shape[-2 if transposed else -1]


_COUNTERS = {
    "Conv2D": _conv2d,
    "DepthwiseConv2dNative": _depthwise,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
}
_UNCOUNTABLE = {"Einsum", "Conv3D", "Conv2DBackpropInput", "PartitionedCall", "StatefulPartitionedCall", "While"}


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
    total = 0
    for op in graph.get_operations():
        if op.type in _UNCOUNTABLE:
            raise ValueError(f"Cannot count the MACs of operator {op.type} ({op.name})")
        if op.type in _COUNTERS:
            total += _COUNTERS[op.type](op)
    return total
