"""From the raw heads of a detector to boxes, in numpy alone: what an app does with the outputs of a `.tflite` file.

It is written to be read and ported. Legend: `n` anchors or points of all levels; boxes are `x0, y0, x1, y1` in pixels
of the image that went into the model.
"""

from collections.abc import Mapping

import numpy as np

from keras_effvit.tasks.anchors import RETINANET_ANCHORS, AnchorSpec, anchors, cells
from keras_effvit.tasks.raw_heads import geometry, levels
from keras_effvit.tasks.samples import Detections

#: `exp` of more than this is no side of any box.
_LARGEST_LOGARITHM = 8.0
_LARGEST_GROWTH = np.log(1000 / 16)


def decode_yolox(
    outputs: Mapping[str, np.ndarray],
    image_size: tuple[int, int],
    *,
    least_score: float = 0.05,
    threshold: float = 0.65,
    most: int = 100,
) -> list[Detections]:
    """What YOLOX's heads found.

    Args:
        outputs: the maps by name, `P3_class` and so on, of a batch.
        image_size: (height, width) of the model's input.
        least_score: of a box.
        threshold: of the overlap above which the worse of two boxes of a class goes.
        most: boxes of an image.

    Returns:
        For every image the boxes, best first.

    Example:
        >>> found = decode_yolox(interpreter.get_signature_runner()(image=image), (416, 416))
        >>> found[0].boxes, found[0].labels
    """
    strides, sizes = geometry(outputs, *image_size)
    x, y, stride = cells(strides, sizes).T
    found = []
    for image in range(len(next(iter(outputs.values())))):
        numbers = _rows(outputs, "box", image, 4)
        width, height = np.exp(np.minimum(numbers[:, 2:], _LARGEST_LOGARITHM)).T * stride
        middle_x, middle_y = x + numbers[:, 0] * stride, y + numbers[:, 1] * stride
        sides = [middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2]
        classes = outputs[f"{levels(outputs)[0]}_class"].shape[-1]
        scores = _sigmoid(_rows(outputs, "class", image, classes)) * _sigmoid(_rows(outputs, "object", image, 1))
        best = scores.argmax(axis=1)
        pairs = (np.arange(len(best)), best)
        found.append(_select(np.stack(sides, axis=1), scores, pairs, image_size, least_score, threshold, most))
    return found


def decode_retinanet(
    outputs: Mapping[str, np.ndarray],
    image_size: tuple[int, int],
    *,
    spec: AnchorSpec = RETINANET_ANCHORS,
    least_score: float = 0.05,
    threshold: float = 0.5,
    most: int = 100,
    most_anchors: int = 1000,
) -> list[Detections]:
    """What RetinaNet's head found.

    Args:
        outputs: the maps by name, `P3_class` and so on, of a batch.
        image_size: (height, width) of the model's input.
        spec: the cells' anchors.
        least_score: of a box.
        threshold: of the overlap above which the worse of two boxes of a class goes.
        most: boxes of an image.
        most_anchors: of a level, the surest, that are looked at.

    Returns:
        For every image the boxes, best first. An anchor may speak for several classes.

    Example:
        >>> found = decode_retinanet(interpreter.get_signature_runner()(image=image), (512, 512))
    """
    strides, sizes = geometry(outputs, *image_size)
    anchor_boxes = anchors(spec, strides, sizes)
    ends = np.cumsum([rows * columns * spec.count for rows, columns in sizes])
    found = []
    for image in range(len(next(iter(outputs.values())))):
        classes = outputs[f"{levels(outputs)[0]}_class"].shape[-1] // spec.count
        scores = _sigmoid(_rows(outputs, "class", image, classes))
        boxes = _from_deltas(_rows(outputs, "box", image, 4), anchor_boxes)
        surest = scores.max(axis=1)
        for level in np.split(np.arange(len(scores)), ends[:-1]):
            scores[level[np.argsort(-surest[level], kind="stable")[most_anchors:]]] = 0
        pairs = np.nonzero(scores > least_score)
        found.append(_select(boxes, scores, pairs, image_size, least_score, threshold, most))
    return found


