"""Boxes: their sizes and overlaps, and how a network's numbers become boxes.

Legend: `n m` boxes; a box is `x0, y0, x1, y1` in pixels, its last axis is 4. Nothing is larger than (..., n, m).
"""

import math

from keras import ops

#: Keeps quotients of areas finite where a box has none.
AREA_EPSILON = 1e-7
#: A box is never decoded to more than this many times its anchor's side, or `exp` would overflow early in training.
LARGEST_GROWTH = 1000 / 16


def corners(boxes):
    """(..., 4) -> four of (...)."""
    return tuple(boxes[..., i] for i in range(4))


def area(boxes):
    """Square pixels of (..., 4) -> (...); none where a box is inside out."""
    x0, y0, x1, y1 = corners(boxes)
    return ops.relu(x1 - x0) * ops.relu(y1 - y0)


def from_centre(centre_x, centre_y, width, height):
    """Boxes (..., 4) by their middle and their sides, each (...)."""
    half_width, half_height = width / 2, height / 2
    return ops.stack(
        [centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height], axis=-1
    )


def to_centre(boxes):
    """(..., 4) -> the middles' x and y, and the sides: four of (...)."""
    x0, y0, x1, y1 = corners(boxes)
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def _intersection(a, b):
    """Square pixels that two boxes share, by their corners."""
    width = ops.relu(ops.minimum(a[2], b[2]) - ops.maximum(a[0], b[0]))
    return width * ops.relu(ops.minimum(a[3], b[3]) - ops.maximum(a[1], b[1]))


def pairwise_intersection(a, b):
    """What every box of (..., n, 4) shares with every box of (..., m, 4) -> (..., n, m)."""
    return _intersection([x[..., :, None] for x in corners(a)], [x[..., None, :] for x in corners(b)])


def pairwise_iou(a, b):
    """Intersection over union of every box with every other.

    Args:
        a: (..., n, 4).
        b: (..., m, 4).

    Returns:
        (..., n, m)

    Example:
        >>> pairwise_iou(numpy.array([[0.0, 0, 2, 2]]), numpy.array([[1.0, 0, 3, 2], [4, 4, 5, 5]]))
        [[0.3333, 0.0]]
    """
    shared = pairwise_intersection(a, b)
    union = area(a)[..., :, None] + area(b)[..., None, :] - shared
    return shared / ops.maximum(union, AREA_EPSILON)


def iou(a, b):
    """Intersection over union, box by box: (..., 4) and (..., 4) -> (...)."""
    shared = _intersection(corners(a), corners(b))
    return shared / ops.maximum(area(a) + area(b) - shared, AREA_EPSILON)


def giou(a, b):
    """Generalised intersection over union, box by box (Rezatofighi et al. 2019).

    What the smallest box around both has beyond their union is taken off, so that boxes which do not touch still know
    how far apart they are: from 1 for equal boxes down to -1.

    Args:
        a: (..., 4).
        b: (..., 4).

    Returns:
        (...)
    """
    first, second = corners(a), corners(b)
    shared = _intersection(first, second)
    union = area(a) + area(b) - shared
    width = ops.maximum(first[2], second[2]) - ops.minimum(first[0], second[0])
    height = ops.maximum(first[3], second[3]) - ops.minimum(first[1], second[1])
    around = ops.maximum(width * height, AREA_EPSILON)
    return shared / ops.maximum(union, AREA_EPSILON) - (around - union) / around


def encode(boxes, anchors, stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)):
    """What a network should say of an anchor for it to become a box (Girshick et al. 2014).

    The middle's way in anchor sides, and the logarithms of how much the sides grow, each over its usual size.

    Args:
        boxes: (..., 4), with sides above 0.
        anchors: (..., 4).
        stds: the usual sizes.

    Returns:
        (..., 4)
    """
    x, y, width, height = to_centre(boxes)
    anchor_x, anchor_y, anchor_width, anchor_height = to_centre(anchors)
    deltas = [
        (x - anchor_x) / anchor_width,
        (y - anchor_y) / anchor_height,
        ops.log(width / anchor_width),
        ops.log(height / anchor_height),
    ]
    return ops.stack([delta / std for delta, std in zip(deltas, stds, strict=True)], axis=-1)


def decode(deltas, anchors, stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)):
    """The boxes that a network says, the inverse of `encode`.

    Args:
        deltas: (..., 4).
        anchors: (..., 4).
        stds: as in `encode`.

    Returns:
        (..., 4)
    """
    x, y, width, height = (delta * std for delta, std in zip(corners(deltas), stds, strict=True))
    anchor_x, anchor_y, anchor_width, anchor_height = to_centre(anchors)
    limit = math.log(LARGEST_GROWTH)
    return from_centre(
        anchor_x + x * anchor_width,
        anchor_y + y * anchor_height,
        anchor_width * ops.exp(ops.clip(width, -limit, limit)),
        anchor_height * ops.exp(ops.clip(height, -limit, limit)),
    )


def clip(boxes, height: int, width: int):
    """Boxes (..., 4) cut off at the edges of an image."""
    x0, y0, x1, y1 = corners(boxes)
    return ops.stack(
        [ops.clip(x0, 0, width), ops.clip(y0, 0, height), ops.clip(x1, 0, width), ops.clip(y1, 0, height)], axis=-1
    )
