"""What `Recipe.fit` does, on models small enough to be done in seconds."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_effvit import create_model
from keras_effvit.training import TrainingError, arrays, read_run
from keras_effvit.training.heads import logits_of, token_view
from keras_effvit.training.job import Job, Settings
from keras_effvit.training.learner import Learner
from keras_effvit.training.statistics import reestimate
from tests.training import tiny


def fit(model, recipe=tiny.RECIPE, *, count=96, **options):
    options = {"epochs": 2, "batch_size": 16, "verbose": 0, **options}
    return recipe.fit(model, tiny.images(count), tiny.images(30, 1), **options)


def test_a_model_learns_and_a_folder_tells_how(tmp_path):
    model = tiny.model()
    history = fit(model, replace(tiny.RECIPE, learning_rate=3e-2), count=192, epochs=6, folder=tmp_path / "run")
    assert history.history["val_accuracy"][-1] > 0.9
    run = read_run(tmp_path / "run" / "run.json")
    assert run.history() == history.history
    assert run.plan["model"] == "tiny"
    assert run.plan["train"]["classes"] == {"red": 64, "green": 64, "blue": 64}
    assert run.plan["recipe"]["weight_decay"] == 0.05
    assert run.versions["keras"] == keras.__version__
    assert len(run.epochs) == 6
    assert all(epoch.seconds > 0 for epoch in run.epochs)
    assert run.finished is not None
    assert (tmp_path / "run" / "classes.txt").read_text() == "red\ngreen\nblue\n"
    last, best = (keras.models.load_model(tmp_path / "run" / name) for name in ("last.keras", "best.keras"))
    assert tiny.same(tiny.weights(last), tiny.weights(model))
    assert accuracy(last) == pytest.approx(run.final["val_accuracy"])
    assert accuracy(best) == pytest.approx(max(history.history["val_accuracy"]))


def accuracy(model):
    job = Job(tiny.RECIPE, model, tiny.images(96), tiny.images(30, 1), Settings(epochs=1, batch_size=16))
    batches = list(job.validation_data())
    right = [np.argmax(model(x, training=False), -1) == np.argmax(y, -1) for x, y, _ in batches]
    return np.concatenate(right).mean()


class Idle(keras.layers.Layer):
    """Has a weight and does not use it, as windows' attention to each other where there is one window only."""

    def build(self, input_shape):
        self.idle = self.add_weight(name="idle", shape=(3,), initializer="ones")

    def call(self, inputs):
        return inputs


def test_a_weight_that_nothing_depends_on_stays_and_the_others_learn():
    plain = tiny.model()
    model = keras.Model(plain.input, Idle(name="idle")(plain.output))
    before = np.array(plain.get_layer("conv").kernel)
    fit(model, epochs=1)
    np.testing.assert_array_equal(model.get_layer("idle").idle, np.ones(3))
    assert not np.array_equal(plain.get_layer("conv").kernel, before)


def test_a_softmax_and_logits_learn_the_same():
    trained = []
    for activation in ("softmax", None):
        model = tiny.model(activation=activation)
        fit(model)
        trained.append(tiny.weights(model))
    assert tiny.same(*trained)


def test_logits_come_from_any_end():
    image = keras.Input((tiny.SIDE, tiny.SIDE, 3))
    x = keras.layers.Flatten()(image)
    pixels = np.random.default_rng(0).normal(size=(4, tiny.SIDE, tiny.SIDE, 3))
    kernel = np.random.default_rng(1).normal(size=(tiny.SIDE**2 * 3, 3)) / 50
    expected = pixels.reshape(4, -1) @ kernel
    for end in (
        lambda x: dense(x, None),
        lambda x: dense(x, "softmax"),
        lambda x: keras.layers.Softmax()(dense(x, None)),
        lambda x: keras.ops.softmax(dense(x, None)),
    ):
        model = keras.Model(image, end(x))
        model.set_weights([kernel, np.zeros(3)])
        received = np.asarray(logits_of(model)(pixels))
        # Of a softmax only the differences between logits are left.
        np.testing.assert_allclose(
            received - received.mean(-1, keepdims=True), expected - expected.mean(-1, keepdims=True), atol=1e-4
        )
    with pytest.raises(ValueError, match="ends in tanh"):
        logits_of(keras.Model(image, dense(x, "tanh")))
    with pytest.raises(ValueError, match="one output"):
        logits_of(keras.Model(image, {"a": x, "b": x}))
    with pytest.raises(ValueError, match="classifies"):
        logits_of(keras.Model(image, keras.layers.Conv2D(3, 1)(image)))


def dense(x, activation):
    return keras.layers.Dense(3, activation=activation)(x)


def test_parts_of_a_batch_add_up_to_the_batch():
    trained = []
    for accumulate in (1, 4):
        model = tiny.model(norm=False, drop=False)
        fit(model, accumulate=accumulate)
        trained.append(tiny.weights(model))
    for whole, parts in zip(*trained, strict=True):
        # Sums in another order: 12 updates, each a rate of 3e-3 times Adam's quotient, whose terms round at 6e-8.
        np.testing.assert_allclose(parts, whole, atol=12 * 3e-3 * 1e-4)


