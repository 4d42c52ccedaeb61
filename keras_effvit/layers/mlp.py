"""The feed-forward network of a transformer block, on tokens or maps."""

import keras

from keras_effvit.layers.activations import gelu
from keras_effvit.layers.conv import PaddedDepthwiseConv2D
from keras_effvit.layers.initializers import conv_uniform, narrow_normal
from keras_effvit.layers.registration import Composite, serializable


def linear(units: int, name: str, *, use_bias: bool = True, kernel_initializer=None) -> keras.layers.Dense:
    """A linear layer over the channels, by default with the initial values of the papers."""
    return keras.layers.Dense(
        units, use_bias=use_bias, kernel_initializer=kernel_initializer or narrow_normal(), name=name
    )


@serializable
class Mlp(Composite):
    """Linear, GELU, linear; with `depthwise`, a 3x3 depthwise convolution before the GELU (PVTv2, LVT).

    Args:
        expansion: hidden channels over input channels.
        depthwise: insert the convolution; the input must then be a map.

    Example:
        >>> Mlp(expansion=4)(keras.ops.ones((1, 49, 32))).shape
        (1, 49, 32)
    """

    def __init__(self, expansion: int = 4, *, depthwise: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.expansion = expansion
        self.depthwise = depthwise

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = (*input_shape[:-1], channels * self.expansion)
        # Around the depthwise convolution the authors' linear layers are 1x1 convolutions, and start as such.
        self.fc1 = linear(hidden[-1], "fc1", kernel_initializer=conv_uniform() if self.depthwise else None)
        self.fc1.build(input_shape)
        if self.depthwise:
            self.conv = PaddedDepthwiseConv2D(3, depthwise_initializer=conv_uniform(depthwise=True), name="conv")
            self.conv.build(hidden)
        self.fc2 = linear(channels, "fc2", kernel_initializer=conv_uniform() if self.depthwise else None)
        self.fc2.build(hidden)

    def call(self, inputs):
        x = self.fc1(inputs)
        if self.depthwise:
            x = self.conv(x)
        return self.fc2(gelu(x))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "expansion": self.expansion, "depthwise": self.depthwise}
