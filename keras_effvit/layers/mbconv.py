"""EfficientViT's convolutional blocks, all with hard-swish: DSConv, MBConv, and the shortcut of a strided block."""

from typing import Literal, get_args

from keras import ops

from keras_effvit.layers.activations import hard_swish
from keras_effvit.layers.conv import ConvNormAct, strided_shape
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.registration import Composite, serializable

#: Which convolutions of an MBConv batch normalisation follows. The others have a bias.
Norms = Literal["all", "last", "none"]


@serializable
class DSConv(Composite):
    """Depthwise convolution with hard-swish, then a linear pointwise convolution, each with batch normalisation.

    Args:
        filters: output channels.
        kernel_size: side of the depthwise kernel, odd.
        strides: stride of the depthwise convolution.
        zero_norm: start the last normalisation's scale at 0, so that a residual branch starts closed.

    Example:
        >>> DSConv(16)(keras.ops.ones((1, 112, 112, 16))).shape
        (1, 112, 112, 16)
    """

    def __init__(self, filters: int, kernel_size: int = 3, *, strides: int = 1, zero_norm: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.zero_norm = zero_norm

    def build(self, input_shape):
        self.depth = ConvNormAct(
            None,
            self.kernel_size,
            strides=self.strides,
            activation=hard_swish,
            kernel_initializer=narrow_normal(),
            name="depth",
        )
        self.depth.build(input_shape)
        self.point = ConvNormAct(
            self.filters, zero_norm=self.zero_norm, kernel_initializer=narrow_normal(), name="point"
        )
        self.point.build(self.depth.compute_output_shape(input_shape))

    def call(self, inputs, training=False):
        return self.point(self.depth(inputs, training=training), training=training)

    def compute_output_shape(self, input_shape):
        return strided_shape(input_shape, self.strides, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "zero_norm": self.zero_norm,
        }


@serializable
class MBConv(Composite):
    """Inverted bottleneck with hard-swish: pointwise expansion, depthwise, linear pointwise convolution.

    Without any normalisation it is EfficientViT's feed-forward network with depthwise convolution. The identity is
    not added here.

    Args:
        filters: output channels.
        kernel_size: side of the depthwise kernel, odd.
        expansion: hidden channels over input channels.
        strides: stride of the depthwise convolution.
        norms: which convolutions batch normalisation follows, `"all"`, only the `"last"`, or `"none"`; the others have
            a bias.
        zero_norm: start the last normalisation's scale at 0, so that a residual branch starts closed.

    Raises:
        ValueError: for unknown `norms`.

    Example:
        >>> MBConv(48, kernel_size=5, strides=2)(keras.ops.ones((1, 56, 56, 24))).shape
        (1, 28, 28, 48)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        *,
        expansion: int = 4,
        strides: int = 1,
        norms: Norms = "all",
        zero_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if norms not in get_args(Norms):
            raise ValueError(f"`norms` must be one of {get_args(Norms)}. Received: norms={norms!r}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.expansion = expansion
        self.strides = strides
        self.norms = norms
        self.zero_norm = zero_norm

    def build(self, input_shape):
        inner, last = self.norms == "all", self.norms != "none"
        self.expand = self._unit("expand", input_shape[-1] * self.expansion, norm=inner, activation=hard_swish)
        self.depth = self._unit("depth", None, norm=inner, activation=hard_swish)
        self.point = self._unit("point", self.filters, norm=last)
        shape = input_shape
        for part in (self.expand, self.depth, self.point):
            part.build(shape)
            shape = part.compute_output_shape(shape)

    def _unit(self, name: str, filters: int | None, *, norm: bool, activation=None) -> ConvNormAct:
        """The depthwise convolution, where there are no filters, or a pointwise one."""
        return ConvNormAct(
            filters,
            self.kernel_size if filters is None else 1,
            strides=self.strides if filters is None else 1,
            use_bias=not norm,
            use_norm=norm,
            zero_norm=self.zero_norm and name == "point",
            activation=activation,
            kernel_initializer=narrow_normal(),
            name=name,
        )

    def call(self, inputs, training=False):
        x = self.expand(inputs, training=training)
        x = self.depth(x, training=training)
        return self.point(x, training=training)

    def compute_output_shape(self, input_shape):
        return strided_shape(input_shape, self.strides, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "expansion": self.expansion,
            "strides": self.strides,
            "norms": self.norms,
            "zero_norm": self.zero_norm,
        }


@serializable
class DownsamplingShortcut(Composite):
    """2x2 average pooling, then a pointwise convolution: what a strided block adds in place of the identity.

    An odd side is pooled to its ceiling, as the strided convolution beside it gives; the pixels that would lie
    outside count neither in the sum nor in the number.

    Args:
        filters: output channels.
        use_norm: batch normalisation after the convolution; otherwise the convolution has a bias.

    Example:
        >>> DownsamplingShortcut(48)(keras.ops.ones((1, 7, 8, 24))).shape
        (1, 4, 4, 48)
    """

    def __init__(self, filters: int, *, use_norm: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.use_norm = use_norm

    def build(self, input_shape):
        self.proj = ConvNormAct(
            self.filters,
            use_norm=self.use_norm,
            use_bias=not self.use_norm,
            kernel_initializer=narrow_normal(),
            name="proj",
        )
        self.proj.build(input_shape)

    def call(self, inputs, training=False):
        x = ops.average_pool(inputs, 2, 2, padding="same", data_format="channels_last")
        return self.proj(x, training=training)

    def compute_output_shape(self, input_shape):
        return strided_shape(input_shape, 2, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "use_norm": self.use_norm}
