"""Maps made larger or smaller: nearest, bilinear and bicubic, and means over a grid of cells.

Legend: `b` batch, `h w` map, `H W` the map that is wanted, `c` channels.
All take pixels for squares whose centres are aligned. No operator of a phone has the authors' bicubic kernel, nor cells
that overlap: the one is convolutions with constant kernels, the other two products with constant matrices.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_effvit.layers.conv import strided_shape
from keras_effvit.layers.registration import serializable

#: The bicubic kernel's free parameter. TensorFlow has -0.5, which moves EfficientViT's segmentation by 0.016.
BICUBIC_A = -0.75


def has_size(x, height, width) -> bool:
    """Whether a map is known to be of a size already; what changes nothing is an operator on a phone all the same."""
    known = [side for side in (*ops.shape(x)[1:3], height, width) if isinstance(side, int)]
    return len(known) == 4 and tuple(known[:2]) == tuple(known[2:])


def crop_like(x, like):
    """The upper left part of a map that has another's size."""
    height, width = ops.shape(like)[1:3]
    return x if has_size(x, height, width) else x[:, :height, :width]


def double_nearest(x):
    """(b, h, w, c) -> (b, 2 * h, 2 * w, c), every pixel four times.

    Spelled as concatenations: a nearest resize is no operator of XNNPACK.
    """
    _, height, width, channels = ops.shape(x)
    rows = ops.reshape(ops.concatenate([x, x], axis=-1), (-1, height, 2 * width, channels))
    return ops.reshape(ops.concatenate([rows, rows], axis=2), (-1, 2 * height, 2 * width, channels))


def subsample(x):
    """(b, h, w, c) -> (b, ceil(h / 2), ceil(w / 2), c): the first of every two pixels of the first of every two rows.

    Spelled without a step of 2, and without a pooling of single pixels, which XNNPACK has not.
    """
    _, height, width, channels = ops.shape(x)
    rows, columns = -(-height // 2), -(-width // 2)
    if not has_size(x, 2 * rows, 2 * columns):
        x = ops.pad(x, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - width), (0, 0)))
    x = ops.reshape(x, (-1, 2, 2 * columns * channels))[:, :1]
    x = ops.reshape(x, (-1, 2, channels))[:, :1]
    return ops.reshape(x, (-1, rows, columns, channels))


def resize_bilinear(x, height, width):
    """(b, h, w, c) -> (b, height, width, c), bilinear, without smoothing where it shrinks."""
    if has_size(x, height, width):
        return x
    if not (isinstance(height, int) and isinstance(width, int)):
        return _interpolate(_interpolate(x, height, axis=1), width, axis=2)
    resized = ops.image.resize(x, (height, width), interpolation="bilinear", data_format="channels_last")
    return ops.cast(resized, x.dtype)


def _interpolate(x, size, axis: int):
    """One axis of a map to a size that is a tensor, which Keras' own resize does not take."""
    old = ops.shape(x)[axis]
    places = (ops.arange(size, dtype="float32") + 0.5) * (ops.cast(old, "float32") / ops.cast(size, "float32")) - 0.5
    first = ops.floor(places)
    before, after = (ops.take(x, ops.clip(ops.cast(first, "int32") + k, 0, old - 1), axis=axis) for k in (0, 1))
    share = ops.reshape(ops.cast(places - first, x.dtype), (-1, 1, 1) if axis == 1 else (-1, 1))
    return before * (1 - share) + after * share


