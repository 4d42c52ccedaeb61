"""Which anchor answers for which object: by overlap, as RetinaNet and Faster R-CNN do it.

Legend: `b` images, `n` anchors or proposals, `g` objects of an image, filled up with objects that are not there.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_effvit.tasks.boxes import AREA_EPSILON, area, pairwise_intersection, pairwise_iou

#: So much of an anchor may lie inside a crowd, where nobody knows what is there, before it is left out.
CROWD_SHARE = 0.5
#: Overlaps that differ by less are equal but for rounding; an object inside several anchors of one size has such.
TIE = 1e-5


class Matches(NamedTuple):
    """Which object every anchor answers for.

    Attributes:
        index: (b, n) int32, of an object; of no meaning where the anchor is not positive.
        positive: (b, n) bool, whether it answers for an object.
        negative: (b, n) bool, whether it answers that there is none. Neither is what training ignores.
    """

    index: Any
    positive: Any
    negative: Any


def match(
    anchors,
    boxes,
    valid,
    *,
    above: float = 0.5,
    below: float = 0.4,
    least: float | None = 0.0,
    crowd=None,
) -> Matches:
    """Matches anchors and objects by intersection over union.

    Args:
        anchors: (n, 4), or (b, n, 4).
        boxes: (b, g, 4).
        valid: (b, g), whether an object is there and none of a crowd.
        above: an anchor that overlaps some object so much is positive.
        below: one that overlaps none so much is negative.
        least: an object's best anchors are its own all the same if they overlap it this much, and at all; `None` where
            an object may go without.
        crowd: (b, g), whether an object is a crowd, which anchors inside it do not answer for.

    Example:
        >>> match(numpy.array([[0.0, 0, 4, 4], [8, 8, 9, 9]]), numpy.array([[[0.0, 0, 4, 5]]]), numpy.array([[True]]))
        Matches(index=[[0, 0]], positive=[[True, False]], negative=[[False, True]])
    """
    overlaps = ops.where(ops.cast(valid, "bool")[:, :, None], pairwise_iou(boxes, anchors), -1.0)  # (b, g, n)
    best = ops.max(overlaps, axis=1)
    index = ops.argmax(overlaps, axis=1)
    positive = best >= above
    negative = best < below
    if least is not None:
        own = ops.max(overlaps, axis=2, keepdims=True)
        claimed = (overlaps >= own - TIE) & (own >= least) & (own > TIE)
        any_claim = ops.any(claimed, axis=1)
        # Who is claimed by several goes to the one it overlaps most.
        index = ops.where(any_claim, ops.argmax(ops.where(claimed, overlaps, -1.0), axis=1), index)
        positive = positive | any_claim
    if crowd is not None:
        share = pairwise_intersection(boxes, anchors) / ops.maximum(area(anchors), AREA_EPSILON)[..., None, :]
        inside = ops.any((share > CROWD_SHARE) & ops.cast(crowd, "bool")[:, :, None], axis=1)
        negative = negative & ~inside
    return Matches(ops.cast(index, "int32"), positive, negative & ~positive)


def take_rows(rows, index):
    """Rows of every image by number: (b, g, c) and (b, n) -> (b, n, c); one gather of fixed size."""
    _, count, channels = ops.shape(rows)
    images, wanted = ops.shape(index)
    first = ops.arange(images, dtype="int32")[:, None] * count
    flat = ops.take(ops.reshape(rows, (-1, channels)), ops.reshape(ops.cast(index, "int32") + first, (-1,)), axis=0)
    return ops.reshape(flat, (-1, wanted, channels))


def take_values(values, index):
    """Values of every image by number: (b, g) and (b, n) -> (b, n)."""
    return take_rows(values[..., None], index)[..., 0]
