"""What the heads of a detector give: a dict of maps, `P3_class`, `P3_box` and so on, and the geometry its keys tell.

A level is named by its stride, `P3` is 2^3. Kept apart, every map has a range of its own in an int8 file. A file gives
the maps by the same names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from keras import ops

from keras_effvit.tasks.anchors import map_sizes

_KEY = re.compile(r"P(\d+)_(\w+)")


def levels(names: Iterable[str]) -> list[str]:
    """The levels that names of maps speak of, from the finest.

    Args:
        names: of the maps.

    Raises:
        ValueError: for a name of another kind.

    Example:
        >>> levels(["P4_box", "P3_box", "P3_class"])
        ['P3', 'P4']
    """
    numbers = set()
    for name in names:
        key = _KEY.fullmatch(name)
        if key is None:
            raise ValueError(f"Expected maps with names such as 'P3_class'. Received: {name!r}")
        numbers.add(int(key[1]))
    return [f"P{number}" for number in sorted(numbers)]


def strides_of(names: Iterable[str]) -> tuple[int, ...]:
    """Pixels of the image for every cell, level by level.

    Args:
        names: of levels, or of maps.
    """
    return tuple(2 ** int(name[1:].partition("_")[0]) for name in names)


def geometry(outputs: Mapping[str, Any], height: int, width: int) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Strides and sizes of a detector's maps.

    Args:
        outputs: of its heads.
        height: of the image.
        width: of the image.

    Raises:
        ValueError: if the maps are of an image of another size.
    """
    names = levels(outputs)
    strides = strides_of(names)
    sizes = map_sizes(height, width, strides)
    received = [tuple(outputs[f"{name}_box"].shape[1:3]) for name in names]
    if received != sizes:
        raise ValueError(f"Expected maps of {sizes} for an image of {height}x{width}. Received: {received}")
    return strides, sizes


def stacked(outputs: Mapping[str, Any], part: str, width: int):
    """One part of all levels, (b, n, width): rows, columns, then what a cell has.

    Args:
        outputs: maps (b, rows, columns, cell * width).
        part: such as `"class"`.
        width: numbers of an anchor or point.
    """
    return ops.concatenate(
        [_flat(outputs[f"{name}_{part}"], width) for name in levels(outputs)],
        axis=1,
    )


def _flat(x, width: int):
    rows, columns, channels = x.shape[1:]
    # The batch is what is open; where a size is fixed it must stay so in the graph.
    return ops.reshape(x, (-1, rows * columns * channels // width, width))
