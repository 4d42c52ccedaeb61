"""Anchors: the boxes and the points that a detector's maps speak of, fixed by the sizes of the maps.

They are constants of a graph, so all of this is numpy. Order: rows, columns, then what a cell has, which is the order
of a head's channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AnchorSpec:
    """What boxes a cell has.

    Attributes:
        scales: sides over the stride, of a square box.
        ratios: heights over widths; every ratio has all scales before the next begins.
    """

    scales: tuple[float, ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    @property
    def count(self) -> int:
        """Boxes of a cell."""
        return len(self.scales) * len(self.ratios)

    def sides(self, stride: int) -> np.ndarray:
        """Widths and heights of a cell's boxes (count, 2): all of a scale have the same area."""
        return np.array(
            [
                (stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio))
                for ratio in self.ratios
                for scale in self.scales
            ]
        )


#: RetinaNet (Lin et al. 2017): three scales an octave.
RETINANET_ANCHORS = AnchorSpec(scales=tuple(4 * 2 ** (third / 3) for third in range(3)))
#: Region proposals of a pyramid: one scale on every level.
RPN_ANCHORS = AnchorSpec(scales=(8.0,))


def map_sizes(height: int, width: int, strides: Sequence[int]) -> list[tuple[int, int]]:
    """Rows and columns of the maps of an image; every halving rounds up.

    Args:
        height: of the image.
        width: of the image.
        strides: of the maps.
    """
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def grid(size: tuple[int, int]) -> np.ndarray:
    """Column and row of every cell of a map, (rows * columns, 2)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([columns.ravel(), rows.ravel()], axis=-1)


def anchors(spec: AnchorSpec, strides: Sequence[int], sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """All boxes of all maps, whose middles are at whole multiples of the stride.

    Args:
        spec: of a cell's boxes.
        strides: of the maps.
        sizes: of `map_sizes`.

    Returns:
        (n, 4) float32, map after map.

    Example:
        >>> anchors(RPN_ANCHORS, (32,), [(2, 2)]).shape
        (12, 4)
    """
    maps = []
    for stride, size in zip(strides, sizes, strict=True):
        half = spec.sides(stride)[None] / 2
        centres = grid(size)[:, None] * stride
        maps.append(np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4))
    return np.concatenate(maps).astype(np.float32)


def cells(strides: Sequence[int], sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """The upper left corner of every cell of all maps, and its stride.

    Args:
        strides: of the maps.
        sizes: of `map_sizes`.

    Returns:
        (n, 3) float32: x, y, stride.

    Example:
        >>> cells((16,), [(1, 2)])
        [[0, 0, 16], [16, 0, 16]]
    """
    maps = []
    for stride, size in zip(strides, sizes, strict=True):
        corner = grid(size) * stride
        maps.append(np.concatenate([corner, np.full((len(corner), 1), stride)], axis=-1))
    return np.concatenate(maps).astype(np.float32)
