"""RoIAlign: what a pyramid of maps holds inside boxes, as patches of one size (He et al. 2017).

Legend: `b` images, `r` boxes of an image, `s` side of a patch, `c` channels. A patch's bin is the mean of samples that
are spread evenly over its part of the box, each interpolated between four pixels of the map.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_effvit.tasks.boxes import area

#: A box with sides of so many pixels belongs to the third level of a pyramid, P4, as an image of ImageNet would.
NOMINAL_SIDE, NOMINAL_LEVEL = 224.0, 2
#: Keeps the logarithm of an empty box finite, and a box of the nominal size on its own level.
LEVEL_EPSILON = 1e-6
#: A bin has a sample for every pixel of the map that it covers, up to boxes of so many pixels on a side: those of the
#: largest boxes of a level that are four times as long as wide. Of longer ones the samples are further apart.
MOST_PIXELS = 56


def levels_of(boxes, levels: int):
    """The level of a pyramid that a box belongs to by its size: (..., 4) -> (...) int32, from 0."""
    side = ops.sqrt(area(boxes))
    # floor(log2(side / 224) + 2), written with the smallest side of level 0.
    smallest = NOMINAL_SIDE / 2**NOMINAL_LEVEL
    level = ops.floor(ops.log(side / smallest + LEVEL_EPSILON) / np.log(2.0))
    return ops.cast(ops.clip(level, 0, levels - 1), "int32")


def _places(start, length, count, size: int, samples: int):
    """Where the bins of an axis are sampled, and how much a sample counts: each (r, s, samples).

    Args:
        start: (r, 1), of the boxes on the map.
        length: (r, 1).
        count: (r, 1), of a bin's samples; those beyond it count nothing.
        size: bins.
        samples: the most that a bin has.
    """
    bins = ops.arange(size, dtype="float32")[None, :, None]
    sample = ops.arange(samples, dtype="float32")[None, None]
    start, length, count = (x[:, :, None] for x in (start, length, count))
    places = start + length / size * (bins + (sample + 0.5) / count)
    return places, ops.broadcast_to(ops.cast(sample < count, "float32") / count, ops.shape(places))


def _on_the_map(places, weights, limit):
    """Places moved onto the map; what is more than a pixel outside counts nothing, the edge reaches a pixel further."""
    limit = limit[:, :, None]
    inside = (places >= -1.0) & (places <= limit)
    return ops.clip(places, 0.0, limit - 1.0), ops.where(inside, weights, 0.0)


def _pairs(start, length, limit, size: int, samples: int):
    """A fixed number of samples: the two pixels around each and their weights, (r, s, 2 * samples)."""
    count = ops.ones_like(length) * samples
    places, weights = _on_the_map(*_places(start, length, count, size, samples), limit)
    low = ops.floor(places)
    share = places - low
    pixels = ops.concatenate([low, ops.minimum(low + 1.0, limit[:, :, None] - 1.0)], axis=-1)
    return pixels, ops.concatenate([weights * (1.0 - share), weights * share], axis=-1)


def _runs(start, length, limit, size: int):
    """A sample for every pixel that a bin covers: the pixels and their weights, (r, s, pixels).

    Samples are no more than a pixel apart, so that they lie between pixels without a gap, one more than samples; each
    is looked up once, whatever the samples it belongs to.
    """
    most = max(MOST_PIXELS // size, 1)
    width = length / size
    places, weights = _places(start, length, ops.clip(ops.ceil(width), 1.0, most), size, most)
    places, weights = _on_the_map(places, weights, limit)
    pixels = ops.floor(places[:, :, :1]) + ops.arange(most + 1, dtype="float32")
    shares = ops.relu(1.0 - ops.abs(places[:, :, None] - pixels[:, :, :, None]))
    of_pixels = ops.sum(shares * weights[:, :, None], axis=-1)
    # Of a bin with more pixels than samples, those next to the samples.
    longer, none = (width > most)[:, :, None], ops.zeros_like(places[:, :, :1])
    pixels = ops.where(longer, ops.concatenate([ops.round(places), none], axis=-1), pixels)
    of_pixels = ops.where(longer, ops.concatenate([weights, none], axis=-1), of_pixels)
    return ops.minimum(pixels, limit[:, :, None] - 1.0), of_pixels


def roi_align(
    maps: Sequence, boxes, strides: Sequence[int], size: int, *, samples: int | None = None, images: Any = None
):
    """Patches of every box from the level of a pyramid that fits its size.

    A box is moved by half a pixel, so that its corner is where the pixel's is ("aligned").

    Args:
        maps: a level each, (b, rows, columns, c), from the finest.
        boxes: (b, r, 4) in pixels of the image.
        strides: of the maps.
        size: of the patches.
        samples: of a bin on each axis; by default one for every pixel of the map it covers.
        images: (b, r) int32, of which of the maps' images a box is, where that is not its own.

    Returns:
        (b * r, size, size, c)

    Example:
        >>> roi_align([numpy.ones((1, 16, 16, 8))], numpy.array([[[0.0, 0, 32, 32]]]), (4,), 7).shape
        (1, 7, 7, 8)
    """
    channels = maps[0].shape[-1]
    if images is None:
        number, count = ops.shape(boxes)[:2]
        images = ops.repeat(ops.arange(number, dtype="int32")[:, None], count, axis=1)
    level = ops.reshape(levels_of(boxes, len(maps)), (-1, 1))  # (b * r, 1)
    rows, columns = ([m.shape[axis] for m in maps] for axis in (1, 2))
    sizes = [r * c for r, c in zip(rows, columns, strict=True)]
    table = ops.concatenate([ops.reshape(m, (-1, n, channels)) for m, n in zip(maps, sizes, strict=True)], axis=1)
    first = ops.reshape(images, (-1, 1)) * sum(sizes) + _of_level(np.cumsum([0, *sizes[:-1]]), level, "int32")
    scale = 1.0 / _of_level(strides, level, "float32")
    x0, y0, x1, y1 = (ops.reshape(boxes[:, :, i], (-1, 1)) * scale for i in range(4))
    high, wide = (_of_level(sides, level, "float32") for sides in (rows, columns))
    down, across = (
        _pairs(start - 0.5, length, limit, size, samples) if samples else _runs(start - 0.5, length, limit, size)
        for start, length, limit in ((y0, y1 - y0, high), (x0, x1 - x0, wide))
    )
    return _gathered(ops.reshape(table, (-1, channels)), first, ops.cast(wide, "int32"), down, across)


def _of_level(values: Sequence[float] | np.ndarray, level, dtype: str):
    """The value of every box's level: (r, 1)."""
    return ops.take(ops.convert_to_tensor(np.asarray(values, dtype)), level)


def _gathered(table, first, wide, down, across):
    """The sum of weighted pixels, (r, s, s, c): one pixel of every bin at a time, so that nothing is larger."""
    (rows, row_weights), (columns, column_weights) = ((ops.cast(p, "int32"), w) for p, w in (down, across))
    size, channels = rows.shape[1], table.shape[-1]
    patches = 0.0
    for i in range(rows.shape[2]):
        for j in range(columns.shape[2]):
            index = (first + rows[:, :, i] * wide)[:, :, None] + columns[:, None, :, j]  # (r, s, s)
            weight = row_weights[:, :, i, None] * column_weights[:, None, :, j]
            pixels = ops.take(table, ops.reshape(index, (-1,)), axis=0) * ops.reshape(weight, (-1, 1))
            patches = patches + pixels
    return ops.reshape(patches, (-1, size, size, channels))
