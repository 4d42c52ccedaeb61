"""Noise by its formula, and where a file and its model part."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit import create_model, lite
from keras_effvit.lite import LiteError, evaluation
from keras_effvit.lite.comparison import relative_error, snr_db
from tests.lite.conftest import alive, convert, converted, images, model_of


@given(scale=st.floats(1e-3, 1e3), noise=st.floats(1e-4, 1.0))
def test_decibels(scale, noise):
    """A signal with a tenth of its amplitude as noise is 20 dB."""
    signal = scale * np.sin(np.arange(1000))
    noisy = signal * (1 + noise)
    assert snr_db(signal, noisy) == pytest.approx(-20 * np.log10(noise), abs=1e-6)
    assert relative_error(signal, noisy) == pytest.approx(noise, rel=1e-6)


def test_what_is_not_finite_is_no_match():
    assert snr_db(np.ones(3), np.array([1, np.nan, 1])) == float("-inf")
    assert relative_error(np.ones(3), np.array([1, np.inf, 1])) == float("inf")
    assert snr_db(np.ones(3), np.ones(3)) == float("inf")


def test_comparing_a_file_with_its_model():
    parity = lite.compare(
        model_of("efficientvit_b0", 64), converted("efficientvit_b0", "float32", 64).content, images(5, 64)
    )
    assert (parity.images, parity.agreement) == (5, 1.0)
    assert parity.snr_db > 80


def test_the_walk_finds_the_layer_that_was_changed():
    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), classifier_activation=None))
    content = lite.convert(model).content
    before = lite.walk(model, content, images(1, 64)[0])
    assert min(error.snr_db for error in before) > 60
    assert {"stem_conv", "stage2_block1_add", "stage4_block2_attn", "head_norm"} <= {error.layer for error in before}
    model.get_layer("stage3_block2_attn").proj.norm.gamma.assign(np.full(64, 5.0))
    after = lite.walk(model, content, images(1, 64)[0])
    first = next(error for error in after if error.snr_db < 20)
    assert first.layer == "stage3_block2_attn"


def test_the_walk_through_an_int8_file():
    errors = lite.walk(
        model_of("efficientvit_b0", 64), converted("efficientvit_b0", "int8", 64).content, images(1, 64)[0]
    )
    assert len(errors) > 20
    assert all(error.snr_db > 5 for error in errors)


# --- Accuracy over a data set.


@pytest.fixture(scope="module")
def labelled():
    """Images whose labels are Keras' own predictions, but for every fourth."""
    data = images(8, 64)
    labels = np.asarray(model_of("efficientvit_b0", 64)(data)).argmax(-1)
    labels[::4] = (labels[::4] + 500) % 1000
    return list(zip(data, labels, strict=True))


@pytest.fixture(scope="module")
def file():
    return converted("efficientvit_b0", "float32", 64).content


def test_accuracy(labelled, file):
    expected = np.stack([np.asarray(model_of("efficientvit_b0", 64)(image[None]))[0] for image, _ in labelled])
    best = np.argsort(-expected, axis=-1)[:, :5]
    labels = np.array([label for _, label in labelled])
    accuracy = lite.evaluate(file, labelled, verbose=False)
    assert accuracy == lite.Accuracy(8, 0.75, float(np.mean((best == labels[:, None]).any(-1))))
    assert lite.evaluate(file, iter(labelled), processes=2, verbose=False) == accuracy


def test_accuracy_of_a_file_with_integers_at_its_doors(labelled):
    content = convert("efficientvit_b0", 64, "int8", input_type="uint8", output_type="int8").content
    assert lite.evaluate(content, labelled, verbose=False).images == 8


def test_an_interrupted_evaluation_goes_on(labelled, file, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    progress = tmp_path / "progress.json"

    def breaks_off():
        yield from labelled[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lite.evaluate(file, breaks_off(), progress=progress, verbose=False)
    assert json.loads(progress.read_text())["images"] == 4
    seen = []
    again = lite.evaluate(file, (seen.append(1) or pair for pair in labelled), progress=progress, verbose=False)
    assert again == lite.evaluate(file, labelled, verbose=False)
    with pytest.raises(LiteError, match="of another one"):
        lite.evaluate(converted("efficientvit_b0", "int8", 64).content, labelled, progress=progress, verbose=False)
    progress.write_text("[]")
    with pytest.raises(LiteError, match="Expected the progress of an evaluation"):
        lite.evaluate(file, labelled, progress=progress, verbose=False)


def test_nothing_to_evaluate_on(file):
    with pytest.raises(LiteError, match="Expected images to evaluate on"):
        lite.evaluate(file, [], verbose=False)
