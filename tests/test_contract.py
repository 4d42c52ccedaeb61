"""What every model of the zoo promises, whatever family it is of.

What a row of a family's table could break with its widths and depths is asked of every model. What is a family's own
code, or the zoo's, is asked of the cheapest model of every family: the others run the same lines with other numbers.
"""

import functools
import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_effvit
from keras_effvit import create_backbone, create_model, layers, list_models, preprocess_input

# Large enough that SepViT has several windows wherever it attends between them, small enough to be quick.
SIZE = (128, 160, 3)
CLASSES = 5
STRIDES = {"P2": 4, "P3": 8, "P4": 16, "P5": 32}
MODELS = list_models()
#: One of every family, the cheapest.
CHEAPEST = ["sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_base", "efficientvit_b0"]


def models(names):
    """Parametrises a test; with several workers, a model's tests share one and what it has built."""
    return pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names])


every_model, every_family = models(MODELS), models(CHEAPEST)


def images(shape=SIZE, batch=2):
    return np.random.default_rng(0).standard_normal((batch, *shape)).astype("float32")


def small(name, **options):
    return create_model(name, **{"input_shape": SIZE, "classes": CLASSES, **options})


def scatter(model, seed=0):
    """Random weights that keep a signal alive: no zero scale, no dead branch."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.standard_normal(weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            value = 1 + 0.1 * np.abs(value)
        elif weight.name == "kernel":
            fan_in = np.prod(weight.shape[:2] if weight.shape[-1] == 1 else weight.shape[:-1])
            value = value / np.sqrt(fan_in)
        else:
            value = 0.1 * value
        weight.assign(value)
    return model


@functools.cache
def reference(name):
    """A small classifier with scattered weights that the tests only look at, and its logits of `images()`."""
    model = scatter(small(name, classifier_activation=None))
    return model, np.asarray(model(images()))


def softmax(logits):
    return np.asarray(keras.ops.softmax(logits))


def with_weights_of(source, model):
    model.set_weights(source.get_weights())
    return model


def constructor(name):
    """By its exported name: `model_info` would build the model at 224 to count in it."""
    titles = {title.lower(): title for title in keras_effvit.__all__}
    return getattr(keras_effvit, titles[name.replace("_", "")])


@every_model
def test_gives_probabilities(name):
    model, logits = reference(name)
    y = np.asarray(with_weights_of(model, small(name))(images()))
    np.testing.assert_allclose(y, softmax(logits), atol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)
    assert model.name == name
    paths = [w.path for w in model.weights]
    assert len(set(paths)) == len(paths)


@every_model
def test_the_image_reaches_the_logits(name):
    """Images differ, and so must what is said of them; a dead branch or a broken normalisation would hide them."""
    _, logits = reference(name)
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


@every_model
def test_a_new_model(name):
    """No two kernels start alike, as they do where layers share one of Keras' initialisers; the drop rate rises."""
    model = small(name, drop_path_rate=0.4)
    kernels = [np.asarray(w) for w in model.weights if w.name == "kernel"]
    starts = {kernel.ravel()[:8].tobytes() for kernel in kernels}
    assert len(starts) == len(kernels)
    rates = [layer.rate for layer in model._flatten_layers() if isinstance(layer, layers.DropPath)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.4)


@every_family
def test_what_is_never_dropped_is_no_layer(name):
    model = small(name, drop_path_rate=0.0)
    assert not any(isinstance(layer, layers.DropPath) for layer in model._flatten_layers())