def test_the_moving_average_is_what_gets_measured_and_kept():
    history, kept = {}, {}
    for ema in (None, 0.99999):
        model = tiny.model()
        history[ema] = fit(model, replace(tiny.RECIPE, ema=ema)).history
        kept[ema] = model
    assert history[None]["loss"] == history[0.99999]["loss"], "the weights that learn are the same"
    assert not tiny.same(tiny.weights(kept[None]), tiny.weights(kept[0.99999]))
    for ema, model in kept.items():
        assert accuracy(model) == pytest.approx(history[ema]["val_accuracy"][-1])


def test_a_teacher_is_followed_against_the_labels():
    teacher = tiny.model(seed=3, drop=False)
    fit(teacher, replace(tiny.RECIPE, learning_rate=3e-2), count=192, epochs=6)
    assert accuracy(teacher) > 0.9
    before = tiny.weights(teacher)
    student = tiny.model(drop=False)
    images = tiny.images(192)
    wrong = arrays(np.stack([images.read(i) for i in range(192)]), (images.labels + 1) % 3, images.classes)
    recipe = replace(tiny.RECIPE, learning_rate=3e-2, teacher_weight=1.0)
    recipe.fit(student, wrong, epochs=6, batch_size=16, teacher=teacher, verbose=0)
    assert accuracy(student) > 0.9
    assert tiny.same(before, tiny.weights(teacher))


def test_lvt_trains_its_tokens_on_the_same_weights():
    options = {"input_shape": (64, 64, 3), "classes": 3, "drop_path_rate": 0.0}
    model = create_model("lvt", **options)
    twin = create_model("lvt", training_outputs=True, **options)
    twin.set_weights(model.get_weights())
    pixels = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype("float32")
    view = token_view(model, 5)
    assert view is not None
    # Both draw the same box: its place is what the seed says.
    twin.get_layer("mix_token").seed_generator.state.assign(view.mix.seed_generator.state)
    received, expected = view(pixels), twin(pixels, training=True)
    assert np.asarray(received["box"]).any()
    for name in expected:
        np.testing.assert_array_equal(received[name], expected[name])
    assert token_view(tiny.model(), 0) is None


def test_statistics_are_the_averages_over_batches():
    model = tiny.model()
    fit(model)
    model.get_layer("norm").moving_mean.assign(np.full(8, 7.0))
    x = np.random.default_rng(0).normal(size=(3, 8, tiny.SIDE, tiny.SIDE, 3)).astype("float32")
    before = tiny.weights(model)
    assert reestimate(model, [(batch, None) for batch in x]) == 24
    stem = keras.Model(model.inputs[0], model.get_layer("stem").output)
    maps = [np.asarray(stem(batch), "float64") for batch in x]
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, np.mean([m.mean((0, 1, 2)) for m in maps], 0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, np.mean([m.var((0, 1, 2)) for m in maps], 0), rtol=1e-4)
    after = tiny.weights(model)
    changed = [not np.array_equal(x, y) for x, y in zip(before, after, strict=True)]
    assert sum(changed) == 2
    assert (norm.momentum, model.get_layer("drop_path").rate) == (0.99, 0.2), "all is as it was"


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_learns_in_float32_weights(precision):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = tiny.model()
        history = fit(model, replace(tiny.FULL, learning_rate=1e-2), epochs=3, accumulate=2)
    finally:
        keras.config.set_dtype_policy(before)
    assert {str(weight.dtype) for weight in model.trainable_variables} == {"float32"}
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_a_loss_that_is_no_number_ends_training_and_leaves_the_last_epoch(tmp_path):
    recipe = replace(tiny.RECIPE, learning_rate=1e20, warmup_rate=1e20, clip=None)
    with pytest.raises(TrainingError, match=r"Expected a finite loss\. Received: (nan|inf) at"):
        fit(tiny.model(), recipe, folder=tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["epochs"] == []
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer. Received: batch_size=0"),
        ({"batch_size": 97}, "`batch_size` must be between 1 and the number of images, 96"),
        ({"accumulate": 3}, "`batch_size` must be a multiple of 3, devices times `accumulate`"),
        ({"epochs": 0}, "`epochs` must be a positive integer. Received: epochs=0"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(tiny.model(), **options)


def test_models_and_images_must_fit():
    model, images = tiny.model(), tiny.images(32)
    four = arrays(np.zeros((4, 32, 32, 3), "uint8"), [0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"Expected a model with 4 classes.*Received: tiny with outputs \(None, 3\)"):
        tiny.RECIPE.fit(model, four)
    with pytest.raises(ValueError, match=r"red, green, blue \(3\)\. Received: 0, 1, 2, 3 \(4\)"):
        tiny.RECIPE.fit(model, images, four)
    anysize = create_model("efficientvit_b0", input_shape=(None, None, 3), classes=3)
    with pytest.raises(ValueError, match="of a known size"):
        tiny.RECIPE.fit(anysize, images)
    with pytest.raises(ValueError, match="Expected a teacher from"):
        tiny.RECIPE.fit(model, images, teacher=create_model("efficientvit_b0", classes=3, input_shape=(64, 64, 3)))
    with pytest.raises(ValueError, match="Expected a functional model"):
        tiny.RECIPE.fit(Learner(model, tiny.RECIPE), images)
