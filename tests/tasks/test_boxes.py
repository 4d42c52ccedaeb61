"""Overlaps and coding of boxes, against their definitions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.tasks import boxes
from tests.tasks import by_definition

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_overlaps(seed):
    rng = np.random.default_rng(seed)
    a, b = by_definition.random_boxes(rng, 5), by_definition.random_boxes(rng, 5)
    pairs = [(x, y) for x, y in zip(a.astype(float), b.astype(float), strict=True)]
    np.testing.assert_allclose(boxes.pairwise_iou(a, b), by_definition.ious(a, b), atol=1e-5)
    np.testing.assert_allclose(boxes.iou(a, b), [by_definition.iou(x, y) for x, y in pairs], atol=1e-5)
    np.testing.assert_allclose(boxes.giou(a, b), [by_definition.giou(x, y) for x, y in pairs], atol=1e-5)
    np.testing.assert_allclose(boxes.area(a), [by_definition.size(x) for x in a.astype(float)], rtol=1e-5)


def test_overlaps_of_nothing():
    """A box without an area overlaps nothing, itself included; a box inside out has none."""
    box = np.array([[0.0, 0, 4, 4], [2, 2, 2, 2], [3, 3, 1, 1]], "float32")
    overlaps = np.asarray(boxes.pairwise_iou(box, box))
    assert overlaps[0, 0] == 1
    assert not overlaps[1:].any()
    assert not overlaps[:, 1:].any()
    apart = np.asarray(boxes.giou(box[:1], np.array([[96.0, 96, 100, 100]], "float32")))
    np.testing.assert_allclose(apart, [-(100 * 100 - 32) / 100**2], rtol=1e-5)


def test_many_images_at_once():
    rng = np.random.default_rng(0)
    a = by_definition.random_boxes(rng, 12).reshape(3, 4, 4)
    b = by_definition.random_boxes(rng, 15).reshape(3, 5, 4)
    together = np.asarray(boxes.pairwise_iou(a, b))
    assert together.shape == (3, 4, 5)
    for image in range(3):
        np.testing.assert_allclose(together[image], by_definition.ious(a[image], b[image]), atol=1e-5)


@given(seed=seeds, stds=st.sampled_from([(1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.2, 0.2)]))
@settings(max_examples=15, deadline=None)
def test_coding(seed, stds):
    rng = np.random.default_rng(seed)
    box, anchor = by_definition.random_boxes(rng, 6), by_definition.random_boxes(rng, 6, least=4.0)
    coded = np.asarray(boxes.encode(box, anchor, stds))
    for i, (b, a) in enumerate(zip(box.astype(float), anchor.astype(float), strict=True)):
        sides, anchor_sides = b[2:] - b[:2], a[2:] - a[:2]
        way = ((b[:2] + b[2:]) / 2 - (a[:2] + a[2:]) / 2) / anchor_sides
        expected = np.concatenate([way, np.log(sides / anchor_sides)]) / stds
        np.testing.assert_allclose(coded[i], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(boxes.decode(coded, anchor, stds), box, atol=1e-2)


def test_a_wild_network_cannot_overflow():
    anchor = np.array([[0.0, 0, 16, 16]], "float32")
    huge = np.asarray(boxes.decode(np.array([[0.0, 0, 1e4, 1e4]], "float32"), anchor))[0]
    np.testing.assert_allclose(huge[2:] - huge[:2], [1000, 1000], rtol=1e-4)
    np.testing.assert_array_equal(boxes.clip(huge[None], 30, 40), [[0, 0, 40, 30]])
