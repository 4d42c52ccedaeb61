"""The transposed convolution that doubles a map, without the operator of that name."""

import keras
from keras import ops

from keras_effvit.layers.registration import serializable
from keras_effvit.layers.resizing import scaled_shape


def double_by_kernel(x, kernel):
    """A transposed convolution of stride 2 whose 2x2 kernel does not overlap itself.

    Every pixel becomes four, each by a matrix of its own: a linear layer, and a rearrangement.

    Args:
        x: a map, (b, h, w, c).
        kernel: (2, 2, c, filters).

    Returns:
        The map, (b, 2 * h, 2 * w, filters).
    """
    _, height, width, channels = ops.shape(x)
    filters = kernel.shape[-1]
    matrix = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (channels, 4 * filters))
    squares = ops.reshape(ops.matmul(x, matrix), (-1, width, 2, 2 * filters))
    return ops.reshape(ops.transpose(squares, (0, 2, 1, 3)), (-1, 2 * height, 2 * width, filters))


@serializable
class DoublingConv2D(keras.layers.Layer):
    """Doubles a map by a transposed convolution, 2x2 with stride 2, with a bias.

    Args:
        filters: output channels.
        kernel_initializer: of the kernel.

    Example:
        >>> DoublingConv2D(8)(keras.ops.ones((1, 7, 8, 4))).shape
        (1, 14, 16, 8)
    """

    def __init__(self, filters: int, *, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shape = (2, 2, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs):
        return double_by_kernel(inputs, self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        return (*scaled_shape(input_shape, 2)[:3], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
