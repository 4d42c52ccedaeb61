"""What detectors minimise, from their raw maps and the objects of every image.

Legend: `b` images, `n` anchors or points, `g` objects of an image. `boxes` (b, g, 4) are in pixels; `labels` (b, g) are
classes, `NOTHING` where an image has no more objects, `CROWD` where there are too many to tell apart. Every loss is a
dict of numbers to add up. Everything is float32, whatever precision the model runs in.
"""

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from keras_effvit.tasks.anchors import RETINANET_ANCHORS, AnchorSpec, anchors, cells
from keras_effvit.tasks.boxes import encode, giou, iou
from keras_effvit.tasks.matching import Matches, match, take_rows, take_values
from keras_effvit.tasks.raw_heads import geometry, stacked
from keras_effvit.tasks.simota import simota
from keras_effvit.tasks.yolox_points import decode_points

#: Labels of objects that are not there, and of crowds.
NOTHING, CROWD = -1, -2
#: Focal loss (Lin et al. 2017).
FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25
#: What YOLOX's overlap counts beside its classes.
OVERLAP_WEIGHT = 5.0


def focal_loss(targets, logits):
    """Sigmoid focal loss of every number on its own, summed over the last axis: (..., classes) -> (...).

    Args:
        targets: 0 or 1.
        logits: of the same shape.
    """
    mean = keras.losses.binary_focal_crossentropy(
        targets, logits, apply_class_balancing=True, alpha=FOCAL_ALPHA, gamma=FOCAL_GAMMA, from_logits=True
    )
    return mean * targets.shape[-1]


def sigmoid_cross_entropy(targets, logits):
    """Binary cross-entropy of every number on its own, summed over the last axis: (..., classes) -> (...)."""
    return keras.losses.binary_crossentropy(targets, logits, from_logits=True) * targets.shape[-1]


def overlap_loss(boxes, predicted, kind: Literal["iou", "giou"] = "iou"):
    """How little boxes overlap those they should be: `1 - iou^2`, or `1 - giou`; (..., 4) -> (...)."""
    if kind == "giou":
        return 1.0 - giou(boxes, predicted)
    return 1.0 - ops.square(iou(boxes, predicted))


def objects_of(boxes, labels):
    """Objects to answer for, and crowds: two of (b, g) bool."""
    return labels >= 0, labels == CROWD


def anchor_targets(found: Matches, anchor_boxes, boxes, stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)):
    """What every anchor should say of its object, (b, n, 4); 0 where it has none."""
    positive = found.positive[:, :, None]
    # An anchor without an object gets itself as one, whose logarithms are finite.
    own = ops.where(positive, take_rows(boxes, found.index), anchor_boxes)
    return encode(own, anchor_boxes, stds)


def retinanet_loss(
    outputs: Mapping[str, Any],
    boxes: Any,
    labels: Any,
    image_size: tuple[int, int],
    *,
    spec: AnchorSpec = RETINANET_ANCHORS,
) -> dict[str, Any]:
    """Focal loss of the classes and L1 of the boxes, over the number of positive anchors.

    Args:
        outputs: of RetinaNet's head.
        boxes: (b, g, 4).
        labels: (b, g).
        image_size: (height, width).
        spec: the cells' anchors.

    Returns:
        `"class"` and `"box"`.

    Example:
        >>> losses = retinanet_loss(model(images), boxes, labels, (256, 256))
    """
    strides, sizes = geometry(outputs, *image_size)
    anchor_boxes = ops.convert_to_tensor(anchors(spec, strides, sizes))
    classes = outputs[f"P{strides[0].bit_length() - 1}_class"].shape[-1] // spec.count
    logits = ops.cast(stacked(outputs, "class", classes), "float32")
    deltas = ops.cast(stacked(outputs, "box", 4), "float32")
    valid, crowd = objects_of(boxes, labels)
    found = match(anchor_boxes, boxes, valid, crowd=crowd)
    positive = ops.cast(found.positive, "float32")
    truth = ops.cast(ops.one_hot(ops.maximum(take_values(labels, found.index), 0), classes), "float32")
    focal = focal_loss(truth * positive[:, :, None], logits)
    answers = positive + ops.cast(found.negative, "float32")
    distance = ops.sum(ops.abs(anchor_targets(found, anchor_boxes, boxes) - deltas), axis=-1)
    number = ops.maximum(ops.sum(positive), 1.0)
    return {"class": ops.sum(focal * answers) / number, "box": ops.sum(distance * positive) / number}


def yolox_loss(
    outputs: Mapping[str, Any],
    boxes: Any,
    labels: Any,
    image_size: tuple[int, int],
    *,
    overlap: Literal["iou", "giou"] = "iou",
) -> dict[str, Any]:
    """Overlap, objectness and classes of the points that SimOTA chose, over their number.

    Args:
        outputs: of YOLOX's heads.
        boxes: (b, g, 4).
        labels: (b, g).
        image_size: (height, width).
        overlap: `"iou"`, or `"giou"`, which also moves boxes that do not touch.

    Returns:
        `"class"`, `"box"` and `"object"`.

    Example:
        >>> losses = yolox_loss(model(images), boxes, labels, (256, 256))
    """
    strides, sizes = geometry(outputs, *image_size)
    points = ops.convert_to_tensor(cells(strides, sizes))
    classes = outputs[f"P{strides[0].bit_length() - 1}_class"].shape[-1]
    logits, numbers, objectness = (
        ops.cast(stacked(outputs, part, width), "float32")
        for part, width in (("class", classes), ("box", 4), ("object", 1))
    )
    predicted = decode_points(numbers, points)
    found, quality = _chosen_points(predicted, logits, objectness, points, boxes, labels)
    positive = ops.cast(found.positive, "float32")
    number = ops.maximum(ops.sum(positive), 1.0)
    # The class is to say how well the box fits, too.
    truth = ops.cast(ops.one_hot(ops.maximum(take_values(labels, found.index), 0), classes), "float32")
    of_class = sigmoid_cross_entropy(truth * quality[:, :, None], logits)
    own = ops.where(found.positive[:, :, None], take_rows(boxes, found.index), predicted)
    of_box = overlap_loss(own, predicted, overlap)
    of_object = sigmoid_cross_entropy(positive[:, :, None], objectness)
    return {
        "class": ops.sum(of_class * positive) / number,
        "box": OVERLAP_WEIGHT * ops.sum(of_box * positive) / number,
        "object": ops.sum(of_object * _outside_crowds(points, boxes, labels, positive)) / number,
    }


def _chosen_points(predicted, logits, objectness, points, boxes, labels):
    """SimOTA on what the network says now, through which no gradient goes."""
    probabilities = ops.sqrt(ops.sigmoid(logits) * ops.sigmoid(objectness))
    middles = points[:, :2] + points[:, 2:] / 2
    found, quality = simota(
        ops.stop_gradient(predicted), ops.stop_gradient(probabilities), middles, points[:, 2], boxes, labels
    )
    return found, ops.stop_gradient(quality)


def _outside_crowds(points, boxes, labels, positive):
    """1 for the points that answer whether an object is there, 0 inside a crowd: (b, n)."""
    middles = points[:, :2] + points[:, 2:] / 2
    x0, y0, x1, y1 = (boxes[:, :, i, None] for i in range(4))
    inside = (middles[:, 0] > x0) & (middles[:, 0] < x1) & (middles[:, 1] > y0) & (middles[:, 1] < y1)
    in_crowd = ops.cast(ops.any(inside & (labels == CROWD)[:, :, None], axis=1), "float32")
    return ops.maximum(positive, 1.0 - in_crowd)
