"""From raw heads to boxes: numpy against loops, the layer against numpy."""

import keras
import numpy as np
import pytest

from keras_effvit.tasks.anchors import RETINANET_ANCHORS, anchors, cells
from keras_effvit.tasks.decoding import decode_detections, decode_retinanet, decode_yolox, paste_masks
from keras_effvit.tasks.detecting import Detect
from keras_effvit.tasks.raw_heads import geometry
from tests.tasks import by_definition
from tests.tasks.test_detection_losses import CLASSES, SIDE, flat, heads

LEAST, THRESHOLD, MOST = 0.25, 0.5, 15


def boxes_of(kind, outputs, image):
    """Every candidate of an image: (box, score, class)."""
    strides, sizes = geometry(outputs, SIDE, SIDE)
    scores = by_definition.sigmoid(flat(outputs, "class", image, CLASSES))
    numbers = flat(outputs, "box", image, 4)
    found = []
    if kind == "yolox":
        scores = scores * by_definition.sigmoid(flat(outputs, "object", image, 1))
        for (x, y, stride), (dx, dy, w, h), score in zip(cells(strides, sizes), numbers, scores, strict=True):
            middle, half = np.array([x + dx * stride, y + dy * stride]), np.exp([w, h]) * stride / 2
            label = int(score.argmax())
            found.append((np.concatenate([middle - half, middle + half]), score[label], label))
        return found
    for anchor, (dx, dy, w, h), score in zip(anchors(RETINANET_ANCHORS, strides, sizes), numbers, scores, strict=True):
        sides = anchor[2:] - anchor[:2]
        middle, half = (anchor[:2] + anchor[2:]) / 2 + [dx, dy] * sides, np.exp([w, h]) * sides / 2
        found += [(np.concatenate([middle - half, middle + half]), score[k], k) for k in range(CLASSES)]
    return found


def expected_of(kind, outputs, image):
    found = [(np.clip(box, 0, SIDE), score, label) for box, score, label in boxes_of(kind, outputs, image)]
    good = [item for item in found if item[1] > LEAST and by_definition.size(item[0]) > 0]
    boxes = np.array([item[0] for item in good])
    scores, labels = np.array([item[1] for item in good]), np.array([item[2] for item in good])
    kept = by_definition.greedy(boxes, scores, THRESHOLD, labels)[:MOST]
    return boxes[kept], scores[kept], labels[kept]


KINDS = {
    "yolox": (decode_yolox, {"class": CLASSES, "box": 4, "object": 1}, ["P3", "P4", "P5"]),
    "retinanet": (decode_retinanet, {"class": 9 * CLASSES, "box": 36}, ["P4", "P5"]),
}
OPTIONS = {"least_score": LEAST, "threshold": THRESHOLD, "most": MOST}


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_does_what_the_definitions_say(kind):
    decode, widths, names = KINDS[kind]
    outputs = heads(np.random.default_rng(0), widths, names)
    found = decode(outputs, (SIDE, SIDE), **OPTIONS)
    for image in range(2):
        boxes, scores, labels = expected_of(kind, outputs, image)
        assert len(scores) == MOST
        np.testing.assert_allclose(found[image].boxes, boxes, atol=1e-3)
        np.testing.assert_allclose(found[image].scores, scores, atol=1e-5)
        np.testing.assert_array_equal(found[image].labels, labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("least", [LEAST, 0.55, 0.99])
def test_the_layer_does_what_numpy_does(kind, least):
    """With more candidates than places, with fewer, and with none."""
    decode, widths, names = KINDS[kind]
    outputs = heads(np.random.default_rng(1), widths, names)
    layer = Detect(kind, (SIDE, SIDE), **{**OPTIONS, "least_score": least}, candidates=2000)
    received = {k: np.asarray(v) for k, v in layer(outputs).items()}
    assert received["boxes"].shape == (2, MOST, 4)
    for image, found in enumerate(decode(outputs, (SIDE, SIDE), **{**OPTIONS, "least_score": least})):
        count = len(found.scores)
        np.testing.assert_allclose(received["boxes"][image, :count], found.boxes, atol=1e-3)
        np.testing.assert_allclose(received["scores"][image, :count], found.scores, atol=1e-5)
        np.testing.assert_array_equal(received["labels"][image, :count], found.labels)
        assert not received["scores"][image, count:].any()
        assert (received["labels"][image, count:] == -1).all()


def test_the_layer_is_saved_with_a_model():
    layer = Detect("yolox", (SIDE, SIDE), most=7, candidates=30)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    with pytest.raises(ValueError, match=r"`kind` must be one of \('yolox', 'retinanet'\). Received: kind='ssd'"):
        Detect("ssd", (SIDE, SIDE))  # type: ignore[arg-type]


def test_pasted_masks():
    """Every pixel's middle, looked up between the nearest values of the mask; what is around the mask is 0."""
    rng = np.random.default_rng(0)
    masks = rng.uniform(0, 1, (2, 5, 5))
    boxes = np.array([[3.3, 2.5, 15.1, 19.9], [-4, 10, 40, 22.0]])
    pasted = paste_masks(masks, boxes, (24, 20))
    for mask, (x0, y0, x1, y1), received in zip(np.pad(masks, ((0, 0), (1, 1), (1, 1))), boxes, pasted, strict=True):
        for row in range(24):
            for column in range(20):
                y, x = (row + 0.5 - y0) / (y1 - y0) * 5 + 0.5, (column + 0.5 - x0) / (x1 - x0) * 5 + 0.5
                value = 0.0
                if 0 <= y < 6 and 0 <= x < 6:
                    i, j, dy, dx = int(y), int(x), y % 1, x % 1
                    value = (1 - dy) * ((1 - dx) * mask[i, j] + dx * mask[i, j + 1])
                    value += dy * ((1 - dx) * mask[i + 1, j] + dx * mask[i + 1, j + 1])
                assert received[row, column] == (value >= 0.5), (row, column)


def test_a_batch_of_two_stages():
    outputs = {
        "boxes": np.array([[[0, 0, 8, 8], [4, 4, 12, 12], [0, 0, 0, 0]]], "float32"),
        "scores": np.array([[0.9, 0.2, 0.0]], "float32"),
        "labels": np.array([[1, 0, -1]], "int32"),
        "masks": np.ones((1, 3, 4, 4), "float32"),
    }
    (found,) = decode_detections(outputs, (16, 16))
    np.testing.assert_array_equal(found.labels, [1, 0])
    assert found.masks is not None
    expected = np.zeros((16, 16), bool)
    expected[:8, :8] = True
    np.testing.assert_array_equal(found.masks[0], expected)
