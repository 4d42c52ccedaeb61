"""Panoptic maps as COCO colours them: a pixel's segment is R + 256 G + 65536 B, and black is none."""

import numpy as np

#: What a level of green and one of blue count; the largest number that a colour can say.
GREEN, BLUE, LAST = 1 << 8, 1 << 16, (1 << 24) - 1


def numbers_in(colours: np.ndarray) -> np.ndarray:
    """The segments of a map's pixels, int32, (height, width).

    Args:
        colours: uint8, (height, width, 3).

    Raises:
        ValueError: if they are no such colours.

    Example:
        >>> numbers_in(np.array([[[7, 1, 0]]], np.uint8))
        array([[263]], dtype=int32)
    """
    if colours.ndim != 3 or colours.shape[2] != 3 or colours.dtype != np.uint8:
        raise ValueError(f"Expected three channels of eight bits. Received: {colours.shape}, {colours.dtype}")
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red + GREEN * green + BLUE * blue


def colours_of(numbers: np.ndarray) -> np.ndarray:
    """The colours of a map, uint8, (height, width, 3).

    Args:
        numbers: of the pixels' segments, (height, width).

    Raises:
        ValueError: if a colour cannot say one of them.

    Example:
        >>> colours_of(np.array([[263]]))
        array([[[7, 1, 0]]], dtype=uint8)
    """
    if numbers.size and not 0 <= numbers.min() <= numbers.max() <= LAST:
        raise ValueError(f"Expected numbers from 0 to {LAST}. Received: {numbers.min()} to {numbers.max()}")
    return np.stack([numbers % GREEN, numbers // GREEN % GREEN, numbers // BLUE], axis=-1).astype(np.uint8)
