"""Convolutions with symmetric zero padding, and the units every family builds from them.

`padding="same"` pads a strided convolution unevenly on even sizes; the authors pad `kernel // 2` zeros on every
side. That difference alone moves logits by 0.15, so strided convolutions here pad by themselves.
"""

from collections.abc import Callable

import keras
from keras import ops

from keras_effvit.layers.initializers import conv_fan_out
from keras_effvit.layers.norm import LayerNorm, batch_norm
from keras_effvit.layers.registration import Composite, serializable


class _SymmetricPadding:
    """Mixin over a Keras convolution with an odd kernel: `kernel // 2` zeros on every side, in every data format.

    Stride 1 is left to `same`, which pads the same zeros without an operator of its own.
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int]

    def __init__(self, *args, **kwargs):
        kwargs["data_format"] = "channels_last"
        kwargs["padding"] = "same"
        super().__init__(*args, **kwargs)
        if any(side % 2 == 0 for side in self.kernel_size):
            raise ValueError(f"`kernel_size` must be odd. Received: kernel_size={self.kernel_size}")
        if max(self.strides) > 1:
            self.padding = "valid"

    def _margins(self) -> tuple[int, int]:
        if max(self.strides) == 1:
            return 0, 0
        return self.kernel_size[0] // 2, self.kernel_size[1] // 2

    def call(self, inputs):
        above, left = self._margins()
        if above or left:
            inputs = ops.pad(inputs, ((0, 0), (above, above), (left, left), (0, 0)))
        return super().call(inputs)  # type: ignore[misc]

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        above, left = self._margins()
        height = None if height is None else height + 2 * above
        width = None if width is None else width + 2 * left
        return super().compute_output_shape((batch, height, width, channels))  # type: ignore[misc]

    def get_config(self):
        config = super().get_config()  # type: ignore[misc]
        del config["padding"], config["data_format"]
        return config


@serializable
class PaddedConv2D(_SymmetricPadding, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with `kernel // 2` zeros on every side: a stride of 2 gives `ceil(n / 2)`.

    Takes the arguments of `keras.layers.Conv2D` except `padding` and `data_format`.

    Example:
        >>> PaddedConv2D(8, 3, strides=2)(keras.ops.ones((1, 7, 8, 3))).shape
        (1, 4, 4, 8)
    """


@serializable
class PaddedDepthwiseConv2D(_SymmetricPadding, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with `kernel // 2` zeros on every side.

    Takes the arguments of `keras.layers.DepthwiseConv2D` except `padding` and `data_format`.

    Example:
        >>> PaddedDepthwiseConv2D(3, strides=2)(keras.ops.ones((1, 7, 8, 3))).shape
        (1, 4, 4, 3)
    """


def strided_shape(shape, strides: int, filters: int | None):
    """Shape of a map after a padded convolution; depthwise, it keeps its channels."""
    batch, height, width, channels = shape
    height, width = (None if side is None else -(-side // strides) for side in (height, width))
    return batch, height, width, filters or channels


@serializable
class ConvNormAct(Composite):
    """Convolution, optional batch normalisation, optional activation.

    Args:
        filters: output channels; `None` makes the convolution depthwise.
        kernel_size: side of the kernel, odd.
        strides: stride in both directions.
        use_bias: whether the convolution has a bias.
        use_norm: whether batch normalisation follows.
        zero_norm: start the normalisation's scale at 0, so that a residual branch starts closed.
        activation: a Keras activation, its name, or `None`.
        kernel_initializer: of the convolution.

    Example:
        >>> ConvNormAct(16, 3, strides=2, activation="relu")(keras.ops.ones((1, 32, 32, 3))).shape
        (1, 16, 16, 16)
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: int = 1,
        *,
        strides: int = 1,
        use_bias: bool = False,
        use_norm: bool = True,
        zero_norm: bool = False,
        activation: str | Callable | None = None,
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.use_bias = use_bias
        self.use_norm = use_norm
        self.zero_norm = zero_norm
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        shared = {"strides": self.strides, "use_bias": self.use_bias, "name": "conv"}
        if self.filters is None:
            self.conv = PaddedDepthwiseConv2D(self.kernel_size, depthwise_initializer=self.kernel_initializer, **shared)
        else:
            self.conv = PaddedConv2D(
                self.filters, self.kernel_size, kernel_initializer=self.kernel_initializer, **shared
            )
        self.conv.build(input_shape)
        self.norm = batch_norm(zero=self.zero_norm) if self.use_norm else None
        if self.norm is not None:
            self.norm.build(self.compute_output_shape(input_shape))

    def call(self, inputs, training=False):
        x = self.conv(inputs)
        if self.norm is not None:
            x = self.norm(x, training=training)
        return self.activation(x)

    def compute_output_shape(self, input_shape):
        return strided_shape(input_shape, self.strides, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "use_bias": self.use_bias,
            "use_norm": self.use_norm,
            "zero_norm": self.zero_norm,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@serializable
class OverlapPatchEmbedding(Composite):
    """A strided convolution whose kernel overlaps its neighbours', then layer normalisation.

    SepViT section 3.1 and LVT section 3 open every stage with it.

    Args:
        dim: output channels.
        kernel_size: side of the kernel, odd and larger than `strides`.
        strides: the factor by which the map shrinks.

    Example:
        >>> OverlapPatchEmbedding(32, kernel_size=7, strides=4)(keras.ops.ones((1, 224, 224, 3))).shape
        (1, 56, 56, 32)
    """

    def __init__(self, dim: int, *, kernel_size: int = 3, strides: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.kernel_size = kernel_size
        self.strides = strides

    def build(self, input_shape):
        self.proj = PaddedConv2D(
            self.dim, self.kernel_size, strides=self.strides, kernel_initializer=conv_fan_out(), name="proj"
        )
        self.proj.build(input_shape)
        self.norm = LayerNorm(name="norm")
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, inputs):
        return self.norm(self.proj(inputs))

    def compute_output_shape(self, input_shape):
        return strided_shape(input_shape, self.strides, self.dim)

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }


@serializable
class ConditionalPositionEncoding(Composite):
    """Adds a depthwise convolution of the map to the map: position from the neighbourhood (Chu et al. 2021).

    Args:
        kernel_size: side of the depthwise kernel, odd.

    Example:
        >>> ConditionalPositionEncoding()(keras.ops.ones((1, 14, 14, 32))).shape
        (1, 14, 14, 32)
    """

    def __init__(self, kernel_size: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def build(self, input_shape):
        self.proj = PaddedDepthwiseConv2D(self.kernel_size, depthwise_initializer=conv_fan_out(), name="proj")
        self.proj.build(input_shape)

    def call(self, inputs):
        return inputs + self.proj(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}