@every_model
def test_the_constructor_is_exported_with_its_signature(name):
    build = constructor(name)
    parameters = inspect.signature(build).parameters
    assert list(parameters)[:4] == ["include_top", "weights", "input_tensor", "input_shape"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    for parameter in parameters:
        assert f"{parameter}:" in build.__doc__


@every_family
def test_any_size_or_a_clear_error(name):
    if name.startswith("sepvit"):  # the one family whose parameters depend on the size
        with pytest.raises(ValueError, match="needs a fixed height and width"):
            small(name, input_shape=(None, None, 3))
        return
    model, logits = reference(name)
    any_size = with_weights_of(model, small(name, input_shape=(None, None, 3), classifier_activation=None))
    np.testing.assert_allclose(any_size(images()), logits, atol=1e-5)
    for shape in ((65, 97, 3), (32, 32, 3)):
        fixed = with_weights_of(model, small(name, input_shape=shape, classifier_activation=None))
        np.testing.assert_allclose(any_size(images(shape)), fixed(images(shape)), atol=1e-5)


@every_family
@pytest.mark.parametrize("shape", [(32, 32, 3), (33, 75, 1), (64, 32, 4)])
def test_smallest_odd_and_many_channelled_inputs(name, shape):
    y = np.asarray(small(name, input_shape=shape)(images(shape)))
    assert y.shape == (2, CLASSES)
    assert np.isfinite(y).all()


@every_family
def test_feature_extraction(name):
    features = scatter(small(name, include_top=False))
    x = images()
    y = np.asarray(features(x))
    assert y.shape[:3] == (2, 4, 5)
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        pooled = with_weights_of(features, small(name, include_top=False, pooling=pooling))
        np.testing.assert_allclose(pooled(x), reduce(y, axis=(1, 2)), atol=1e-5, rtol=1e-5)


@every_family
@pytest.mark.parametrize("dense", [False, True])
def test_backbone_levels(name, dense):
    height, width, _ = shape = (65, 97, 3)
    maps = create_backbone(name, shape, dense=dense)(images(shape))
    assert {"P3", "P4", "P5"} <= set(maps)
    for level, features in maps.items():
        assert tuple(features.shape[1:3]) == (-(-height // STRIDES[level]), -(-width // STRIDES[level]))


@every_family
def test_chosen_levels_in_the_order_asked_for(name):
    assert list(create_backbone(name, SIZE, levels=("P4", "P3"))(images())) == ["P4", "P3"]


@every_model
def test_gradients_reach_every_weight(name):
    import tensorflow as tf

    model, _ = reference(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images(), training=False) ** 2)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    without = [
        w.path
        for w, g in zip(model.trainable_weights, gradients, strict=True)
        if g is None or not 0 < np.abs(np.asarray(g)).max() < np.inf
    ]
    assert without == []


def check_mixed_precision(name, policy, tolerance):
    exact, logits = reference(name)
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        mixed = with_weights_of(exact, small(name))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert all(w.dtype == "float32" for w in mixed.trainable_weights)
    y = np.asarray(mixed(images()))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, softmax(logits), atol=tolerance)


@every_model
def test_mixed_float16(name):
    """Whose range a deep or wide model could leave."""
    check_mixed_precision(name, "mixed_float16", 0.02)


@every_family
def test_mixed_bfloat16(name):
    check_mixed_precision(name, "mixed_bfloat16", 0.1)


@every_family
def test_compiled_with_xla(name):
    exact, logits = reference(name)
    model = with_weights_of(exact, small(name))
    model.compile(jit_compile=True)
    np.testing.assert_allclose(model.predict(images(), verbose=0), softmax(logits), atol=1e-5)


@every_family
def test_learns(name):
    """Two images, two labels, a few small steps without chance in them: the loss falls."""
    keras.utils.set_random_seed(0)
    model = small(name, drop_path_rate=0.0)
    # Eager, because tracing the gradients of the large models takes longer than running them.
    model.compile(keras.optimizers.AdamW(1e-4), "sparse_categorical_crossentropy", run_eagerly=True)
    losses = [model.train_on_batch(images(), np.array([0, 1])) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@every_family
def test_clone(name):
    model, logits = reference(name)
    clone = with_weights_of(model, keras.models.clone_model(model))
    np.testing.assert_array_equal(clone(images()), logits)
    assert [w.path for w in clone.weights] == [w.path for w in model.weights]


@every_family
def test_scales_pixels_inside(name):
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SIZE), dtype=np.uint8)
    outside, _ = reference(name)
    inside = with_weights_of(outside, small(name, include_preprocessing=True, classifier_activation=None))
    np.testing.assert_allclose(inside(pixels), outside(preprocess_input(pixels)), atol=1e-4)