def decode_detections(
    outputs: Mapping[str, np.ndarray], image_size: tuple[int, int], *, least_score: float = 0.05
) -> list[Detections]:
    """What a model found that ends in boxes: a two-stage one, or one of `with_detections`.

    Args:
        outputs: `boxes`, `scores` and `labels` of a batch; with `masks` of boxes come masks of the whole image.
        image_size: (height, width) of the model's input.
        least_score: of a box.

    Returns:
        For every image the boxes, best first.

    Example:
        >>> found = decode_detections(interpreter.get_signature_runner()(image=image), (416, 416))
    """
    found = []
    for image, scores in enumerate(np.asarray(outputs["scores"])):
        good = scores > least_score
        boxes, labels = (np.asarray(outputs[name][image])[good] for name in ("boxes", "labels"))
        masks = (
            paste_masks(np.asarray(outputs["masks"][image])[good], boxes, image_size) if "masks" in outputs else None
        )
        found.append(
            Detections(boxes.astype(np.float32), scores[good].astype(np.float32), labels.astype(np.int32), masks)
        )
    return found


def paste_masks(
    masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], threshold: float = 0.5
) -> np.ndarray:
    """Masks of boxes as masks of the image.

    Every pixel's middle is looked up in the box's mask, between its nearest four values; beyond the box is 0.

    Args:
        masks: probabilities, (n, side, side).
        boxes: (n, 4).
        image_size: (height, width).
        threshold: from which on a pixel is the thing's.

    Returns:
        (n, height, width) bool
    """
    pasted = np.zeros((len(masks), *image_size), bool)
    for mask, (x0, y0, x1, y1), whole in zip(masks, boxes, pasted, strict=True):
        if x1 > x0 and y1 > y0:
            rows = _interpolation(mask.shape[0], image_size[0], y0, y1)
            columns = _interpolation(mask.shape[1], image_size[1], x0, x1)
            whole[...] = rows @ mask @ columns.T >= threshold
    return pasted


def _interpolation(side: int, pixels: int, start: float, end: float) -> np.ndarray:
    """What every pixel has of every value of a mask on an axis, (pixels, side)."""
    place = (np.arange(pixels) + 0.5 - start) / (end - start) * side - 0.5
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side)))


def suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float, most: int) -> list[int]:
    """Greedy non-maximum suppression, class by class.

    Args:
        boxes: (n, 4).
        scores: (n,).
        labels: (n,).
        threshold: of intersection over union.
        most: to keep.

    Returns:
        Numbers of the boxes that stay, best first.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        overlap = shared / np.maximum(areas[best] + areas[order] - shared, 1e-7)
        order = order[(overlap <= threshold) | (labels[order] != labels[best])]
    return kept


def _select(boxes, scores, pairs, image_size, least_score, threshold, most) -> Detections:
    """The best boxes out of pairs (which box, which class), cut off at the image's edges, if anything is left."""
    which, labels = pairs
    chosen = scores[which, labels]
    height, width = image_size
    inside = np.clip(boxes[which], 0, [width, height, width, height])
    good = (chosen > least_score) & (inside[:, :2] < inside[:, 2:]).all(axis=1)
    inside, labels, chosen = inside[good], labels[good], chosen[good]
    kept = suppress(inside, chosen, labels, threshold, most)
    return Detections(
        inside[kept].reshape(-1, 4).astype(np.float32),
        chosen[kept].astype(np.float32),
        labels[kept].astype(np.int32),
    )


def _from_deltas(deltas: np.ndarray, anchor_boxes: np.ndarray) -> np.ndarray:
    sides = anchor_boxes[:, 2:] - anchor_boxes[:, :2]
    middles = anchor_boxes[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = sides * np.exp(np.clip(deltas[:, 2:], -_LARGEST_GROWTH, _LARGEST_GROWTH)) / 2
    return np.concatenate([middles - half, middles + half], axis=1)


def _rows(outputs: Mapping[str, np.ndarray], part: str, image: int, width: int) -> np.ndarray:
    """One part of all levels of an image, (n, width)."""
    maps = [np.asarray(outputs[f"{name}_{part}"], np.float32)[image] for name in levels(outputs)]
    return np.concatenate([x.reshape(-1, width) for x in maps])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
