"""Cutting a map into windows and putting it together again, never above rank 4.

Legend: `b` batch, `h w` map, `gh gw` window grid, `s` window side, `n = gh * gw` windows, `c` channels.
The usual spelling goes through rank 6, which costs five partitions instead of one and twice the time on a phone.
"""

from keras import ops


def window_grid(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of windows that cover a map, the last ones padded where needed."""
    return -(-height // side), -(-width // side)


def flatten_map(x):
    """(b, h, w, c) -> (b, h * w, c), row by row."""
    _, height, width, channels = ops.shape(x)
    return ops.reshape(x, (-1, height * width, channels))


def pad_to_windows(x, side: int):
    """Appends zero rows and columns until both sides of the map are multiples of `side`."""
    height, width = ops.shape(x)[1:3]
    below, right = -height % side, -width % side
    if isinstance(below, int) and isinstance(right, int) and below == 0 and right == 0:
        return x
    return ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))


def window_partition(x, side: int):
    """(b, h, w, c) -> (b * n, side * side, c), windows and their pixels in row-major order.

    Args:
        x: a map whose height and width are multiples of `side`.
        side: the window's side in pixels.
    """
    _, _, width, channels = ops.shape(x)
    rows = ops.reshape(x, (-1, side, width // side, side * channels))
    return ops.reshape(ops.transpose(rows, (0, 2, 1, 3)), (-1, side * side, channels))


def window_merge(windows, side: int, height: int, width: int):
    """The inverse of `window_partition`: (b * n, side * side, c) -> (b, height, width, c)."""
    channels = ops.shape(windows)[-1]
    rows = ops.reshape(windows, (-1, width // side, side, side * channels))
    return ops.reshape(ops.transpose(rows, (0, 2, 1, 3)), (-1, height, width, channels))
