"""Matching by overlap and SimOTA, against loops over single anchors and objects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.tasks.anchors import cells
from keras_effvit.tasks.matching import match, take_rows, take_values
from keras_effvit.tasks.simota import simota
from tests.tasks import by_definition

seeds = st.integers(0, 2**32 - 1)


def matched(anchors, boxes, above, below, least):
    """For every anchor the object's number, -1 for "none", -2 for "never mind"."""
    overlaps = by_definition.ious(boxes, anchors)
    answers = np.full(len(anchors), -1)
    for n in range(len(anchors)):
        best = overlaps[:, n].max(initial=0.0)
        if best >= above:
            answers[n] = overlaps[:, n].argmax()
        elif best >= below:
            answers[n] = -2
    if least is not None:
        claims: dict[int, list[int]] = {}
        for g in range(len(boxes)):
            for n in range(len(anchors)):
                best = overlaps[g].max()
                if overlaps[g, n] >= best - 1e-5 and best >= least and best > 1e-5:  # equal, but for rounding
                    claims.setdefault(n, []).append(g)
        for n, objects in claims.items():
            answers[n] = max(objects, key=lambda g: overlaps[g, n])
    return answers


@given(seed=seeds, rule=st.sampled_from([(0.5, 0.4, 0.0), (0.7, 0.3, 0.3), (0.5, 0.5, None)]), count=st.integers(0, 4))
@settings(max_examples=25, deadline=None)
def test_matching(seed, rule, count):
    rng = np.random.default_rng(seed)
    anchors = by_definition.random_boxes(rng, 20, least=8.0)
    boxes = np.zeros((2, 5, 4), "float32")
    boxes[0, :count] = by_definition.random_boxes(rng, count, least=8.0)
    valid = np.arange(5)[None] < np.array([[count], [0]])
    index, positive, negative = (
        np.asarray(x) for x in match(anchors, boxes, valid, above=rule[0], below=rule[1], least=rule[2])
    )
    received = np.where(positive, index, np.where(negative, -1, -2))
    np.testing.assert_array_equal(received[0], matched(anchors, boxes[0, :count], *rule))
    np.testing.assert_array_equal(received[1], -1)  # nothing in the image: all background


def test_an_object_that_overlaps_no_anchor_well_still_has_its_best():
    anchors = np.array([[0, 0, 100, 100], [0, 0, 50, 50], [200, 200, 300, 300]], "float32")
    boxes = np.array([[[0, 0, 20, 20]]], "float32")
    found = match(anchors, boxes, np.array([[True]]))
    np.testing.assert_array_equal(found.positive, [[False, True, False]])
    found = match(anchors, boxes, np.array([[True]]), least=0.3)
    np.testing.assert_array_equal(found.positive, [[False, False, False]])


def test_anchors_inside_a_crowd_answer_for_nothing():
    anchors = np.array([[0, 0, 10, 10], [6, 0, 16, 10], [40, 40, 50, 50]], "float32")
    boxes = np.array([[[0, 0, 10, 30], [40, 40, 50, 50]]], "float32")
    found = match(anchors, boxes, np.array([[False, True]]), crowd=np.array([[True, False]]))
    np.testing.assert_array_equal(found.positive, [[False, False, True]])
    np.testing.assert_array_equal(found.negative, [[False, True, False]])


def test_rows_by_number():
    rows = np.arange(24, dtype="float32").reshape(2, 4, 3)
    index = np.array([[3, 0], [1, 1]])
    np.testing.assert_array_equal(take_rows(rows, index), np.stack([rows[0][index[0]], rows[1][index[1]]]))
    np.testing.assert_array_equal(take_values(rows[..., 0], index), [[9, 0], [15, 15]])


def cheapest(predicted, probabilities, points, boxes, labels):
    """The paper's algorithm for one image: point -> object, object by object."""
    centres, strides = points[:, :2] + points[:, 2:] / 2, points[:, 2]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = np.array([[b[0] < x < b[2] and b[1] < y < b[3] for x, y in centres] for b in boxes])
    near = np.array(
        [
            [max(abs(x - mx), abs(y - my)) < 2.5 * s for (x, y), s in zip(centres, strides, strict=True)]
            for mx, my in middles
        ]
    )
    pool = np.flatnonzero((inside | near).any(0))
    cost = np.full((len(boxes), len(points)), np.inf)
    overlaps = np.zeros((len(boxes), len(points)))
    for g, box in enumerate(boxes):
        for n in pool:
            overlaps[g, n] = by_definition.iou(box.astype(float), predicted[n].astype(float))
            truth = np.arange(probabilities.shape[1]) == labels[g]
            entropy = -np.log(np.where(truth, probabilities[n], 1 - probabilities[n])).sum()
            outside = 0 if inside[g, n] and near[g, n] else 1e5
            cost[g, n] = entropy - 3 * np.log(overlaps[g, n] + 1e-8) + outside
    wants: dict[int, list[int]] = {}
    for g in range(len(boxes)):
        number = max(1, int(np.sort(overlaps[g])[::-1][:10].sum()))
        for n in np.argsort(cost[g], kind="stable")[:number]:
            if np.isfinite(cost[g, n]):
                wants.setdefault(int(n), []).append(g)
    answers = np.full(len(points), -1)
    for n, objects in wants.items():
        answers[n] = min(objects, key=lambda g: cost[g, n])
    return answers, overlaps


@pytest.mark.parametrize("seed", range(6))
def test_simota(seed):
    rng = np.random.default_rng(seed)
    points = cells((8, 16), [(8, 8), (4, 4)])
    predicted = by_definition.random_boxes(rng, 80, least=8.0)
    middle = points[:, :2] + points[:, 2:] / 2
    predicted += np.tile(middle - (predicted[:, :2] + predicted[:, 2:]) / 2, 2)  # around their own points
    probabilities = rng.uniform(0.05, 0.95, (80, 3)).astype("float32")
    boxes = np.zeros((2, 5, 4), "float32")
    labels = np.full((2, 5), -1)
    boxes[0, :3], labels[0, :3] = by_definition.random_boxes(rng, 3, least=12.0), rng.integers(0, 3, 3)
    found, overlap = simota(
        np.stack([predicted] * 2), np.stack([probabilities] * 2), middle, points[:, 2], boxes, labels
    )
    expected, overlaps = cheapest(predicted, probabilities, points, boxes[0, :3], labels[0, :3])
    positive = np.asarray(found.positive)
    received = np.where(positive, found.index, -1)
    np.testing.assert_array_equal(received[0], expected)
    assert positive[0].sum() >= 3
    assert not positive[1].any()
    assert not np.asarray(overlap)[1].any()
    own = [overlaps[g, n] if g >= 0 else 0 for n, g in enumerate(expected)]
    np.testing.assert_allclose(np.asarray(overlap)[0], own, atol=1e-5)