def bicubic_taps(factor: int) -> tuple[tuple[int, np.ndarray], ...]:
    """What the new pixels of a row that becomes `factor` times as long are made of, in the order of their places.

    Returns:
        For every one of the `factor` new pixels inside of an old one: how many pixels before that one its sum starts,
        and the weights (4,) of the four pixels from there on.
    """
    places = (np.arange(factor) + 0.5) / factor - 0.5
    first = np.floor(places)
    weights = _cubic(np.abs(places[:, None] - first[:, None] - np.arange(-1, 3)))
    return tuple((1 - int(before), row.astype("float32")) for before, row in zip(first, weights, strict=True))


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel (Keys 1981) at distances from 0 to 2."""
    a, d = BICUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, far)


def resize_bicubic(x, factor: int):
    """(b, h, w, c) -> (b, factor * h, factor * w, c), bicubic; pixels outside of the map are those at its border.

    Every new pixel of a period is a depthwise convolution of its own, first along the rows, where the map is small. Put
    side by side they are the longer rows already: nothing is transposed, and pixels cost the same on large maps.
    """
    _, height, width, channels = ops.shape(x)
    x = ops.reshape(_joined(_periods(x, factor, axis=2), axis=3), (-1, height, factor * width, channels))
    return ops.reshape(_joined(_periods(x, factor, axis=1), axis=2), (-1, factor * height, factor * width, channels))


def _periods(x, factor: int, axis: int) -> list:
    """The new pixels of every place of the period, each a map of the old one's size."""
    channels, side = x.shape[-1], [1, 1]
    side[axis - 1] = 4
    first, last = (x[:, :1], x[:, -1:]) if axis == 1 else (x[:, :, :1], x[:, :, -1:])
    padded = {
        2: ops.concatenate([first, first, x, last], axis=axis),
        1: ops.concatenate([first, x, last, last], axis=axis),
    }
    kernels = [(before, np.tile(taps[:, None], channels)) for before, taps in bicubic_taps(factor)]
    return [
        ops.depthwise_conv(
            padded[before],
            ops.cast(ops.reshape(kernel, (*side, channels, 1)), x.dtype),
            padding="valid",
            data_format="channels_last",
        )
        for before, kernel in kernels
    ]


def _joined(maps: list, axis: int):
    """Maps side by side, four at a time: a phone's concatenation takes no more."""
    while len(maps) > 1:
        maps = [ops.concatenate(maps[i : i + 4], axis=axis) for i in range(0, len(maps), 4)]
    return maps[0]


def cells_matrix(size, cells: int) -> Any:
    """The matrix (cells, size) that takes the means of `cells` runs of pixels that cover a row, overlapping if need be.

    Cell i holds the pixels from floor(i * size / cells) to before ceil((i + 1) * size / cells).

    Args:
        size: pixels of the row, a number or a tensor.
        cells: how many cells.
    """
    xp: Any = np if isinstance(size, int) else ops
    pixels, rows = xp.arange(size), []
    for cell in range(cells):
        start, stop = cell * size // cells, -(-(cell + 1) * size // cells)
        inside = xp.where((pixels >= start) & (pixels < stop), 1.0, 0.0)
        rows.append(inside / xp.sum(inside))
    matrix = xp.stack(rows)
    return matrix.astype("float32") if xp is np else matrix


def resample(x, rows, columns):
    """Both sides of a map through matrices: (b, h, w, c), (H, h), (W, w) -> (b, H, W, c).

    The pixels that are summed stand last, so that both products are linear layers on a phone.
    """
    rows, columns = (ops.cast(ops.transpose(ops.convert_to_tensor(m)), x.dtype) for m in (rows, columns))
    x = ops.matmul(ops.transpose(x, (0, 1, 3, 2)), columns)
    x = ops.matmul(ops.transpose(x, (0, 3, 2, 1)), rows)
    return ops.transpose(x, (0, 3, 1, 2))


def scaled_shape(shape, factor: int):
    """The shape of a map `factor` times as large."""
    batch, height, width, channels = shape
    height, width = (None if side is None else factor * side for side in (height, width))
    return batch, height, width, channels


