"""LightViT's attention: pixels inside windows, tokens over all pixels (aggregation), pixels over tokens (broadcast).

Legend: `b` batch, `h w` map, `m = h * w` pixels of a map, `n` windows of a map, `p = side * side` pixels of a window,
`t` global tokens, `c = heads * d` channels. Paper: LightViT section 3.
"""

import keras
import numpy as np
from keras import ops

from keras_effvit.layers.heads import check_heads, multi_head_attention
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.recording import attending
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import flatten_map, pad_to_windows, window_merge, window_partition


def relative_positions(side: int) -> np.ndarray:
    """For every query and every key of a window, query-major, the row of a bias table that their offset owns.

    Args:
        side: the window's side in pixels.

    Returns:
        p * p numbers from 0 to (2 * side - 1)^2 - 1.

    Example:
        >>> relative_positions(2).reshape(4, 4)[0]  # of the first pixel, to itself, right, below, diagonal
        array([4, 3, 1, 0])
    """
    rows, columns = np.divmod(np.arange(side * side), side)
    down = rows[:, None] - rows + side - 1
    right = columns[:, None] - columns + side - 1
    return (down * (2 * side - 1) + right).reshape(-1)


@serializable
class LocalWindowAttention(keras.layers.Layer):
    """Attention inside each window, with a learnt bias for every offset between two pixels and every head.

    It has no projections of its own: LightViT shares one between this and the global attentions.

    Args:
        num_heads: number of heads; must divide the channels.
        window_size: side of a window in pixels.

    Call arguments:
        query, key, value: (b * n, p, c), as `window_partition` cuts them.

    Example:
        >>> windows = window_partition(keras.ops.ones((1, 14, 14, 64)), 7)
        >>> LocalWindowAttention(2)(windows, windows, windows).shape
        (4, 49, 64)
    """

    def __init__(self, num_heads: int, window_size: int = 7, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = window_size

    def build(self, query_shape, key_shape, value_shape):
        check_heads(query_shape[-1], self.num_heads)
        shape = ((2 * self.window_size - 1) ** 2, self.num_heads)
        self.bias_table = self.add_weight(name="bias_table", shape=shape, initializer=narrow_normal())

    def call(self, query, key, value):
        return multi_head_attention(query, key, value, self.num_heads, self._bias(), kind="window")

    def _bias(self):
        """(heads, p, p)."""
        pixels = self.window_size**2
        # Along axis 0 the table's gradient would be sparse.
        bias = ops.take(ops.transpose(self.bias_table), relative_positions(self.window_size), axis=1)
        return ops.reshape(bias, (self.num_heads, pixels, pixels))

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return query_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "window_size": self.window_size}


@serializable
class GlobalAggregation(keras.layers.Layer):
    """A few tokens gather from all pixels: softmax attention without projections or bias.

    Args:
        num_heads: number of heads; must divide the channels.

    Call arguments:
        query: (b, t, c), of the tokens.
        key, value: (b, m, c), of the pixels in any order.

    Example:
        >>> pixels = keras.ops.ones((1, 196, 64))
        >>> GlobalAggregation(2)(keras.ops.ones((1, 8, 64)), pixels, pixels).shape
        (1, 8, 64)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, query_shape, key_shape, value_shape):
        check_heads(query_shape[-1], self.num_heads)

    def call(self, query, key, value):
        return multi_head_attention(query, key, value, self.num_heads, kind="aggregation")

    def compute_output_shape(self, query_shape, key_shape, value_shape):
        return query_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@serializable
class GlobalBroadcast(Composite):
    """Every pixel reads from a few tokens: softmax attention over the tokens' keys and values.

    Args:
        num_heads: number of heads; must divide the channels.

    Call arguments:
        query: (b, m, c), of the pixels.
        tokens: (b, t, c), projected to keys and values here.

    Example:
        >>> GlobalBroadcast(2)(keras.ops.ones((1, 196, 64)), keras.ops.ones((1, 8, 64))).shape
        (1, 196, 64)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, query_shape, tokens_shape):
        check_heads(query_shape[-1], self.num_heads)
        self.kv = linear(2 * tokens_shape[-1], "kv")
        self.kv.build(tokens_shape)

    def call(self, query, tokens):
        k, v = ops.split(self.kv(tokens), 2, axis=-1)
        return multi_head_attention(query, k, v, self.num_heads, kind="broadcast")

    def compute_output_shape(self, query_shape, tokens_shape):
        return query_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