@every_family
def test_builds_on_a_given_tensor(name):
    plain, logits = reference(name)
    image = keras.Input(SIZE)
    halved = keras.layers.Rescaling(0.5)(image)
    model = small(name, input_shape=None, input_tensor=halved, classifier_activation=None)
    np.testing.assert_allclose(with_weights_of(plain, model)(2 * images()), logits, atol=1e-5)


LOADER = """
import sys
import numpy as np
import keras
import keras_effvit
x = np.load("x.npy")
whole = keras.models.load_model("model.keras")
options = dict(input_shape=x.shape[1:], classes=whole.output_shape[-1], classifier_activation=None)
weights = keras_effvit.create_model(sys.argv[1], weights="model.weights.h5", **options)
np.save("y.npy", np.stack([whole(x), weights(x)]))
"""


@every_family
def test_saved_models_load_in_a_fresh_process(name, tmp_path):
    """Which imports nothing but Keras and this package."""
    model, logits = reference(name)
    np.save(tmp_path / "x.npy", images())
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    subprocess.run([sys.executable, "-c", LOADER, name], check=True, cwd=tmp_path)
    for loaded in np.load(tmp_path / "y.npy"):
        np.testing.assert_allclose(loaded, logits, atol=1e-6)


@every_family
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (16, 16, 3)}, r"`input_shape` must be at least 32x32. Received: input_shape=\(16, 16, 3\)"),
        ({"input_shape": (224, 224)}, r"`input_shape` must be \(height, width, channels\). Received: .*\(224, 224\)"),
        ({"classes": 0}, r"`classes` must be a positive integer. Received: classes=0"),
        ({"weights": "nope"}, r"`weights` must be None or the path of .*Received: weights='nope'"),
        ({"pooling": "mean"}, r"`pooling` must be None, \"avg\" or \"max\". Received: pooling='mean'"),
        ({"drop_path_rate": 1.5}, r"`drop_path_rate` must be in \[0, 1\). Received: drop_path_rate=1.5"),
        ({"include_preprocessing": True, "input_shape": (64, 64, 4)}, r"needs 3 channels. Received: .*\(64, 64, 4\)"),
    ],
)
def test_wrong_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)


@every_model
def test_a_typo_names_the_constructor_and_what_it_takes(name):
    title = constructor(name).__name__
    with pytest.raises(ValueError, match=rf"{title}\(\) got unexpected argument\(s\) \['clases'\]; valid: .*'classes'"):
        constructor(name)(clases=10)


@every_family
def test_weights_of_another_class_count(name, tmp_path):
    path = str(tmp_path / "five.weights.h5")
    reference(name)[0].save_weights(path)
    with pytest.raises(ValueError, match=r"`weights` must hold the weights of this model.*Received: weights=.*five"):
        small(name, classes=7, weights=path)


@every_family
def test_a_whole_model_of_another_class_count(name, tmp_path):
    path = str(tmp_path / "five.keras")
    reference(name)[0].save(path)
    with pytest.raises(ValueError, match=r"`weights` must hold the weights of this model.*Received: weights=.*five"):
        small(name, classes=7, weights=path)
    again = small(name, weights=path)
    np.testing.assert_array_equal(again.get_weights()[-1], reference(name)[0].get_weights()[-1])


@every_family
def test_an_unknown_level_is_refused(name):
    with pytest.raises(ValueError, match=r"`levels` must be taken from \[.*'P5'\]. Received: levels=\('P5', 'P9'\)"):
        create_backbone(name, SIZE, levels=("P5", "P9"))
