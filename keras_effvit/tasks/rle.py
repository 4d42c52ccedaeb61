"""Masks as COCO writes them: run lengths, the same as text, and polygons.

A mask is read column by column. Its run lengths are those of pixels outside and inside in turn, outside first. As text,
every length but the first three is the difference to that two before; it is cut into groups of five bits, the lowest
first, and every group becomes a character from '0' on, whose sixth bit says that another one follows. The fifth bit of
the last group is the sign's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Where the characters begin; bits of a character's number.
FIRST, GROUP, MORE, SIGN = 48, 0x1F, 0x20, 0x10
#: Of a polygon's corners, in pixels: what is farther away is no place in an image.
FARTHEST = 1e6


def lengths_of(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask.

    Args:
        mask: (height, width), bool.

    Example:
        >>> lengths_of(np.array([[False, True], [False, True]]))
        [2, 2]
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [not mask.size or not mask.ravel(order="F")[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], edges])).tolist()


def mask_of(lengths: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The mask of run lengths, bool.

    Args:
        lengths: whole numbers from 0 on that add up to the pixels there are.
        size: height and width.

    Raises:
        ValueError: if they are not.

    Example:
        >>> mask_of([2, 2], (2, 2))
        array([[False,  True],
               [False,  True]])
    """
    height, width = size
    if not all(isinstance(length, int) and not isinstance(length, bool) and length >= 0 for length in lengths):
        raise ValueError(f"Expected run lengths from 0 on. Received: {_short(lengths)}")
    if sum(lengths) != height * width:
        raise ValueError(f"Expected run lengths of {height} x {width} pixels. Received: {sum(lengths)} in all")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, np.array(lengths, np.int64)).reshape(size, order="F")


def lengths_in(text: str) -> list[int]:
    """Run lengths from COCO's text.

    Args:
        text: the `counts` of a compressed mask.

    Raises:
        ValueError: if it is none.

    Example:
        >>> lengths_in("52203")
        [5, 2, 2, 2, 5]
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - FIRST
        if not 0 <= group < 2 * MORE or shift > 60:
            raise ValueError(f"Expected run lengths as text. Received: {_short(text)}")
        value |= (group & GROUP) << shift
        shift += 5
        if not group & MORE:
            value -= (1 << shift) if group & SIGN else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError(f"Expected run lengths as text. Received: {_short(text)}, which ends within one")
    return lengths


def text_of(lengths: Sequence[int]) -> str:
    """COCO's text for run lengths.

    Args:
        lengths: of runs outside and inside in turn.

    Example:
        >>> text_of([5, 2, 2, 2, 5])
        '52203'
    """
    characters = []
    for number, length in enumerate(lengths):
        value = length - (lengths[number - 2] if number > 2 else 0)
        more = True
        while more:
            group, value = value & GROUP, value >> 5
            more = value != (-1 if group & SIGN else 0)
            characters.append(chr(FIRST + group + (MORE if more else 0)))
    return "".join(characters)


def mask_in(code: Any, size: tuple[int, int]) -> np.ndarray:
    """The mask of a COCO annotation's `segmentation`, bool, (height, width).

    Args:
        code: a list of polygons, or a dict of "size" and "counts", these being run lengths or their text.
        size: height and width of the image.

    Raises:
        ValueError: if it is neither, or of an image of another size.

    Example:
        >>> mask_in([[1, 1, 3, 1, 3, 3, 1, 3]], (4, 4)).sum()
        4
    """
    if isinstance(code, list):
        return filled([_corners(polygon) for polygon in code], size)
    if not isinstance(code, dict) or "counts" not in code:
        raise ValueError(f"Expected polygons, or run lengths with a size. Received: {_short(code)}")
    if code.get("size") != list(size):
        raise ValueError(f"Expected a mask of {size[0]} x {size[1]}. Received: one of size {_short(code.get('size'))}")
    counts = code["counts"]
    if not isinstance(counts, (str, list)):
        raise ValueError(f"Expected run lengths, or their text. Received: {_short(counts)}")
    return mask_of(lengths_in(counts) if isinstance(counts, str) else counts, size)


def filled(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Which pixels have their centre in one of the polygons, bool, (height, width).

    Args:
        polygons: corners (x, y), (corners, 2) each; where one crosses itself, inside is what has an odd number of edges
            on its left.
        size: height and width; what lies outside is cut off.

    Example:
        >>> filled([np.array([[0, 0], [2, 0], [2, 2], [0, 2]])], (3, 3)).sum()
        4
    """
    mask = np.zeros(size, bool)
    for corners in polygons:
        mask |= _filled(np.asarray(corners, np.float64), size)
    return mask


def _filled(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One polygon: every edge turns over all pixels on its right, row by row."""
    height, width = size
    turned = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = sorted((y0, y1))
        # The rows whose centre lies between the edge's ends, the upper one included: no corner counts twice.
        rows = np.arange(*np.ceil(np.clip([low, high], 0, height) - 0.5).astype(int))
        crossings = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0)) if len(rows) else rows
        turned[rows, np.ceil(np.clip(crossings, 0, width) - 0.5).astype(int)] += 1
    return np.cumsum(turned[:, :width], axis=1) % 2 == 1


def _corners(polygon: Any) -> np.ndarray:
    try:
        flat = np.array(polygon, np.float64)
    except (TypeError, ValueError):
        flat = np.zeros(0)
    if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2 or not (np.abs(flat) <= FARTHEST).all():
        raise ValueError(f"Expected a polygon x, y, x, y, ... of three corners or more. Received: {_short(polygon)}")
    return flat.reshape(-1, 2)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
