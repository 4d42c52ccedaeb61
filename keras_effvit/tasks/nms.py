"""Non-maximum suppression with fixed sizes: of boxes that say the same, the best stays.

Legend: `b` images, `n` candidates, `k` of them, best first; a place that no box takes has a score of 0 and a label of
-1.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_effvit.tasks.boxes import area, pairwise_iou
from keras_effvit.tasks.matching import take_rows, take_values

#: Between boxes of different classes, in sides of the largest box, so that none suppresses the other.
CLASS_DISTANCE = 2.0


class Kept(NamedTuple):
    """What is left of the candidates of every image.

    Attributes:
        boxes: (b, k, 4).
        scores: (b, k), from the best down.
        labels: (b, k) int32.
        index: (b, k) int32, which candidate it was.
    """

    boxes: Any
    scores: Any
    labels: Any
    index: Any


def survivors(boxes, scores, threshold: float):
    """Which boxes no better one suppresses, for boxes in the order of their scores.

    A box stays if no box that stays comes before it and overlaps it. That is a recursion down the list; solved as a
    fixed point it takes a matrix product for every link of the longest chain of boxes that suppress one another, which
    is a handful, not one for every box.

    Args:
        boxes: (b, n, 4), best first.
        scores: (b, n); what has none suppresses nothing.
        threshold: of intersection over union, above which a box suppresses.

    Returns:
        (b, n) float32, 1 or 0.
    """
    count = boxes.shape[1]
    earlier = ops.cast(ops.arange(count)[None, :] < ops.arange(count)[:, None], "float32")
    there = ops.cast(scores > 0, "float32")
    overlapping = ops.cast(pairwise_iou(boxes, boxes) > threshold, "float32") * earlier[None]

    def unsettled(kept, previous):
        return ops.any(kept != previous)

    def settle(kept, previous):
        suppressed = ops.matmul(overlapping, kept[:, :, None])[:, :, 0]
        return there * ops.cast(suppressed < 0.5, "float32"), kept

    # From "all stay": the first box of a chain is right after one turn, the next after two, and so on.
    kept, _ = ops.while_loop(unsettled, settle, (there, -there - 1.0), maximum_iterations=count + 1)
    return kept


def apart(boxes, labels):
    """Moves the boxes of every class to a place of their own: (b, n, 4) and (b, n) -> (b, n, 4)."""
    side = ops.max(ops.abs(boxes), axis=(1, 2), keepdims=True)
    return boxes + ops.cast(labels, boxes.dtype)[:, :, None] * (side * CLASS_DISTANCE + 1.0)


def nms(
    boxes,
    scores,
    labels=None,
    *,
    threshold: float = 0.5,
    least_score: float = 0.0,
    most: int = 100,
    candidates: int | None = None,
) -> Kept:
    """Suppresses what a better box of the same class says already; a box without an area says nothing.

    Args:
        boxes: (b, n, 4).
        scores: (b, n), above 0 where there is a box.
        labels: (b, n), or `None` where all boxes compete.
        threshold: of intersection over union, above which the worse box goes.
        least_score: of a box, which must be above it.
        most: boxes to keep of an image.
        candidates: the best so many are looked at; all when `None`. Sorting and overlaps are no larger than that.

    Returns:
        `most` places for every image.

    Example:
        >>> boxes = numpy.array([[[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]]])
        >>> nms(boxes, numpy.array([[0.9, 0.8, 0.7]]), most=2).index
        [[0, 2]]
    """
    count = scores.shape[1]
    size = min(count, candidates or count)
    scores = ops.where((scores > least_score) & (area(boxes) > 0), scores, ops.zeros_like(scores))
    scores, order = ops.top_k(scores, size)
    order = ops.cast(order, "int32")
    boxes = take_rows(boxes, order)
    labels = ops.zeros_like(order) if labels is None else ops.cast(take_values(labels, order), "int32")
    kept = survivors(apart(boxes, labels), scores, threshold)
    places = min(most, size)
    scores, chosen = ops.top_k(scores * kept, places)
    boxes, labels, order = take_rows(boxes, chosen), take_values(labels, chosen), take_values(order, chosen)
    there = scores > 0
    kept = Kept(
        boxes * ops.cast(there, boxes.dtype)[:, :, None],
        scores,
        ops.where(there, labels, -1),
        ops.where(there, order, 0),
    )
    return _padded(kept, most - places) if most > places else kept


def _padded(kept: Kept, missing: int) -> Kept:
    pad = ((0, 0), (0, missing))
    return Kept(
        ops.pad(kept.boxes, (*pad, (0, 0))),
        ops.pad(kept.scores, pad),
        ops.pad(kept.labels, pad, constant_values=-1),
        ops.pad(kept.index, pad),
    )
