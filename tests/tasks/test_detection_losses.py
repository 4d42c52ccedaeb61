"""Losses of one-stage detectors, against their formulas anchor by anchor and point by point."""

import keras
import numpy as np
import pytest

from keras_effvit.tasks.anchors import RETINANET_ANCHORS, anchors, cells, map_sizes
from keras_effvit.tasks.detection_losses import CROWD, NOTHING, focal_loss, overlap_loss, retinanet_loss, yolox_loss
from keras_effvit.tasks.raw_heads import geometry, levels
from tests.tasks import by_definition
from tests.tasks.test_matching import cheapest, matched

SIDE, CLASSES = 64, 3


def heads(rng, widths, names, batch=2):
    """Random raw heads of a square image: maps of every level, as wide as every part is."""
    sizes = map_sizes(SIDE, SIDE, [2 ** int(name[1:]) for name in names])
    return {
        f"{name}_{part}": rng.normal(0, 0.5, (batch, *size, width)).astype("float32")
        for name, size in zip(names, sizes, strict=True)
        for part, width in widths.items()
    }


def flat(outputs, part, image, width):
    return np.concatenate([outputs[f"{n}_{part}"][image].reshape(-1, width) for n in levels(outputs)]).astype(float)


def entropy(truth, logits):
    p = by_definition.sigmoid(logits)
    return -(truth * np.log(p) + (1 - truth) * np.log(1 - p))


def scenes(rng):
    """Three objects in the first image, one in the second, filled up to five."""
    boxes, labels = np.zeros((2, 5, 4), "float32"), np.full((2, 5), NOTHING, "int32")
    for image, count in enumerate((3, 1)):
        boxes[image, :count] = by_definition.random_boxes(rng, count, least=12.0)
        labels[image, :count] = rng.integers(0, CLASSES, count)
    return boxes, labels


