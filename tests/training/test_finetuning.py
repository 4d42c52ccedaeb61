"""Training for integers: the result is closer to the float model than rounding alone, and becomes a file."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_effvit import lite
from keras_effvit.lite.fake_quant import FakeQuant
from keras_effvit.training.heads import logits_of
from keras_effvit.training.job import Job, Settings
from tests.training import tiny


def pixels(model, images):
    job = Job(tiny.RECIPE, model, images, images, Settings(epochs=1, batch_size=16))
    return np.concatenate([np.asarray(x) for x, *_ in job.validation_data()])


def distance(model, graph, x):
    """Mean squared difference of the logits, which is what training is for."""
    logits = [np.asarray(logits_of(each)(x, training=False), "float64") for each in (model, graph)]
    return np.mean((logits[0] - logits[1]) ** 2)


def coarse(model):
    """A model that rounding hurts: in every channel of the first convolution, one weight far larger than the others."""
    kernel = np.array(model.get_layer("conv").kernel)
    kernel[0, 0, 0, :] = 12.0
    model.get_layer("conv").kernel.assign(kernel)
    return model


@pytest.fixture(scope="module")
def trained():
    model = tiny.model()
    recipe = replace(tiny.RECIPE, learning_rate=3e-2)
    recipe.fit(model, tiny.images(192), epochs=6, batch_size=16, verbose=0)
    return coarse(model)


def test_a_model_learns_to_answer_as_it_did_in_float(trained, tmp_path):
    train, val = tiny.images(192), tiny.images(30, 1)
    before = tiny.weights(trained)
    options = {"batch_size": 16, "verbose": 0, "folder": tmp_path}
    recipe = replace(tiny.RECIPE, teacher_weight=1.0)
    graph = recipe.finetune_quantized(trained, train, val, epochs=6, learning_rate=3e-3, **options)
    assert tiny.same(before, tiny.weights(trained)), "the float model is the teacher, and stays"
    x = pixels(trained, val)
    rounded = lite.quantize_aware(trained, calibration=pixels(trained, train))
    assert distance(trained, graph, x) < 0.5 * distance(trained, rounded, x)
    statistics = [np.array(weight) for weight in graph.weights if "moving" in weight.name]
    expected = [np.array(weight) for weight in trained.weights if "moving" in weight.name]
    assert statistics
    assert tiny.same(statistics, expected), "batch normalisation is frozen"

    file = lite.convert(graph)
    assert file.manifest["precision"] == "int8"
    assert file.manifest["calibration"]["method"] == "learnt"
    saved = keras.models.load_model(tmp_path / "last.keras")
    np.testing.assert_array_equal(saved(x, training=False), graph(x, training=False))


def test_labels_are_learnt_too_unless_the_teacher_alone_counts(trained):
    """The coarse model answers badly: who listens to it alone comes closer to it, and no closer to the labels."""
    train = tiny.images(192)
    x, losses, distances = pixels(trained, train), [], []
    for weight in (tiny.RECIPE.teacher_weight, 1.0):
        recipe = replace(tiny.RECIPE, teacher_weight=weight)
        graph = recipe.finetune_quantized(trained, train, epochs=6, learning_rate=3e-3, batch_size=16, verbose=0)
        logits = np.asarray(logits_of(graph)(x, training=False))
        each = keras.losses.sparse_categorical_crossentropy(train.labels, logits, from_logits=True)
        losses.append(float(np.mean(each)))
        distances.append(distance(trained, graph, x))
    assert tiny.RECIPE.teacher_weight == 0.5
    assert losses[0] < 0.9 * losses[1]
    assert distances[1] < distances[0]


def test_ranges_are_seen_on_training_images_before_the_first_step(trained):
    train = tiny.images(48)
    graph = tiny.RECIPE.finetune_quantized(trained, train, epochs=1, learning_rate=1e-12, batch_size=48, verbose=0)
    first = next(layer for layer in graph.layers if isinstance(layer, FakeQuant))
    x = pixels(trained, train)
    # One step follows the extremes of a batch of crops of the same pixels by a hundredth.
    low, high = float(x.min()), float(x.max())
    assert float(first.low) == pytest.approx(low, abs=0.02 * (high - low))
    assert float(first.high) == pytest.approx(high, abs=0.02 * (high - low))


def test_what_rounds_nothing_is_refused(trained):
    with pytest.raises(lite.LiteError, match="quantises something"):
        tiny.RECIPE.finetune_quantized(trained, tiny.images(48), precision="float32", batch_size=48)