@serializable
class LocalGlobalAttention(Composite):
    """Local window attention, global aggregation and global broadcast between two projections: LightViT's attention.

    Tokens gather from all pixels, then every pixel adds what it reads from the tokens to what it found in its window.
    Maps that are not whole windows are zero-padded before the first projection, as the authors' detection code does:
    padding takes part in the windows with the projection's bias, and the tokens do not see it.

    Args:
        num_heads: number of heads; must divide the channels.
        window_size: side of a window in pixels; `None` lets every pixel attend to the whole map, without bias.

    Call arguments:
        pixels: (b, h, w, c).
        tokens: (b, t, c), or `None` to attend locally only.

    Returns:
        `pixels`, or `(pixels, tokens)` where there are tokens.

    Example:
        >>> pixels, tokens = keras.ops.ones((1, 28, 28, 64)), keras.ops.ones((1, 8, 64))
        >>> [x.shape for x in LocalGlobalAttention(2)(pixels, tokens)]
        [(1, 28, 28, 64), (1, 8, 64)]
    """

    def __init__(self, num_heads: int, window_size: int | None = 7, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = window_size

    def build(self, pixels_shape, tokens_shape=None):
        channels = pixels_shape[-1]
        check_heads(channels, self.num_heads)
        rows = (None, None, channels)
        self.qkv = linear(3 * channels, "qkv")
        self.qkv.build(rows)
        if self.window_size is not None:
            self.local = LocalWindowAttention(self.num_heads, self.window_size, name="local")
            self.local.build(rows, rows, rows)
        if tokens_shape is not None:
            self.aggregation = GlobalAggregation(self.num_heads, name="aggregation")
            self.aggregation.build(rows, rows, rows)
            self.broadcast = GlobalBroadcast(self.num_heads, name="broadcast")
            self.broadcast.build(rows, rows)
        self.proj = linear(channels, "proj")
        self.proj.build(rows)

    @attending
    def call(self, pixels, tokens=None):
        padded = pixels if self.window_size is None else pad_to_windows(pixels, self.window_size)
        q, k, v = ops.split(self.qkv(self._cut(padded)), 3, axis=-1)
        if self.window_size is None:
            mixed = multi_head_attention(q, k, v, self.num_heads, kind="global")
        else:
            mixed = self.local(q, k, v)
        if tokens is not None:
            token_query = self.qkv(tokens)[..., : tokens.shape[-1]]
            tokens = self.aggregation(token_query, *(self._sequence(x, padded, pixels) for x in (k, v)))
            received = self.broadcast(self._sequence(q, padded, padded), tokens)
            mixed = mixed + ops.reshape(received, (-1, *ops.shape(mixed)[1:]))
        mixed = self.proj(self._join(mixed, padded, pixels))
        return mixed if tokens is None else (mixed, self.proj(tokens))

    def _cut(self, pixels):
        """(b, h, w, c) -> windows (b * n, p, c)."""
        if self.window_size is None:
            return flatten_map(pixels)
        return window_partition(pixels, self.window_size)

    def _join(self, windows, padded, pixels):
        """Windows (b * n, p, c) of `padded` -> a map as high and wide as `pixels`."""
        height, width = ops.shape(padded)[1:3]
        if self.window_size is None:
            return ops.reshape(windows, (-1, height, width, windows.shape[-1]))
        joined = window_merge(windows, self.window_size, height, width)
        if padded is pixels:
            return joined
        height, width = ops.shape(pixels)[1:3]
        return joined[:, :height, :width]

    def _sequence(self, windows, padded, pixels):
        """Windows (b * n, p, c) of `padded` -> (b, m, c), the pixels of `pixels` in any order."""
        if padded is pixels:
            height, width = ops.shape(pixels)[1:3]
            return ops.reshape(windows, (-1, height * width, windows.shape[-1]))
        return flatten_map(self._join(windows, padded, pixels))

    def compute_output_shape(self, pixels_shape, tokens_shape=None):
        return pixels_shape if tokens_shape is None else (pixels_shape, tokens_shape)

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "window_size": self.window_size}
