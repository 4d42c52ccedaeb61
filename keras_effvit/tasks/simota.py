"""SimOTA: which points of the maps answer for which object, by what it would cost them (Ge et al. 2021, YOLOX).

Legend: `b` images, `n` points (cells of all maps), `g` objects of an image, filled up with objects that are not there.
"""

from keras import ops

from keras_effvit.tasks.boxes import pairwise_iou
from keras_effvit.tasks.matching import Matches

#: An object's middle reaches so many strides to every side.
CENTRE_RADIUS = 2.5
#: What the overlap of a point's box counts beside its classes.
OVERLAP_COST = 3.0
#: What it costs a point not to be in an object's box and near its middle; more than anything else.
OUTSIDE_COST = 1e5
#: Of how many of the best overlaps an object's number of points is the sum.
MOST_POINTS = 10
#: Keeps logarithms finite.
EPSILON = 1e-8


def candidates(centres, strides, boxes, valid):
    """Where the points are: (in some object or near its middle, in this object and near its middle).

    Args:
        centres: (n, 2), the middles of the cells.
        strides: (n,).
        boxes: (b, g, 4).
        valid: (b, g) bool.

    Returns:
        (b, n) bool and (b, g, n) bool.
    """
    x, y = centres[:, 0], centres[:, 1]
    x0, y0, x1, y1 = (boxes[:, :, i, None] for i in range(4))
    in_box = (x > x0) & (x < x1) & (y > y0) & (y < y1)
    reach = CENTRE_RADIUS * strides
    near = (ops.abs(x - (x0 + x1) / 2) < reach) & (ops.abs(y - (y0 + y1) / 2) < reach)
    some = ops.any((in_box | near) & valid[:, :, None], axis=1)
    return some, in_box & near & valid[:, :, None]


def class_cost(probabilities, labels):
    """What every point's classes cost every object, (b, n, classes) and (b, g) -> (b, g, n).

    The binary cross-entropy of all classes against the object's own: that of "none of them", and for its own class the
    difference.
    """
    taken = ops.log(ops.clip(probabilities, EPSILON, 1.0))
    refused = ops.log(ops.clip(1.0 - probabilities, EPSILON, 1.0))
    none = -ops.sum(refused, axis=-1)  # (b, n)
    own = ops.cast(ops.one_hot(ops.maximum(labels, 0), probabilities.shape[-1]), probabilities.dtype)  # (b, g, classes)
    return none[:, None] + ops.matmul(own, ops.transpose(refused - taken, (0, 2, 1)))


def simota(predicted, probabilities, centres, strides, boxes, labels):
    """Gives every object the points that it costs least, as many as their overlaps add up to.

    Args:
        predicted: (b, n, 4), the boxes that the points say.
        probabilities: (b, n, classes), the points' class probabilities times that of an object being there.
        centres: (n, 2).
        strides: (n,).
        boxes: (b, g, 4).
        labels: (b, g), -1 where there is no object.

    Returns:
        The matches, and (b, n) float32 the overlap of every point's box with its object's, 0 where it has none.

    Example:
        >>> matches, overlap = simota(predicted, probabilities, centres, strides, boxes, labels)
    """
    valid = labels >= 0
    some, within = candidates(centres, strides, boxes, valid)
    overlaps = pairwise_iou(boxes, predicted)  # (b, g, n)
    allowed = some[:, None] & valid[:, :, None]
    overlaps = ops.where(allowed, overlaps, 0.0)
    cost = class_cost(probabilities, labels) - OVERLAP_COST * ops.log(overlaps + EPSILON)
    cost = cost + OUTSIDE_COST * ops.cast(~within, "float32")
    chosen = _cheapest(ops.where(allowed, cost, float("inf")), overlaps) & allowed
    # A point that several objects want goes to the one it costs least.
    index = ops.argmin(ops.where(chosen, cost, float("inf")), axis=1)
    positive = ops.any(chosen, axis=1)
    overlap = ops.sum(overlaps * ops.cast(ops.one_hot(index, boxes.shape[1], axis=1), "float32"), axis=1)
    return Matches(ops.cast(index, "int32"), positive, ~positive), overlap * ops.cast(positive, "float32")


def _cheapest(cost, overlaps):
    """Which points every object takes, (b, g, n) bool: as many as the best overlaps add up to, but one at least."""
    points = cost.shape[2]
    most = min(MOST_POINTS, points)
    best, _ = ops.top_k(overlaps, most)
    number = ops.maximum(ops.floor(ops.sum(best, axis=-1)), 1.0)  # (b, g)
    _, order = ops.top_k(-cost, most)
    chosen = ops.zeros_like(cost)
    for rank in range(most):
        wanted = ops.cast(number > rank, cost.dtype)
        chosen = chosen + ops.cast(ops.one_hot(order[:, :, rank], points), cost.dtype) * wanted[:, :, None]
    return chosen > 0.5
