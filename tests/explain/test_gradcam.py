"""Heat against its definition, and on models of which everybody can see where the heat must be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_effvit import create_model, list_models, preprocess_input
from keras_effvit.explain import METHODS, heatmap, map_layers
from keras_effvit.explain.pictures import picture_for
from keras_effvit.samples import sample_image
from tests.explain.colours import GREEN, RED, colour_layers, colour_model, colour_weights, scene

SHAPE = (64, 64, 3)


def alive(model, seed=0):
    """Weights of a size at which a signal stays one."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel":
            fan_in = np.prod(weight.shape[:2] if weight.shape[-1] == 1 else weight.shape[:-1])
            weight.assign(rng.normal(0, (1.5 / fan_in) ** 0.5, weight.shape))
        elif weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def image(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def gradcam_by_hand(model, x, layer, logits, target):
    """A map's channels, each times the mean gradient of a class' logit, added up; what is below zero left out."""
    both = keras.Model(model.inputs, [model.get_layer(layer).output, model.get_layer(logits).output])
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(x[None]))
        found, scores = both(x, training=False)
        score = scores[0, target]
    weights = np.asarray(tape.gradient(score, found))[0].mean(axis=(0, 1))
    return np.maximum((np.asarray(found)[0] * weights).sum(axis=-1), 0)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        pytest.param("sepvit_lite", "stage3_block6_mlp_add", marks=pytest.mark.slow),
        pytest.param("lightvit_tiny", "stage2_block6_mlp_add", marks=pytest.mark.slow),  # tokens go another way
        ("efficientvit_b0", "stage3_block2_mbconv_add"),
    ],
)
def test_gradcam_is_what_its_authors_define(name, layer):
    model, x = alive(create_model(name, input_shape=SHAPE, classes=5)), image()
    found = heatmap(model, x, target=3)
    expected = gradcam_by_hand(model, x, layer, "head", 3)
    assert (found.layer, found.target, found.raw.shape) == (layer, 3, (4, 4))
    np.testing.assert_allclose(found.raw, expected, rtol=1e-3, atol=1e-6 * np.abs(expected).max())
    probabilities = np.asarray(model(x[None]))[0]
    assert found.probability == pytest.approx(probabilities[3], rel=1e-4)


def test_gradcam_where_something_goes_past_the_map():
    """As LightViT's tokens do: they count for the answer, and not for the map's gradient."""
    inputs = keras.Input((16, 16, 3))
    early = keras.layers.Conv2D(4, 3, activation="tanh", name="early")(inputs)
    late = keras.layers.Conv2D(6, 3, activation="tanh", name="late")(early)
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in (early, late)]
    both = keras.layers.Concatenate()([*pooled, keras.layers.Dense(3)(pooled[0] * 2.0)])
    model = keras.Model(inputs, keras.layers.Dense(4, "softmax")(keras.layers.Dense(4, name="logits")(both)))
    model = keras.Model(inputs, keras.layers.Softmax()(model.get_layer("logits").output))
    x = image((16, 16, 3))
    for layer in ("early", "late"):
        expected = gradcam_by_hand(model, x, layer, "logits", 2)
        np.testing.assert_allclose(heatmap(model, x, target=2, layer=layer).raw, expected, rtol=1e-4, atol=1e-7)


def test_score_cam_is_what_its_authors_define():
    """A channel's share is what the class becomes when only that channel's part of the image is left."""
    model, x = colour_model(), scene()
    channels = np.asarray(keras.Model(model.inputs, model.get_layer("colours").output)([x[None]]))[0]
    low, high = channels.min(axis=(0, 1)), channels.max(axis=(0, 1))
    masks = (channels - low) / (high - low + keras.config.epsilon())
    parts = np.stack([x * masks[..., channel : channel + 1] for channel in range(2)]).astype("float32")
    weights = np.asarray(model(parts))[:, 0]
    found = heatmap(model, x, "scorecam", target=0)
    np.testing.assert_allclose(found.raw, np.maximum(channels @ weights, 0), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("target", "where"), [(0, RED), (1, GREEN)])
