"""Non-maximum suppression, against the greedy loop it is named after."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.tasks.nms import nms
from tests.tasks import by_definition


def distinct_scores(rng, count):
    return (rng.permutation(count) + 1).astype("float32") / (count + 1)


@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7]), classes=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_keeps_what_the_greedy_loop_keeps(seed, threshold, classes):
    rng = np.random.default_rng(seed)
    boxes = np.stack([by_definition.random_boxes(rng, 24, side=32) for _ in range(2)])
    scores = np.stack([distinct_scores(rng, 24) for _ in range(2)])
    labels = rng.integers(0, classes, (2, 24))
    kept = nms(boxes, scores, labels, threshold=threshold, most=24)
    for image in range(2):
        expected = by_definition.greedy(boxes[image].astype(float), scores[image], threshold, labels[image])
        there = np.asarray(kept.scores)[image] > 0
        np.testing.assert_array_equal(np.asarray(kept.index)[image][there], expected)
        np.testing.assert_array_equal(np.asarray(kept.boxes)[image][there], boxes[image][expected])
        np.testing.assert_array_equal(
            np.asarray(kept.labels)[image], [*labels[image][expected], *[-1] * (24 - sum(there))]
        )


def test_a_long_chain():
    """Every box suppresses the next one, so every second stays: the slowest case of the fixed point."""
    start = 2.0 * np.arange(40)
    boxes = np.stack([start, 0 * start, start + 5, 0 * start + 5], axis=1)[None].astype("float32")
    scores = np.linspace(1, 0.5, 40, dtype="float32")[None]
    kept = nms(boxes, scores, threshold=0.4, most=40)
    assert by_definition.greedy(boxes[0].astype(float), scores[0], 0.4) == list(range(0, 40, 2))
    np.testing.assert_array_equal(np.asarray(kept.index)[0, :20], np.arange(0, 40, 2))


def test_limits():
    rng = np.random.default_rng(3)
    boxes = by_definition.random_boxes(rng, 30, side=1000)[None]
    scores = distinct_scores(rng, 30)[None]
    kept = nms(boxes, scores, threshold=0.99, most=5, candidates=20, least_score=0.5)
    np.testing.assert_array_equal(kept.index[0], np.argsort(-scores[0])[:5])
    few = nms(boxes, scores, threshold=0.99, most=50, least_score=0.9)
    assert few.boxes.shape == (1, 50, 4)
    assert int((np.asarray(few.scores) > 0).sum()) == int((scores > 0.9).sum())
    np.testing.assert_array_equal(np.asarray(few.labels)[0, 3:], -1)


@pytest.mark.parametrize("empty", [0.0, 0.01])
def test_an_image_without_boxes(empty):
    kept = nms(np.zeros((1, 4, 4), "float32"), np.full((1, 4), empty, "float32"), least_score=0.05, most=3)
    assert not np.asarray(kept.scores).any()
    np.testing.assert_array_equal(kept.labels, [[-1, -1, -1]])
    assert keras.ops.shape(kept.boxes) == (1, 3, 4)
