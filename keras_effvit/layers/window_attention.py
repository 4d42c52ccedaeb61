"""SepViT's separable self-attention: inside windows (DSA), between windows (PSA), over the whole map (GSA).

Legend: `b` batch, `n` windows of a map, `p = side * side` pixels of a window, `c = heads * d` channels.
Paper: SepViT sections 3.2 to 3.4, equations 1 to 6.
"""

from typing import Literal, get_args

import keras
from keras import ops

from keras_effvit.layers.activations import gelu
from keras_effvit.layers.heads import attention_weights, check_heads, merge_heads, multi_head_attention, split_heads
from keras_effvit.layers.initializers import conv_uniform
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.norm import BLOCK_EPSILON, LayerNorm
from keras_effvit.layers.recording import attending, record
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import flatten_map, pad_to_windows, window_grid, window_merge, window_partition

WindowToken = Literal["learnable", "zero", "avg_pool", "depthwise_conv"]


def mix_windows(q, k, pixels, heads: int):
    """Attention between windows applied to their pixels: equation 3, second line.

    Every pixel position is mixed across windows by the same weights.

    Args:
        q: window queries, (b, n, c).
        k: window keys, (b, n, c).
        pixels: the windows' pixels, (b * n, p, c).
        heads: number of heads.

    Returns:
        The mixed pixels, (b * n, p, c).
    """
    n, c = q.shape[1:]
    if n == 1:
        return pixels  # a window alone attends to itself with weight 1
    p = pixels.shape[1]
    weights = attention_weights(split_heads(q, heads), split_heads(k, heads))
    record("pointwise", weights)
    values = ops.transpose(ops.reshape(pixels, (-1, p, heads, c // heads)), (0, 2, 1, 3))
    values = ops.transpose(ops.reshape(values, (-1, n, heads, p * c // heads)), (0, 2, 1, 3))
    mixed = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))
    return merge_heads(ops.reshape(mixed, (-1, heads, p, c // heads)))


@serializable
class DepthwiseSelfAttention(Composite):
    """Self-attention inside each window, plus its input (SepViT's DSA, equation 2).

    Depthwise in the sense of a depthwise convolution: every window is a channel of its own.

    Args:
        num_heads: number of heads; must divide the channels.

    Example:
        >>> DepthwiseSelfAttention(2)(keras.ops.ones((4, 50, 64))).shape  # 4 windows of 1 + 49 tokens
        (4, 50, 64)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        check_heads(input_shape[-1], self.num_heads)
        self.qkv = linear(3 * input_shape[-1], "qkv")
        self.qkv.build(input_shape)

    def call(self, inputs):
        q, k, v = ops.split(self.qkv(inputs), 3, axis=-1)
        return multi_head_attention(q, k, v, self.num_heads, kind="window") + inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@serializable
class PointwiseSelfAttention(Composite):
    """Attention between windows through their tokens, plus its input (SepViT's PSA, equation 3).

    Args:
        num_heads: number of heads; must divide the channels.

    Call arguments:
        pixels: (b * n, p, c), the pixels of every window.
        tokens: (b, n, c), one token for every window.

    Example:
        >>> PointwiseSelfAttention(2)(keras.ops.ones((8, 49, 64)), keras.ops.ones((2, 4, 64))).shape
        (8, 49, 64)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, pixels_shape, tokens_shape):
        check_heads(pixels_shape[-1], self.num_heads)
        self.norm = LayerNorm(name="norm")
        self.norm.build(tokens_shape)
        self.qk = linear(2 * tokens_shape[-1], "qk")
        self.qk.build(tokens_shape)

    def call(self, pixels, tokens):
        q, k = ops.split(self.qk(gelu(self.norm(tokens))), 2, axis=-1)
        return mix_windows(q, k, pixels, self.num_heads) + pixels

    def compute_output_shape(self, pixels_shape, tokens_shape):
        return pixels_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@serializable
class SeparableSelfAttention(Composite):
    """Layer normalisation, DSA, PSA and projection on a map: the attention branch of a SepViT block.

    The map is zero-padded to whole windows before the normalisation, as the authors' dense models do, and
    cropped before the projection.

    Args:
        num_heads: number of heads; must divide the channels.
        window_size: side of a window in pixels.
        window_token: what stands for a window in PSA. `"learnable"`: a parameter for every window position, which
            ties the layer to the size it was built for; `"zero"`: a constant; `"avg_pool"` and `"depthwise_conv"`: a
            summary of the window's pixels after DSA (paper's table 7).

    Raises:
        ValueError: for an unknown `window_token`, and when built on a map of unknown size.

    Example:
        >>> SeparableSelfAttention(1, window_size=7)(keras.ops.ones((1, 56, 56, 32))).shape
        (1, 56, 56, 32)
    """

    def __init__(self, num_heads: int, window_size: int = 7, *, window_token: WindowToken = "learnable", **kwargs):
        super().__init__(**kwargs)
        if window_token not in get_args(WindowToken):
            raise ValueError(
                f"`window_token` must be one of {get_args(WindowToken)}. Received: window_token={window_token!r}"
            )
        self.num_heads = num_heads
        self.window_size = window_size
        self.window_token = window_token

    def build(self, input_shape):
        _, height, width, channels = input_shape
        if height is None or width is None:
            raise ValueError(
                "SepViT's window grid needs a fixed input size. "
                f"Received: a map of shape {tuple(input_shape)}; give `input_shape` with both sides."
            )
        self.grid = window_grid(height, width, self.window_size)
        self.windows = self.grid[0] * self.grid[1]
        if self.window_token == "learnable":
            self.token = self.add_weight(name="token", shape=(self.windows, channels), initializer="zeros")
        tokens = (None, self.windows, channels)
        self.norm = LayerNorm(BLOCK_EPSILON, name="norm")
        self.norm.build(tokens)
        self.dsa = DepthwiseSelfAttention(self.num_heads, name="dsa")
        self.dsa.build(tokens)
        self.psa = PointwiseSelfAttention(self.num_heads, name="psa")
        self.psa.build(tokens, tokens)
        if self.window_token == "depthwise_conv":
            self.summary = keras.layers.DepthwiseConv2D(
                self.window_size,
                depthwise_initializer=conv_uniform(depthwise=True),
                data_format="channels_last",
                name="summary",
            )
            self.summary.build((None, self.window_size, self.window_size, channels))
        self.proj = linear(channels, "proj")
        self.proj.build(input_shape)

    @attending
    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        x = pad_to_windows(inputs, self.window_size)
        padded_height, padded_width = x.shape[1:3]
        x = window_partition(x, self.window_size)
        pixels, tokens = self._attend_inside(x)
        x = self.psa(pixels, ops.reshape(tokens, (-1, self.windows, channels)))
        x = window_merge(x, self.window_size, padded_height, padded_width)
        if (padded_height, padded_width) != (height, width):  # a slice that cuts nothing is an operator on a phone
            x = x[:, :height, :width]
        return self.proj(x)

    def _attend_inside(self, windows):
        """DSA on (b * n, p, c) -> its pixels, and one token (b * n, 1, c) for every window."""
        if self.window_token in ("avg_pool", "depthwise_conv"):
            pixels = self.dsa(self.norm(windows))
            return pixels, self._summarise(pixels)
        x = self.dsa(self.norm(ops.concatenate([self._tokens_like(windows), windows], axis=1)))
        return x[:, 1:], x[:, :1]

    def _tokens_like(self, windows):
        nothing = ops.zeros_like(windows[:, :1])
        if self.window_token == "zero":
            return nothing
        channels = windows.shape[-1]
        grid = ops.reshape(nothing, (-1, self.windows, channels)) + self.token
        return ops.reshape(grid, (-1, 1, channels))

    def _summarise(self, pixels):
        if self.window_token == "avg_pool":
            return ops.mean(pixels, axis=1, keepdims=True)
        side, channels = self.window_size, pixels.shape[-1]
        return self.summary(ops.reshape(pixels, (-1, side, side, channels)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "window_size": self.window_size,
            "window_token": self.window_token,
        }


@serializable
class GroupedSelfAttention(Composite):
    """Layer normalisation, DSA over the whole map as one group of windows, and projection (SepViT's GSA).

    Where one group covers the map there is nothing left to exchange between windows: no window token, no PSA.
    A group smaller than the map is a `SeparableSelfAttention` with a larger `window_size`.

    Args:
        num_heads: number of heads; must divide the channels.

    Example:
        >>> GroupedSelfAttention(4)(keras.ops.ones((1, 14, 14, 128))).shape
        (1, 14, 14, 128)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        tokens = (None, None, input_shape[-1])
        self.norm = LayerNorm(BLOCK_EPSILON, name="norm")
        self.norm.build(tokens)
        self.dsa = DepthwiseSelfAttention(self.num_heads, name="dsa")
        self.dsa.build(tokens)
        self.proj = linear(input_shape[-1], "proj")
        self.proj.build(input_shape)

    @attending
    def call(self, inputs):
        _, height, width, channels = ops.shape(inputs)
        x = self.proj(self.dsa(self.norm(flatten_map(inputs))))
        return ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
