"""LVT's recursive atrous self-attention (RASA): queries that look at several distances, applied again and again.

Legend: `b` batch, `h w` map, `m` keys, the pixels of the map reduced `reduction` times, `c = heads * d` channels.
Paper: LVT section 3.2.
"""

import functools

import keras
from keras import ops

from keras_effvit.layers.activations import silu
from keras_effvit.layers.conv import PaddedDepthwiseConv2D
from keras_effvit.layers.heads import check_heads, multi_head_attention
from keras_effvit.layers.initializers import conv_fan_out
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.layers.recording import attending
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import flatten_map

MOST_RECURSIONS = 4


def check_recursion(recursion: int) -> None:
    """Raises ValueError unless the depth is one the paper studies."""
    if not isinstance(recursion, int) or not 1 <= recursion <= MOST_RECURSIONS:
        raise ValueError(
            f"`recursion` must be an integer from 1 to {MOST_RECURSIONS}. Received: recursion={recursion!r}"
        )


def check_dilations(dilations: tuple[int, ...] | None) -> None:
    """Raises ValueError unless there is nothing to dilate or a distance for every branch."""
    if dilations is not None and (not dilations or any(not isinstance(d, int) or d < 1 for d in dilations)):
        raise ValueError(f"`dilations` must be None or positive integers. Received: dilations={dilations!r}")


def recur(step, x, recursion: int):
    """Applies `step` again and again to the sum of `x` and what it has given so far: the authors' form of equation 8.

    The paper feeds the last result only; the two agree up to a depth of 2. A SiLU follows every step, unless there
    is but one.
    """
    y = step(x)
    if recursion == 1:
        return y
    y = silu(y)
    for _ in range(recursion - 1):
        x = x + y
        y = silu(step(x))
    return y


@serializable
class AtrousDepthwiseConv2D(PaddedDepthwiseConv2D):
    """One depthwise 3x3 kernel at several dilations, a SiLU after each, then their sum.

    Args:
        dilations: distances between the kernel's taps.

    Example:
        >>> AtrousDepthwiseConv2D((1, 3, 5))(keras.ops.ones((1, 28, 28, 64))).shape
        (1, 28, 28, 64)
    """

    def __init__(self, dilations: tuple[int, ...] = (1, 3, 5), **kwargs):
        # He's uniform distribution for the 9 inputs a pixel has; Keras counts those of all channels as fan-in.
        he_uniform = keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="uniform")
        super().__init__(3, use_bias=False, depthwise_initializer=he_uniform, **kwargs)
        check_dilations(dilations)
        self.dilations = tuple(dilations)

    def call(self, inputs):
        return functools.reduce(ops.add, (silu(self._branch(inputs, d)) for d in self.dilations))

    def _branch(self, inputs, dilation: int):
        return ops.depthwise_conv(
            inputs, self.kernel, padding="same", data_format="channels_last", dilation_rate=dilation
        )

    def get_config(self):
        # Of the convolution's own options none is left open.
        return {**keras.layers.Layer.get_config(self), "dilations": self.dilations}


@serializable
class RecursiveAtrousSelfAttention(Composite):
    """Self-attention on a map, with atrous queries, reduced keys and values, and recursion (LVT's RASA).

    With `recursion=1, dilations=None` it is the spatial-reduction attention of PVT.

    Args:
        num_heads: number of heads; must divide the channels.
        recursion: how often the same attention is applied, 1 to 4.
        dilations: of the convolution that makes the queries; `None` leaves it out.
        reduction: keys and values come from a map smaller by this factor.

    Raises:
        ValueError: for a recursion outside 1 to 4, or dilations or a reduction that are not positive.

    Example:
        >>> RecursiveAtrousSelfAttention(2, reduction=4)(keras.ops.ones((1, 28, 28, 64))).shape
        (1, 28, 28, 64)
    """

    def __init__(
        self,
        num_heads: int,
        *,
        recursion: int = 2,
        dilations: tuple[int, ...] | None = (1, 3, 5),
        reduction: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_recursion(recursion)
        check_dilations(dilations)
        if reduction < 1:
            raise ValueError(f"`reduction` must be a positive integer. Received: reduction={reduction!r}")
        self.num_heads = num_heads
        self.recursion = recursion
        self.dilations = None if dilations is None else tuple(dilations)
        self.reduction = reduction

    def build(self, input_shape):
        channels = input_shape[-1]
        check_heads(channels, self.num_heads)
        self.q = linear(channels, "q", use_bias=False)
        self.q.build(input_shape)
        self.kv = linear(2 * channels, "kv", use_bias=False)
        self.kv.build((None, None, None, channels))
        self.proj = linear(channels, "proj")
        self.proj.build(input_shape)
        if self.dilations is not None:
            self.atrous = AtrousDepthwiseConv2D(self.dilations, name="atrous")
            self.atrous.build(input_shape)
        if self.reduction > 1:
            self.reduce = keras.layers.Conv2D(
                channels,
                self.reduction,
                strides=self.reduction,
                kernel_initializer=conv_fan_out(),
                data_format="channels_last",
                name="reduce",
            )
            self.reduce.build(input_shape)
            self.norm = LayerNorm(name="norm")
            self.norm.build((None, None, None, channels))

    @attending
    def call(self, inputs):
        return recur(self._attend, inputs, self.recursion)

    def _attend(self, x):
        """One step, (b, h, w, c) -> (b, h, w, c)."""
        _, height, width, channels = ops.shape(x)
        q = self.q(x)
        if self.dilations is not None:
            q = self.atrous(q)
        if self.reduction > 1:
            x = self.norm(self.reduce(x))
        k, v = ops.split(flatten_map(self.kv(x)), 2, axis=-1)
        y = multi_head_attention(flatten_map(q), k, v, self.num_heads, kind="atrous")
        return self.proj(ops.reshape(y, (-1, height, width, channels)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "recursion": self.recursion,
            "dilations": self.dilations,
            "reduction": self.reduction,
        }
