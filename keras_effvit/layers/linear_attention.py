"""EfficientViT's ReLU linear attention: every pixel sees every other, at a cost linear in their number.

Legend: `b` batch, `h w` map, `n = h * w` pixels, `d` channels of a head, `c` channels of the map. Heads keep the pixels
last, (b, heads, d, n): a single transpose of the map gives q, k and v as contiguous blocks in that layout.
Paper: EfficientViT (arXiv 2205.14756), O = relu(Q) (relu(K)^T V) / (relu(Q) sum relu(K)^T); the second scale is that of
its later versions and of the released B series.
"""

from typing import Literal, get_args

import keras
from keras import ops

from keras_effvit.layers.conv import ConvNormAct, PaddedConv2D, PaddedDepthwiseConv2D
from keras_effvit.layers.grouped import GroupedLinear
from keras_effvit.layers.heads import attend
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.recording import attending, record
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import flatten_map

AttentionKind = Literal["linear", "softmax"]
#: What the B series was trained with. It is zero in half precision, one more reason to calculate in float32.
OFFICIAL_EPSILON = 1e-15


def relu_linear_attention(q, k, v, epsilon: float = OFFICIAL_EPSILON):
    """Averages the values with weights `relu(q) . relu(k)` that are never written down.

    The sums over all pixels, `v relu(k)^T`, come first; they are d x d numbers whatever the size of the map. A row of
    ones under the values makes the sum of the weights from the same two products. Calculates in float32 or better: in
    half precision the sums overflow.

    Args:
        q: queries, (b, heads, d, n).
        k: keys, (b, heads, d, n).
        v: values, (b, heads, d, n).
        epsilon: added to the sum of a pixel's weights. A query without positive channels gets 0.

    Returns:
        The averages, (b, heads, d, n), in the dtype of `q`.

    Example:
        >>> q = k = v = keras.ops.ones((1, 2, 16, 49))
        >>> relu_linear_attention(q, k, v).shape
        (1, 2, 16, 49)
    """
    dtype, precise = q.dtype, keras.backend.result_type(q.dtype, "float32")
    q, k, v = (ops.cast(x, precise) for x in (q, k, v))
    record("linear", q, k)
    d = v.shape[2]
    v = ops.concatenate([v, ops.ones_like(v[:, :, :1])], axis=2)
    sums = ops.matmul(v, ops.transpose(ops.relu(k), (0, 1, 3, 2)))
    weighted = ops.matmul(sums, ops.relu(q))
    return ops.cast(weighted[:, :, :d] / (weighted[:, :, d:] + epsilon), dtype)


def softmax_attention(q, k, v):
    """Scaled softmax attention of (b, heads, d, n) with its (n, n) weights: what the paper compares with."""
    q, k, v = (ops.transpose(x, (0, 1, 3, 2)) for x in (q, k, v))
    return ops.transpose(attend(q, k, v), (0, 1, 3, 2))


def attend_map(qkv, head_dim: int, kind: AttentionKind, epsilon: float):
    """Attention over all pixels of a map: (b, h, w, heads * 3d) -> (b, h, w, heads * d).

    Args:
        qkv: for every head in turn its queries, keys and values.
        head_dim: d.
        kind: `"linear"` or `"softmax"`.
        epsilon: of `relu_linear_attention`.
    """
    _, height, width, channels = ops.shape(qkv)
    heads = channels // (3 * head_dim)
    x = ops.transpose(flatten_map(qkv), (0, 2, 1))
    x = ops.reshape(x, (-1, heads, 3 * head_dim, height * width))
    q, k, v = ops.split(x, 3, axis=2)
    x = relu_linear_attention(q, k, v, epsilon) if kind == "linear" else softmax_attention(q, k, v)
    x = ops.reshape(x, (-1, heads * head_dim, height * width))
    return ops.reshape(ops.transpose(x, (0, 2, 1)), (-1, height, width, heads * head_dim))


class _MapAttention(Composite):
    """What the attention layers share: their attention's options."""

    def __init__(self, head_dim: int, *, attention: AttentionKind, epsilon: float, **kwargs):
        super().__init__(**kwargs)
        if attention not in get_args(AttentionKind):
            raise ValueError(f"`attention` must be one of {get_args(AttentionKind)}. Received: attention={attention!r}")
        self.head_dim = head_dim
        self.attention: AttentionKind = attention
        self.epsilon = epsilon

    def attend(self, qkv):
        return attend_map(qkv, self.head_dim, self.attention, self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "head_dim": self.head_dim,
            "attention": self.attention,
            "epsilon": self.epsilon,
        }


