"""What YOLOX's numbers mean: a box from its cell's corner, in cells (Ge et al. 2021)."""

from keras import ops

from keras_effvit.tasks.boxes import from_centre

#: Sides never become larger than e^8 cells, which is more than any image has, so that nothing overflows.
LARGEST_LOGARITHM = 8.0


def decode_points(numbers, points):
    """The boxes that the points say.

    Args:
        numbers: (b, n, 4): the way of the middle from the cell's corner in cells, the logarithms of the sides in cells.
        points: (n, 3), of `anchors.cells`.

    Returns:
        (b, n, 4)
    """
    x, y, stride = points[:, 0], points[:, 1], points[:, 2]
    width, height = (ops.exp(ops.minimum(numbers[..., i], LARGEST_LOGARITHM)) * stride for i in (2, 3))
    return from_centre(x + numbers[..., 0] * stride, y + numbers[..., 1] * stride, width, height)
