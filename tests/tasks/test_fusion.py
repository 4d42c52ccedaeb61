"""Things over stuff, on an image small enough to say what must come out."""

import numpy as np
import pytest

from keras_effvit.tasks.fusion import fuse
from keras_effvit.tasks.samples import Detections

THINGS, STUFF = 4, 3


def things(*items):
    """(rows, columns, score, label) of rectangles in an image of 20 x 20."""
    masks = np.zeros((len(items), 20, 20), bool)
    for mask, ((top, bottom), (left, right), _, _) in zip(masks, items, strict=True):
        mask[top:bottom, left:right] = True
    boxes = np.array([[c[0], r[0], c[1], r[1]] for r, c, _, _ in items], "float32").reshape(-1, 4)
    scores, labels = (np.array([item[i] for item in items]) for i in (2, 3))
    return Detections(boxes, scores.astype("float32"), labels.astype("int32"), masks)


SEMANTIC = np.zeros((20, 20), "int32")
SEMANTIC[10:] = 1
SEMANTIC[18:, 18:] = 2  # four pixels of it: too few
SEMANTIC[0, :5] = STUFF  # "a thing", where there is none


def fused(*items, least_stuff=10):
    return fuse(things(*items), SEMANTIC, things=THINGS, stuff=STUFF, least_stuff=least_stuff)


def test_the_surest_lies_on_top_and_stuff_fills_the_rest():
    segments = fused(((2, 8), (2, 8), 0.7, 1), ((4, 12), (6, 14), 0.9, 3))
    np.testing.assert_array_equal(segments.labels, [3, 1, THINGS + 0, THINGS + 1])
    expected = np.where(SEMANTIC == 0, 3, np.where(SEMANTIC == 1, 4, 0))
    expected[2:8, 2:8] = 2
    expected[4:12, 6:14] = 1
    np.testing.assert_array_equal(segments.numbers, expected)


def test_what_is_left_out():
    """An unsure thing; one of which better ones cover more than half; one whose box is another's, of whatever class."""
    best = ((2, 12), (2, 12), 0.9, 0)
    for worse in (((14, 18), (2, 8), 0.59, 1), ((6, 13), (1, 9), 0.8, 1), ((2, 12), (3, 12), 0.8, 2)):
        np.testing.assert_array_equal(fused(best, worse).labels, [0, THINGS + 0, THINGS + 1])
    np.testing.assert_array_equal(fused(best, ((8, 18), (8, 16), 0.8, 1)).labels, [0, 1, THINGS + 0, THINGS + 1])


def test_little_stuff_is_void():
    np.testing.assert_array_equal(fused(least_stuff=4).labels, [THINGS, THINGS + 1, THINGS + 2])
    segments = fused(least_stuff=5)
    np.testing.assert_array_equal(segments.labels, [THINGS, THINGS + 1])
    assert (segments.numbers[18:, 18:] == 0).all()
    assert (segments.numbers[0, :5] == 0).all()


def test_things_without_masks():
    found = Detections(np.zeros((1, 4), "float32"), np.ones(1, "float32"), np.zeros(1, "int32"))
    with pytest.raises(ValueError, match=r"Expected things with masks\. Received: masks=None"):
        fuse(found, SEMANTIC, things=THINGS, stuff=STUFF)
