"""LVT's convolutional self-attention (CSA): a convolution whose weights depend on the input.

Legend: `b` batch, `h w` map, `a e` rows and columns of windows (3x3 pixels around every second pixel of the map),
`i j` output and input positions of a window, 9 each in row-major order, `c = heads * d` channels.
A set of windows is a list of 9 maps (b, a, e, c), one for every position.
Paper: LVT section 3.1.
"""

import keras
from keras import ops

from keras_effvit.layers.heads import check_heads
from keras_effvit.layers.initializers import conv_fan_out
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.recording import attending, record
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import window_merge, window_partition

POSITIONS = 9


def unfold(x) -> list:
    """Cuts a map into 3x3 windows around every second pixel, with zeros outside the map.

    Spelled without a step of 2 and without a concatenation of nine, which XNNPACK leaves to slower kernels.

    Args:
        x: (b, h, w, c), of any size.

    Returns:
        The windows' positions, 9 maps (b, ceil(h / 2), ceil(w / 2), c).

    Example:
        >>> positions = unfold(keras.ops.ones((1, 56, 56, 64)))
        >>> len(positions), positions[0].shape
        (9, (1, 28, 28, 64))
    """
    _, height, width, channels = ops.shape(x)
    rows, columns = _windows_over(height), _windows_over(width)
    x = ops.pad(x, ((0, 0), (1, 2 * rows + 1 - height), (1, 2 * columns + 1 - width), (0, 0)))
    squares = ops.reshape(window_partition(x, 2), (-1, rows + 1, columns + 1, 4 * channels))
    return [_position(squares, dy, dx) for dy in range(3) for dx in range(3)]


def fold(windows, height: int, width: int):
    """Adds the pixels of every window to where `unfold` took them.

    Where windows overlap their pixels are summed, not averaged; what falls outside the map is dropped.

    Args:
        windows: 9 maps, as large as `unfold` makes them of a map of `height` and `width`.
        height: of the map.
        width: of the map.

    Returns:
        The map, (b, height, width, c).

    Example:
        >>> fold(unfold(keras.ops.ones((1, 56, 56, 64))), 56, 56).shape
        (1, 56, 56, 64)
    """
    _, rows, columns, channels = ops.shape(windows[0])
    # A window's centre is an even pixel; the odd pixel after it is also the first of the next window.
    top, even, bottom = windows[:3], windows[3:6], windows[6:]
    odd = [below + _next(above, 1) for below, above in zip(bottom, top, strict=True)]
    squares = [pixel for left, centre, right in (even, odd) for pixel in (centre, right + _next(left, 2))]
    x = ops.reshape(ops.concatenate(squares, axis=-1), (-1, 4, channels))
    x = window_merge(x, 2, 2 * rows, 2 * columns)
    if isinstance(height, int) and isinstance(width, int) and height % 2 == width % 2 == 0:
        return x
    return x[:, :height, :width]


def _windows_over(side):
    """Windows of 3 pixels, two apart and the first around pixel 0, that cover `side` pixels."""
    return (side + 1) // 2


def _position(squares, dy: int, dx: int):
    """A pixel of every window, from squares of 2x2 pixels: a third row or column is the next square's first."""
    channels = squares.shape[-1] // 4
    first = (2 * (dy % 2) + dx % 2) * channels
    rows, columns = (slice(1, None) if d == 2 else slice(-1) for d in (dy, dx))
    return squares[:, rows, columns, first : first + channels]


def _next(x, axis: int):
    """What the next window along `axis` holds; nothing after the last."""
    after = x[:, 1:] if axis == 1 else x[:, :, 1:]
    return ops.pad(after, [(0, int(i == axis)) for i in range(4)])


def mix_positions(logits, values, heads: int) -> list:
    """Replaces every position of a window by a weighted sum of all.

    Args:
        logits: (b, a, e, heads * 81), ordered head, `i`, `j`.
        values: 9 maps, (b, a, e, c).
        heads: number of heads.

    Returns:
        The sums, 9 maps (b, a, e, c).
    """
    _, rows, columns, channels = ops.shape(values[0])
    weights = ops.softmax(ops.reshape(logits, (-1, heads, POSITIONS, POSITIONS)), axis=-1)
    record("convolution", weights)
    values = [ops.reshape(value, (-1, heads, 1, channels // heads)) for value in values]
    values = ops.concatenate([ops.concatenate(values[j : j + 3], axis=2) for j in (0, 3, 6)], axis=2)
    mixed = ops.matmul(weights, values)
    return [ops.reshape(mixed[:, :, i : i + 1], (-1, rows, columns, channels)) for i in range(POSITIONS)]


@serializable
class UnfoldedConv2D(keras.layers.Layer):
    """A 3x3 convolution of stride 2, without bias, that stops before it sums over its 9 positions.

    The kernel is kept as that of a 1x1 convolution in 9 groups, (1, 1, c, 9 * c).

    Example:
        >>> positions = UnfoldedConv2D()(keras.ops.ones((1, 56, 56, 64)))
        >>> len(positions), positions[0].shape
        (9, (1, 28, 28, 64))
    """

    def build(self, input_shape):
        channels = input_shape[-1]
        shape = (1, 1, channels, POSITIONS * channels)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=conv_fan_out())

    def call(self, inputs):
        matrices = ops.split(self.kernel[0, 0], POSITIONS, axis=-1)
        return [ops.matmul(pixels, matrix) for pixels, matrix in zip(unfold(inputs), matrices, strict=True)]

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        rows, columns = (None if side is None else _windows_over(side) for side in (height, width))
        return [(batch, rows, columns, channels)] * POSITIONS


@serializable
class ConvolutionalSelfAttention(Composite):
    """Self-attention inside overlapping 3x3 windows, whose weights and values are both convolutions (LVT's CSA).

    The weights of a window come from a linear layer on the mean of 2x2 pixels; the values, as in a convolution, from a
    matrix of their own for each of its 9 positions. The attended windows are added up on the map.

    Args:
        num_heads: number of heads; must divide the channels.

    Example:
        >>> ConvolutionalSelfAttention(2)(keras.ops.ones((1, 56, 56, 64))).shape
        (1, 56, 56, 64)
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        channels = input_shape[-1]
        check_heads(channels, self.num_heads)
        self.logits = linear(self.num_heads * POSITIONS**2, "logits")
        self.logits.build((None, None, None, channels))
        self.values = UnfoldedConv2D(name="values")
        self.values.build(input_shape)
        self.proj = linear(channels, "proj")
        self.proj.build(input_shape)

    @attending
    def call(self, inputs):
        _, height, width, channels = ops.shape(inputs)
        # `same` leaves the padding out of the mean: at an odd border only pixels of the map are averaged.
        means = ops.average_pool(inputs, 2, 2, padding="same", data_format="channels_last")
        logits = self.logits(means) * (channels // self.num_heads) ** -0.5
        windows = mix_positions(logits, self.values(inputs), self.num_heads)
        return self.proj(fold(windows, height, width))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