def test_the_heat_is_where_the_object_is(method, target, where):
    found = heatmap(colour_model(), scene(), method, target=target)
    inside = np.zeros((32, 32), bool)
    inside[where] = True
    assert found.heat.shape == (32, 32)
    assert found.heat.dtype == np.float32
    assert found.heat.max() == 1
    assert found.heat.min() >= 0
    if method in ("smoothgrad", "scorecam"):  # noise makes other pixels red too; no class' probability is zero
        assert found.heat[inside].mean() > 2 * found.heat[~inside].mean()
    else:
        assert found.heat[~inside].max() < 0.02
        assert found.heat[inside].min() > 0.9


def test_the_most_probable_class_is_what_is_asked_by_default():
    found = heatmap(colour_model(), scene())
    assert found.target == 1  # there is more green
    probability = np.asarray(colour_model()(scene()[None].astype("float32")))[0, 1]
    assert found.probability == pytest.approx(probability, rel=1e-5)
    np.testing.assert_array_equal(found.pixels, scene())


def models_alike():
    """The same function, made in every way that tf-keras-vis stumbles over."""
    scale, colours, mean = colour_layers()
    yield "logits", colour_model(None)
    yield "whole numbers", colour_model(dtype="uint8")
    yield (
        "sequential",
        colour_weights(
            keras.Sequential([keras.Input((32, 32, 3)), scale, colours, mean, keras.layers.Dense(2, "softmax")])
        ),
    )
    backbone = keras.Sequential([keras.Input((32, 32, 3)), *colour_layers()[:2]], name="backbone")
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    nested = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2)(x)))
    backbone.get_layer("colours").set_weights(colour_model().get_layer("colours").get_weights())
    nested.layers[-2].set_weights([np.eye(2, dtype=np.float32) * 8, np.zeros(2)])
    yield "nested", nested
    inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, keras.layers.Activation("softmax")(colour_model(None)(inputs)))
    yield "nested to the logits", outer
    inputs = keras.Input((None, None, 3))
    x = inputs
    for layer in (*colour_layers(), keras.layers.Dense(2)):
        x = layer(x)
    yield "any size", colour_weights(keras.Model(inputs, {"logits": x, "more": inputs}))


ALIKE = dict(models_alike())


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "scorecam", "saliency"])
def test_however_a_model_is_made(kind, method):
    expected = heatmap(colour_model(), scene(), method, target=0)
    found = heatmap(ALIKE[kind], scene(), method, target=0)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-5, atol=1e-7)
    assert found.score == pytest.approx(expected.score, rel=1e-5)
    assert (found.layer or "colours").endswith("colours")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_explained_in_float32(policy):
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        mixed = colour_model()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert mixed.get_layer("colours").compute_dtype == policy.removeprefix("mixed_")
    for method in METHODS:
        expected, found = (heatmap(model, scene(), method, target=1) for model in (colour_model(), mixed))
        np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-5, atol=1e-6 * expected.raw.max())


def test_one_layer_on_two_maps_is_asked_where_it_was_last():
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = keras.layers.AveragePooling2D(2)(shared(inputs))
    x = keras.layers.GlobalAveragePooling2D()(shared(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    assert heatmap(model, image((8, 8, 3)), layer="shared").raw.shape == (4, 4)


def test_pixels_are_scaled_as_the_model_expects():
    options = {"input_shape": SHAPE, "classes": 3}
    model = alive(create_model("efficientvit_b0", **options))
    inside = create_model("efficientvit_b0", include_preprocessing=True, **options)
    inside.set_weights(model.get_weights())
    pixels = sample_image(100, 80)
    outside = heatmap(model, pixels)
    np.testing.assert_allclose(heatmap(inside, pixels).raw, outside.raw, rtol=1e-3, atol=1e-6 * outside.raw.max())
    given = preprocess_input(outside.pixels)
    np.testing.assert_array_equal(picture_for(model, pixels).given, given[None])
    for way in (given, given[None]):
        np.testing.assert_array_equal(picture_for(model, way).given, given[None])
        np.testing.assert_array_equal(picture_for(model, way).pixels, outside.pixels)
    floats = outside.pixels.astype("float64")
    np.testing.assert_array_equal(picture_for(inside, floats).pixels, outside.pixels)


def test_any_size_down_to_the_smallest():
    model = alive(create_model("efficientvit_b0", input_shape=(None, None, 3), classes=3))
    for size, grid in (((32, 32), (4, 4)), ((40, 200), (5, 25))):
        found = heatmap(model, image((*size, 3)))
        assert (found.heat.shape, found.raw.shape) == (size, grid)
    with pytest.raises(ValueError, match=r"`image` of floats must be of the model's size \(64, 64\)"):
        heatmap(create_model("efficientvit_b0", input_shape=SHAPE, classes=2), image((48, 64, 3)))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "efficientvit_b0" else pytest.mark.slow) for n in list_models()]
)
def test_the_last_block_at_the_size_of_the_papers(name):
    """Where the final map has 7 x 7 pixels, that is the one: before normalisation, head and class token."""
    model = create_model(name, input_shape=(224, 224, 3), classes=2)
    found = heatmap(model, sample_image())
    maps = map_layers(model)
    assert found.layer is not None
    assert maps[found.layer] == (7, 7, maps[found.layer][-1])
    after = list(maps)[list(maps).index(found.layer) + 1 :]
    assert set(after) <= {"norm", "neck", "neck_norm", "neck_act", "head_conv"}
    assert found.heat.shape == (224, 224)


