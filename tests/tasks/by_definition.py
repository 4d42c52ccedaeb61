"""Boxes as their definitions have them, one at a time, in plain Python and numpy."""

import numpy as np


def random_boxes(rng, count, side=64.0, least=1.0):
    """Boxes inside a square image, (count, 4) float32."""
    start = rng.uniform(0, side - least, (count, 2))
    end = start + rng.uniform(least, side / 2, (count, 2))
    return np.concatenate([start, np.minimum(end, side)], axis=1).astype("float32")


def intersection(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    return width * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def size(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a, b):
    shared = intersection(a, b)
    return shared / (size(a) + size(b) - shared)


def giou(a, b):
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    union = size(a) + size(b) - intersection(a, b)
    return iou(a, b) - (around - union) / around


def ious(a, b):
    return np.array([[iou(x, y) for y in b] for x in np.asarray(a, float)]).reshape(len(a), len(b))


def greedy(boxes, scores, threshold, labels=None):
    """The numbers of the boxes that stay, best first."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if labels is None or labels[i] == labels[j]]
        if all(iou(boxes[i], boxes[j]) <= threshold for j in rivals):
            kept.append(i)
    return kept


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))
