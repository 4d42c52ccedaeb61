"""Linear layers inside groups of channels, which Keras and a phone want spelled differently."""

import keras
from keras import ops

from keras_effvit.layers.lowerings import chosen
from keras_effvit.layers.registration import serializable


def grouped_linear(x, kernel):
    """A linear layer inside each group of channels, in the lowering that is chosen.

    Args:
        x: a map, (b, h, w, groups * d).
        kernel: that of a 1x1 convolution in groups, (1, 1, d, filters).

    Returns:
        The map with `filters` channels.
    """
    if isinstance(x, keras.KerasTensor):
        return GroupedProduct().symbolic_call(x, kernel)
    if chosen("grouped") == "convolution":
        return ops.conv(x, kernel, data_format="channels_last")
    _, height, width, channels = ops.shape(x)
    _, _, d, filters = kernel.shape
    groups = channels // d
    matrices = ops.transpose(ops.reshape(kernel, (d, groups, filters // groups)), (1, 0, 2))
    pixels = ops.transpose(ops.reshape(x, (-1, groups, d)), (1, 0, 2))
    y = ops.transpose(ops.matmul(pixels, matrices), (1, 0, 2))
    return ops.reshape(y, (-1, height, width, filters))


@serializable
class GroupedProduct(keras.Operation):
    """`grouped_linear` as one step of a graph of operations, which chooses its spelling whenever it runs."""

    def call(self, x, kernel):
        return grouped_linear(x, kernel)

    def compute_output_spec(self, x, kernel):
        return keras.KerasTensor((*x.shape[:-1], kernel.shape[-1]), x.dtype)


@serializable
class GroupedLinear(keras.layers.Layer):
    """A linear layer inside each group of channels, without bias: a 1x1 convolution in groups.

    Args:
        group_size: channels of a group; must divide the channels, which stay as many.
        kernel_initializer: of the kernel.

    Raises:
        ValueError: when built on channels that `group_size` does not divide.

    Example:
        >>> GroupedLinear(16)(keras.ops.ones((1, 14, 14, 64))).shape
        (1, 14, 14, 64)
    """

    def __init__(self, group_size: int, *, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.group_size = group_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.group_size:
            raise ValueError(
                f"`group_size` must divide the channels. Received: group_size={self.group_size}, channels={channels}"
            )
        shape = (1, 1, self.group_size, channels)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)

    def call(self, inputs):
        return grouped_linear(inputs, self.kernel)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "group_size": self.group_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