def test_what_a_model_was_is_what_it_is_afterwards(capsys):
    model = colour_model()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    before, state = model.get_config(), np.random.get_state()
    for method in METHODS:
        heatmap(model, scene(), method)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert model.get_config() == before
    assert model.get_layer("colours").output.shape == (None, 32, 32, 2)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), state, strict=True))
    assert capsys.readouterr() == ("", "")


@pytest.mark.filterwarnings("error")
def test_nothing_warns():
    for method in METHODS:
        heatmap(colour_model(), scene(), method, channels=1)


def test_nothing_that_speaks_for_a_class_is_no_heat():
    found = heatmap(colour_model(), np.full((32, 32, 3), 60, np.uint8), target=0)
    assert not found.heat.any()


def test_a_few_channels_are_enough_for_score_cam():
    few = heatmap(colour_model(), scene(), "scorecam", target=0, channels=9)
    np.testing.assert_array_equal(few.raw, heatmap(colour_model(), scene(), "scorecam", target=0).raw)
    with pytest.raises(ValueError, match=r"`channels` must be at least 1. Received: channels=0"):
        heatmap(colour_model(), scene(), "scorecam", channels=0)


def test_a_path(tmp_path):
    keras.utils.save_img(tmp_path / "scene.png", scene(), scale=False)
    np.testing.assert_array_equal(heatmap(colour_model(), tmp_path / "scene.png").pixels, scene())
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"Expected an image file. Received: .*text.png"):
        heatmap(colour_model(), str(tmp_path / "text.png"))
    with pytest.raises(FileNotFoundError):
        heatmap(colour_model(), tmp_path / "none.png")


class Closed(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gradcan"}, r"`method` must be one of \('gradcam'.*Received: method='gradcan'"),
        ({"target": 2}, r"`target` must be the number of one of 2 classes. Received: target=2"),
        ({"target": -1}, r"`target` must be the number of one of 2 classes. Received: target=-1"),
        ({"layer": "colors"}, r"`layer` must be one of the 2 .* nearest names are colours, .*layer='colors'"),
        ({"layer": "mean"}, r"`layer` must be one of .*Received: layer='mean'"),
        ({"image": np.zeros((2, 32, 32, 3))}, r"`image` must be a path, or one image .* of shape \(2, 32, 32, 3\)"),
        ({"image": np.zeros((32, 32, 1), np.uint8)}, r"`image` must be .*\(height, width, 3\).*\(32, 32, 1\)"),
        ({"model": Closed(name="closed")}, r"Expected a model with one input.*Received: closed, a Closed"),
    ],
)
def test_mistakes(options, message):
    given = {"model": colour_model(), "image": scene(), **options}
    with pytest.raises(ValueError, match=message):
        heatmap(given.pop("model"), given.pop("image"), **given)


def test_a_model_that_is_no_classifier():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs), name="pyramid")
    with pytest.raises(ValueError, match=r"Expected a model with one output \(batch, classes\).*Received: pyramid"):
        heatmap(model, image((8, 8, 3)))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(inputs)))
    with pytest.raises(ValueError, match="Expected a model with maps of more than one pixel"):
        heatmap(model, image((8, 8, 3)))
