import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.tasks.metrics import panoptic_quality
from keras_effvit.tasks.samples import Segments
from tests.tasks.arrays import ints

CLASSES, THINGS = 4, 2


def by_definition(pairs):
    """Equation 1 of the paper with sets of pixels: for every class, sum of IoU, TP, FP, FN."""
    sums = np.zeros((CLASSES, 4))
    for truth, predicted in pairs:
        pixels = lambda segments, number: {  # noqa: E731
            tuple(at) for at in np.argwhere(segments.numbers == number + 1).tolist()
        }
        void = {tuple(at) for at in np.argwhere(truth.numbers == 0).tolist()}
        true = [(int(label), pixels(truth, n), bool(truth.crowd[n])) for n, label in enumerate(truth.labels)]
        found = [(int(label), pixels(predicted, n)) for n, label in enumerate(predicted.labels)]
        matched_found = set()
        for label, mine, crowd in true:
            if crowd or not mine:
                continue
            partner = None
            for place, (other_label, other) in enumerate(found):
                union = mine | (other - void)
                if other_label == label and other and len(mine & other) / len(union) > 0.5:
                    partner = place
                    sums[label, 0] += len(mine & other) / len(union)
            if partner is None:
                sums[label, 3] += 1
            else:
                sums[label, 1] += 1
                matched_found.add(partner)
        for place, (label, other) in enumerate(found):
            if place in matched_found or not other:
                continue
            forgiven = void.union(*(mine for kind, mine, crowd in true if crowd and kind == label))
            if len(other & forgiven) / len(other) <= 0.5:
                sums[label, 2] += 1
    return sums


def segments(random, most, crowd):
    labels = random.integers(CLASSES, size=random.integers(0, most + 1)).astype(np.int32)
    coarse = random.integers(0, len(labels) + 1, (3, 3))
    numbers = np.kron(coarse, np.ones((2, 2), int)).astype(np.int32)
    return Segments(numbers, labels, (random.random(len(labels)) < 0.25) & crowd)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_the_papers_definition(seed, images):
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(images):
        truth = segments(random, 4, crowd=True)
        if random.integers(2):  # nearly right
            numbers = truth.numbers.copy()
            numbers[random.random(numbers.shape) < 0.2] = 0
            pairs.append((truth, Segments(numbers, truth.labels)))
        else:
            pairs.append((truth, segments(random, 4, crowd=False)))
    ours, expected = panoptic_quality(pairs, CLASSES, THINGS), by_definition(pairs)
    np.testing.assert_allclose(ours.iou, expected[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(np.stack([ours.matched, ours.invented, ours.missed], axis=1), expected[:, 1:])


def test_by_hand():
    """A thing found at 3/4, one missed, one invented; stuff found whole: SQ, RQ and PQ of the paper."""
    truth = Segments(ints([[1, 1, 1, 1, 2, 2, 3, 3]]), ints([0, 0, 3]))
    predicted = Segments(ints([[1, 1, 1, 0, 2, 0, 3, 3]]), ints([0, 1, 3]))
    found = panoptic_quality([(truth, predicted)], CLASSES, THINGS)
    np.testing.assert_allclose(found.segmentation, [0.75, np.nan, np.nan, 1])
    np.testing.assert_allclose(found.recognition, [1 / 1.5, 0, np.nan, 1])
    np.testing.assert_allclose(found.per_class, [0.5, 0, np.nan, 1])
    assert found.mean == 0.5
    assert found.mean_of_things == 0.25
    assert found.mean_of_stuff == 1


def test_what_does_not_fit_is_refused():
    one = Segments(np.ones((1, 2), np.int32), ints([0]))
    with pytest.raises(ValueError, match="Expected a prediction of the truth's size"):
        panoptic_quality([(one, Segments(np.ones((2, 1), np.int32), ints([0])))], 2, 1)
    with pytest.raises(ValueError, match="Received: 0 to 7"):
        panoptic_quality([(one, Segments(np.ones((1, 2), np.int32), ints([7])))], 2, 1)
    with pytest.raises(ValueError, match="Expected `numbers` of segments"):
        Segments(np.ones((2, 2), np.int32), np.zeros(0, np.int32))


def test_nothing_at_all():
    nothing = Segments(np.zeros((2, 2), np.int32), np.zeros(0, np.int32))
    assert np.isnan(panoptic_quality([(nothing, nothing)], CLASSES, THINGS).mean)