def test_focal_loss():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(0, 3, (4, 5)), rng.integers(0, 2, (4, 5)).astype(float)
    p = by_definition.sigmoid(logits)
    expected = np.where(truth == 1, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).sum(-1)
    received = focal_loss(truth.astype("float32"), logits.astype("float32"))
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_overlap_losses():
    rng = np.random.default_rng(1)
    a, b = by_definition.random_boxes(rng, 8), by_definition.random_boxes(rng, 8)
    pairs = [(x, y) for x, y in zip(a.astype(float), b.astype(float), strict=True)]
    np.testing.assert_allclose(overlap_loss(a, b), [1 - by_definition.iou(x, y) ** 2 for x, y in pairs], atol=1e-5)
    np.testing.assert_allclose(overlap_loss(a, b, "giou"), [1 - by_definition.giou(x, y) for x, y in pairs], atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_retinanet(seed):
    rng = np.random.default_rng(seed)
    outputs = heads(rng, {"class": 9 * CLASSES, "box": 36}, ["P3", "P4", "P5", "P6", "P7"])
    boxes, labels = scenes(rng)
    received = {k: float(v) for k, v in retinanet_loss(outputs, boxes, labels, (SIDE, SIDE)).items()}
    all_anchors = anchors(RETINANET_ANCHORS, *geometry(outputs, SIDE, SIDE)).astype(float)
    of_class = of_box = positives = 0.0
    for image in range(2):
        count = int((labels[image] >= 0).sum())
        answers = matched(all_anchors, boxes[image, :count], 0.5, 0.4, 0.0)
        logits, deltas = flat(outputs, "class", image, CLASSES), flat(outputs, "box", image, 4)
        for n in np.flatnonzero(answers != -2):
            truth = np.arange(CLASSES) == (labels[image, answers[n]] if answers[n] >= 0 else -1)
            p = by_definition.sigmoid(logits[n])
            of_class += np.where(truth, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).sum()
        for n in np.flatnonzero(answers >= 0):
            box, anchor = boxes[image, answers[n]].astype(float), all_anchors[n]
            sides, own = box[2:] - box[:2], anchor[2:] - anchor[:2]
            way = ((box[:2] + box[2:]) - (anchor[:2] + anchor[2:])) / 2 / own
            of_box += np.abs(np.concatenate([way, np.log(sides / own)]) - deltas[n]).sum()
            positives += 1
    assert positives >= 4
    assert received == pytest.approx({"class": of_class / positives, "box": of_box / positives}, rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_yolox(seed):
    rng = np.random.default_rng(seed)
    outputs = heads(rng, {"class": CLASSES, "box": 4, "object": 1}, ["P3", "P4", "P5"])
    boxes, labels = scenes(rng)
    received = {k: float(v) for k, v in yolox_loss(outputs, boxes, labels, (SIDE, SIDE)).items()}
    points = cells(*geometry(outputs, SIDE, SIDE))
    x, y, stride = points.astype(float).T
    totals, positives = {"class": 0.0, "box": 0.0, "object": 0.0}, 0
    for image in range(2):
        count = int((labels[image] >= 0).sum())
        logits, numbers = flat(outputs, "class", image, CLASSES), flat(outputs, "box", image, 4)
        objectness = flat(outputs, "object", image, 1)[:, 0]
        middle_x, middle_y = x + numbers[:, 0] * stride, y + numbers[:, 1] * stride
        width, height = np.exp(numbers[:, 2]) * stride, np.exp(numbers[:, 3]) * stride
        predicted = np.stack(
            [middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2], 1
        )
        probabilities = np.sqrt(by_definition.sigmoid(logits) * by_definition.sigmoid(objectness)[:, None])
        answers, overlaps = cheapest(predicted, probabilities, points, boxes[image, :count], labels[image, :count])
        totals["object"] += entropy(answers >= 0, objectness).sum()
        for n in np.flatnonzero(answers >= 0):
            overlap = overlaps[answers[n], n]
            truth = (np.arange(CLASSES) == labels[image, answers[n]]) * overlap
            totals["class"] += entropy(truth, logits[n]).sum()
            totals["box"] += 5 * (1 - overlap**2)
            positives += 1
    assert positives >= 4
    assert received == pytest.approx({k: v / positives for k, v in totals.items()}, rel=1e-3)


LOSSES = {
    "retinanet": (retinanet_loss, {"class": 9 * CLASSES, "box": 36}),
    "yolox": (yolox_loss, {"class": CLASSES, "box": 4, "object": 1}),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_images_without_objects_teach_that_nothing_is_there(kind):
    loss, widths = LOSSES[kind]
    rng = np.random.default_rng(0)
    outputs = heads(rng, widths, ["P3", "P4"])
    boxes, labels = np.zeros((2, 3, 4), "float32"), np.full((2, 3), NOTHING, "int32")
    losses = {k: float(v) for k, v in loss(outputs, boxes, labels, (SIDE, SIDE)).items()}
    assert losses["box"] == 0
    assert sum(losses.values()) > 1
    shy = {k: v - 30 if "box" not in k else v for k, v in outputs.items()}
    assert sum(float(v) for v in loss(shy, boxes, labels, (SIDE, SIDE)).values()) < 1e-3


@pytest.mark.parametrize("kind", LOSSES)
def test_crowds_count_as_neither(kind):
    """Of an image that is one crowd there is nothing to learn."""
    loss, widths = LOSSES[kind]
    outputs = heads(np.random.default_rng(0), widths, ["P3"])
    boxes = np.tile(np.array([-500, -500, 500, 500], "float32"), (2, 1, 1))
    losses = loss(outputs, boxes, np.full((2, 1), CROWD, "int32"), (SIDE, SIDE))
    assert sum(float(v) for v in losses.values()) == 0


@pytest.mark.parametrize("kind", LOSSES)
def test_wild_outputs_keep_finite_gradients(kind):
    import tensorflow as tf

    loss, widths = LOSSES[kind]
    rng = np.random.default_rng(2)
    boxes, labels = scenes(rng)
    outputs = {k: tf.constant(100 * v) for k, v in heads(rng, widths, ["P3", "P4"]).items()}
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        total = tf.add_n(list(loss(outputs, boxes, labels, (SIDE, SIDE)).values()))
    gradients = tape.gradient(total, outputs)
    assert np.isfinite(total)
    assert all(np.isfinite(np.asarray(g)).all() for g in gradients.values())
    assert keras.ops.shape(gradients["P3_box"]) == outputs["P3_box"].shape


def test_maps_of_another_image():
    outputs = heads(np.random.default_rng(0), {"class": 3, "box": 4}, ["P3", "P4"])
    with pytest.raises(
        ValueError, match=r"Expected maps of \[\(12, 12\), \(6, 6\)\] .* Received: \[\(8, 8\), \(4, 4\)\]"
    ):
        geometry(outputs, 96, 96)
    with pytest.raises(ValueError, match=r"Expected maps with names such as 'P3_class'\. Received: 'logits'"):
        levels(["P3_box", "logits"])
