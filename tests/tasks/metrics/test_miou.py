import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_effvit.tasks.metrics import Overlap, confusion, overlap


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 3))
def test_counts_and_mean_are_those_of_keras(data, classes, images):
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    maps = lambda elements: data.draw(arrays(np.int32, shape, elements=elements))  # noqa: E731
    truths, guesses = st.sampled_from([*range(classes), 255]), st.integers(0, classes - 1)
    pairs = [(maps(truths), maps(guesses)) for _ in range(images)]
    metric = keras.metrics.MeanIoU(classes, ignore_class=255)
    for truth, predicted in pairs:
        metric.update_state(truth, predicted)
    ours = overlap(pairs, classes)
    np.testing.assert_array_equal(ours.counts, keras.ops.convert_to_numpy(metric.total_cm))
    if ours.counts.sum():
        assert ours.mean == pytest.approx(float(metric.result()), abs=1e-6)
    else:
        assert np.isnan(ours.mean)


def test_by_hand():
    truth = np.array([[0, 0, 1], [1, 1, 255]])
    predicted = np.array([[0, 1, 1], [1, 0, 2]])
    found = overlap([(truth, predicted)], classes=3)
    np.testing.assert_array_equal(found.per_class, [1 / 3, 2 / 4, np.nan])
    assert found.mean == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found.pixel_accuracy == 3 / 5


def test_a_class_that_is_only_predicted_counts():
    assert overlap([(np.zeros((1, 2), int), np.array([[0, 1]]))], classes=2).mean == 0.25


def test_nothing_labelled_is_no_number():
    empty = Overlap(np.zeros((2, 2), np.int64))
    assert np.isnan(empty.mean)
    assert np.isnan(empty.pixel_accuracy)


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [([[0, 1]], [[0], [1]]), ([[0, 2]], [[0, 1]]), ([[0, 1]], [[0, -1]]), ([[0, 1]], [[0, 255]])],
)
def test_what_does_not_fit_is_refused(truth, predicted):
    with pytest.raises(ValueError, match="Received: "):
        confusion(np.array(truth), np.array(predicted), classes=2)
