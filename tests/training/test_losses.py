"""Losses, against what the authors' code computed, against numpy, and against Keras' own."""

import json

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keras_effvit.training import losses
from tests.parity import DATA, draw

GOLDEN = json.loads((DATA / "lvt_losses.json").read_text())["values"]


def numpy_softmax(x, axis):
    shares = np.exp(x - x.max(axis, keepdims=True))
    return shares / shares.sum(axis, keepdims=True)


def golden_inputs(targets, box):
    outputs = {
        "logits": draw("loss_x_cls", (2, 10)),
        "aux_logits": draw("loss_x_aux", (2, 49, 10)),
        "box": np.array([box, box]),
    }
    if targets == "target3d":
        return numpy_softmax(2 * draw("loss_target", (2, 10, 51)), 1), outputs
    return numpy_softmax(draw("loss_target2", (2, 10)), 1), outputs


@pytest.mark.parametrize("name", [name for name in GOLDEN if name.startswith("Token")])
def test_token_labelling_is_the_authors(name):
    kind, _, _, targets, box = name.replace(", ", ",").split()
    labels, outputs = golden_inputs(targets, json.loads(box.removeprefix("bbox").replace("(", "[").replace(")", "]")))
    loss = losses.token_labelling(labels, outputs, ground_truth="GT" in kind)
    assert float(keras.ops.mean(loss)) == pytest.approx(GOLDEN[name], abs=1e-5)


def test_soft_cross_entropy_is_the_authors():
    labels, outputs = golden_inputs("target2d", (0, 0, 0, 0))
    loss = losses.softmax_cross_entropy(labels, outputs["logits"])
    assert float(keras.ops.mean(loss)) == pytest.approx(GOLDEN["SoftTargetCrossEntropy"], abs=1e-5)


def test_the_truth_must_be_there_to_be_blended():
    labels, outputs = golden_inputs("target2d", (0, 0, 0, 0))
    with pytest.raises(ValueError, match="that hold the truth"):
        losses.token_labelling(labels, outputs, ground_truth=True)


logits = st.lists(st.floats(-80, 80, width=32), min_size=2, max_size=6)


@given(logits, st.integers(0, 5), st.floats(0, 1))
def test_cross_entropies_are_those_of_keras(numbers, label, share):
    scores = np.array([numbers], "float32")
    classes = scores.shape[-1]
    targets = np.eye(classes, dtype="float32")[[label % classes]]
    softened = losses.smooth(targets, share)
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=share)(targets, scores)
    received = losses.softmax_cross_entropy(softened, scores)
    np.testing.assert_allclose(received, [expected], rtol=1e-5, atol=1e-5)
    expected = keras.losses.BinaryCrossentropy(from_logits=True)(softened, scores)
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(softened, scores), [expected], rtol=1e-5, atol=1e-5)


def test_half_precision_logits_are_not_summed_in_half_precision():
    scores = np.full((1, 4096), 8.0, "float16")
    targets = np.full((1, 4096), 1 / 4096, "float32")
    received = losses.softmax_cross_entropy(targets, keras.ops.convert_to_tensor(scores))
    np.testing.assert_allclose(received, [np.log(4096)], rtol=1e-6)


@example([0.0, 5.2128302872883195e-43], 0.5)
@given(logits, st.sampled_from([0.5, 1.0, 4.0]))
def test_distillation_is_the_divergence_of_the_softmaxes(numbers, temperature):
    teacher = np.array([numbers], "float64")
    student = np.roll(teacher, 1)
    p, q = numpy_softmax(teacher / temperature, -1), numpy_softmax(student / temperature, -1)
    # A float32 logarithm of a softmax is right to about its largest term's rounding, 80 / 0.5 * 6e-8.
    divergence = temperature**2 * np.sum(np.where(p > 0, p * (np.log(p) - np.log(q)), 0), axis=-1)
    received = losses.distillation(teacher, student, temperature)
    np.testing.assert_allclose(received, divergence, rtol=1e-4, atol=1e-4 * temperature**2)
    squared = np.mean((teacher - student) ** 2, axis=-1)
    smallest = float(np.finfo("float32").tiny)  # a square below it is nothing
    np.testing.assert_allclose(losses.distillation(teacher, student, None), squared, rtol=1e-5, atol=smallest)
