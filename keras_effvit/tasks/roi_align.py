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
#: The most samples of a bin on an axis where their number follows the box's size. A square box of its level never has
#: more in patches of 7; of one that is longer, or larger than the coarsest map is for, the samples are further apart.
MOST_SAMPLES = 4


def levels_of(boxes, levels: int):
    """The level of a pyramid that a box belongs to by its size: (..., 4) -> (...) int32, from 0."""
    side = ops.sqrt(area(boxes))
    # floor(log2(side / 224) + 2), written with the smallest side of level 0.
    smallest = NOMINAL_SIDE / 2**NOMINAL_LEVEL
    level = ops.floor(ops.log(side / smallest + LEVEL_EPSILON) / np.log(2.0))
    return ops.cast(ops.clip(level, 0, levels - 1), "int32")


def _samples(start, length, limit, size: int, samples: int | None):
    """Where an axis is sampled: for every sample of a bin, (pixel, weight) twice, each (r, s).

    Args:
        start: (r, 1), of the boxes on the map.
        length: (r, 1).
        limit: (r, 1), pixels of the map.
        size: bins.
        samples: of a bin; `None` for one every pixel, and no more than `MOST_SAMPLES`.
    """
    width = length / size
    bins = ops.arange(size, dtype="float32")[None]
    count = ops.clip(ops.ceil(width), 1.0, MOST_SAMPLES) if samples is None else ops.ones_like(width) * samples
    pairs = []
    for sample in range(samples or MOST_SAMPLES):
        place = start + width * (bins + (sample + 0.5) / count)
        # A sample more than a pixel outside of the map is 0; the pixels at its edges reach one pixel further.
        weight = ops.cast((sample < count) & (place >= -1.0) & (place <= limit), "float32") / count
        place = ops.clip(place, 0.0, limit - 1.0)
        low = ops.floor(place)
        share = place - low
        pairs.append((ops.cast(low, "int32"), weight * (1.0 - share)))
        pairs.append((ops.cast(ops.minimum(low + 1.0, limit - 1.0), "int32"), weight * share))
    return pairs


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
    down = _samples(y0 - 0.5, y1 - y0, high, size, samples)
    across = _samples(x0 - 0.5, x1 - x0, wide, size, samples)
    return _gathered(ops.reshape(table, (-1, channels)), first, ops.cast(wide, "int32"), down, across)


def _of_level(values: Sequence[float] | np.ndarray, level, dtype: str):
    """The value of every box's level: (r, 1)."""
    return ops.take(ops.convert_to_tensor(np.asarray(values, dtype)), level)


def _gathered(table, first, wide, down, across):
    """The sum of weighted pixels, (r, s, s, c): one pixel of every bin at a time, so that nothing is larger."""
    size, channels = down[0][0].shape[1], table.shape[-1]
    patches = 0.0
    for row, row_weight in down:
        for column, column_weight in across:
            index = (first + row * wide)[:, :, None] + column[:, None, :]  # (r, s, s)
            weight = row_weight[:, :, None] * column_weight[:, None, :]
            pixels = ops.take(table, ops.reshape(index, (-1,)), axis=0) * ops.reshape(weight, (-1, 1))
            patches = patches + pixels
    return ops.reshape(patches, (-1, size, size, channels))