@serializable
class LinearAttention(_MapAttention):
    """Projection to queries, keys and values, ReLU linear attention over the map, projection back.

    Args:
        num_heads: number of heads, free of the number of channels.
        head_dim: channels of a head.
        attention: `"linear"`, or `"softmax"` for the twin with the same weights that the paper compares with.
        epsilon: added to the sum of a pixel's attention weights.

    Raises:
        ValueError: for an unknown `attention`.

    Example:
        >>> LinearAttention(num_heads=12)(keras.ops.ones((1, 14, 14, 96))).shape
        (1, 14, 14, 96)
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int = 16,
        *,
        attention: AttentionKind = "linear",
        epsilon: float = 1e-6,
        **kwargs,
    ):
        super().__init__(head_dim, attention=attention, epsilon=epsilon, **kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        channels, inner = input_shape[-1], self.num_heads * self.head_dim
        self.qkv = PaddedConv2D(3 * inner, 1, use_bias=False, kernel_initializer=narrow_normal(), name="qkv")
        self.qkv.build(input_shape)
        self.proj = PaddedConv2D(channels, 1, kernel_initializer=narrow_normal(), name="proj")
        self.proj.build((*input_shape[:-1], inner))

    @attending
    def call(self, inputs):
        return self.proj(self.attend(self.qkv(inputs)))

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@serializable
class MultiScaleLinearAttention(_MapAttention):
    """ReLU linear attention on two scales at once: the pixels, and their neighbourhoods.

    A depthwise convolution followed by a linear layer inside each head's queries, keys and values makes a second set
    of heads that sees neighbourhoods; both sets are projected back together, and batch normalisation closes the branch.

    Args:
        head_dim: channels of a head; must divide the channels.
        kernel_size: side of the neighbourhood, odd.
        attention: `"linear"`, or `"softmax"` for a twin with the same weights.
        epsilon: added to the sum of a pixel's attention weights; other ports of the weights use 1e-5.
        zero_norm: start the normalisation's scale at 0, so that a residual branch starts closed.

    Raises:
        ValueError: for an unknown `attention`, and when built on channels that `head_dim` does not divide.

    Example:
        >>> MultiScaleLinearAttention(16)(keras.ops.ones((1, 14, 14, 64))).shape
        (1, 14, 14, 64)
    """

    def __init__(
        self,
        head_dim: int = 16,
        *,
        kernel_size: int = 5,
        attention: AttentionKind = "linear",
        epsilon: float = OFFICIAL_EPSILON,
        zero_norm: bool = False,
        **kwargs,
    ):
        super().__init__(head_dim, attention=attention, epsilon=epsilon, **kwargs)
        self.kernel_size = kernel_size
        self.zero_norm = zero_norm

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.head_dim:
            raise ValueError(
                f"`head_dim` must divide the channels. Received: head_dim={self.head_dim}, channels={channels}"
            )
        inner = 3 * channels
        self.qkv = PaddedConv2D(inner, 1, use_bias=False, kernel_initializer=narrow_normal(), name="qkv")
        self.qkv.build(input_shape)
        self.aggregate_depth = PaddedDepthwiseConv2D(
            self.kernel_size, use_bias=False, depthwise_initializer=narrow_normal(), name="aggregate_depth"
        )
        self.aggregate_depth.build((*input_shape[:-1], inner))
        self.aggregate_point = GroupedLinear(self.head_dim, kernel_initializer=narrow_normal(), name="aggregate_point")
        self.aggregate_point.build((*input_shape[:-1], inner))
        self.proj = ConvNormAct(channels, zero_norm=self.zero_norm, kernel_initializer=narrow_normal(), name="proj")
        self.proj.build((*input_shape[:-1], 2 * channels))

    @attending
    def call(self, inputs, training=False):
        pixels = self.qkv(inputs)
        neighbourhoods = self.aggregate_point(self.aggregate_depth(pixels))
        both = ops.concatenate([pixels, neighbourhoods], axis=-1)
        return self.proj(self.attend(both), training=training)

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size, "zero_norm": self.zero_norm}