@serializable
class NearestDoubling(keras.layers.Layer):
    """Doubles a map by repeating its pixels, and crops it to another's size.

    Call arguments:
        inputs: the map to double, (b, h, w, c).
        like: a map of at most its double size, and more than that less one, (b, H, W, any).

    Raises:
        ValueError: when built on maps of which one is not half the other, rounded up.

    Example:
        >>> NearestDoubling()(keras.ops.ones((1, 7, 8, 4)), keras.ops.ones((1, 13, 16, 2))).shape
        (1, 13, 16, 4)
    """

    def build(self, inputs_shape, like_shape):
        for side, wanted in zip(inputs_shape[1:3], like_shape[1:3], strict=True):
            if None not in (side, wanted) and side != -(-wanted // 2):
                raise ValueError(
                    "Expected a map half as large as the next finer one, rounded up. "
                    f"Received: maps of {tuple(inputs_shape)} and {tuple(like_shape)}"
                )

    def call(self, inputs, like):
        return crop_like(double_nearest(inputs), like)

    def compute_output_shape(self, inputs_shape, like_shape):
        return (*like_shape[:3], inputs_shape[-1])


@serializable
class Subsampling(keras.layers.Layer):
    """Keeps every second pixel of every second row: a pooling of single pixels with stride 2.

    Example:
        >>> Subsampling()(keras.ops.ones((1, 7, 8, 4))).shape
        (1, 4, 4, 4)
    """

    def call(self, inputs):
        return subsample(inputs)

    def compute_output_shape(self, input_shape):
        return strided_shape(input_shape, 2, None)


@serializable
class BilinearUpsampling(keras.layers.Layer):
    """Makes a map larger by a whole factor, bilinear.

    Args:
        factor: how many times as large.

    Example:
        >>> BilinearUpsampling(2)(keras.ops.ones((1, 7, 8, 4))).shape
        (1, 14, 16, 4)
    """

    def __init__(self, factor: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        height, width = ops.shape(inputs)[1:3]
        return resize_bilinear(inputs, self.factor * height, self.factor * width)

    def compute_output_shape(self, input_shape):
        return scaled_shape(input_shape, self.factor)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@serializable
class ResizeLike(keras.layers.Layer):
    """Resizes a map to another's size, bilinear.

    Call arguments:
        inputs: the map to resize, (b, h, w, c).
        like: the map whose size it gets, (b, H, W, any).

    Example:
        >>> ResizeLike()(keras.ops.ones((1, 7, 8, 4)), keras.ops.ones((1, 25, 30, 2))).shape
        (1, 25, 30, 4)
    """

    def call(self, inputs, like):
        return resize_bilinear(inputs, *ops.shape(like)[1:3])

    def compute_output_shape(self, inputs_shape, like_shape):
        return (*like_shape[:3], inputs_shape[-1])


@serializable
class BicubicUpsampling(keras.layers.Layer):
    """Makes a map larger by a whole factor, bicubic with the kernel of EfficientViT's authors, and crops it to another.

    Args:
        factor: how many times as large.

    Call arguments:
        inputs: the map to make larger, (b, h, w, c).
        like: a map that is no larger than what comes out, (b, H, W, any): the result is cropped to its size.

    Example:
        >>> BicubicUpsampling(4)(keras.ops.ones((1, 7, 8, 4)), keras.ops.ones((1, 25, 32, 2))).shape
        (1, 25, 32, 4)
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs, like):
        return crop_like(resize_bicubic(inputs, self.factor), like)

    def compute_output_shape(self, inputs_shape, like_shape):
        return (*like_shape[:3], inputs_shape[-1])

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@serializable
class CellPooling(keras.layers.Layer):
    """Means over a square grid of cells that cover a map of any size.

    Args:
        cells: along either side.

    Example:
        >>> CellPooling(3)(keras.ops.ones((1, 7, 8, 4))).shape
        (1, 3, 3, 4)
    """

    def __init__(self, cells: int, **kwargs):
        super().__init__(**kwargs)
        self.cells = cells

    def call(self, inputs):
        if self.cells == 1:
            return ops.mean(inputs, axis=(1, 2), keepdims=True)
        height, width = ops.shape(inputs)[1:3]
        return resample(inputs, cells_matrix(height, self.cells), cells_matrix(width, self.cells))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.cells, self.cells, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "cells": self.cells}
