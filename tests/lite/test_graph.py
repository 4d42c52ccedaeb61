"""A model taken apart into operations is the same model, whatever it is made of."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_effvit import create_model, lite
from keras_effvit.lite.graph import Parameter
from tests.lite.conftest import alive, grouped, images, model_of

one_of_each_family = pytest.mark.parametrize(
    "name", grouped("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_base", "efficientvit_b0")
)


@one_of_each_family
def test_a_graph_is_its_model_to_the_last_bit(name):
    model = model_of(name)
    graph = lite.flatten(model)
    image = images()[:2]
    np.testing.assert_array_equal(graph(image, training=False), model(image, training=False))
    assert graph.count_params() == model.count_params()
    assert len(graph.trainable_variables) == len(model.trainable_variables)
    bare = [layer for layer in graph.layers if layer.weights]
    assert all(isinstance(layer, Parameter) for layer in bare), "a layer was left whole"


@one_of_each_family
def test_a_graph_survives_its_file(name, tmp_path):
    graph = lite.flatten(model_of(name))
    graph.save(tmp_path / "graph.keras")
    loaded = keras.models.load_model(tmp_path / "graph.keras")
    image = images()[:1]
    np.testing.assert_array_equal(loaded(image, training=False), graph(image, training=False))
    assert [operation.name for operation in loaded.operations] == [operation.name for operation in graph.operations]


def test_a_model_that_scales_pixels_is_no_exception(tmp_path):
    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), include_preprocessing=True))
    graph = lite.flatten(model)
    pixels = 255 * np.random.default_rng(0).random((2, 64, 64, 3), "float32")
    np.testing.assert_allclose(graph(pixels), model(pixels), rtol=1e-6)
    graph.save(tmp_path / "graph.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "graph.keras")(pixels), graph(pixels))
    lite.quantize_aware(model, "int8_full")


def test_what_a_graph_learns_comes_back_into_the_model():
    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), classes=3, drop_path_rate=0.1))
    graph = lite.flatten(model)
    graph.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    graph.fit(images(4, 64), np.array([0, 1, 2, 0]), epochs=1, verbose=0)
    image = images(2, 64)
    learnt = graph(image, training=False)
    assert np.abs(learnt - model(image, training=False)).max() > 1e-4
    lite.restore_weights(graph, model)
    np.testing.assert_allclose(model(image, training=False), learnt, atol=1e-6)


def test_a_graph_of_another_model_is_refused():
    graph = lite.flatten(create_model("efficientvit_b0", input_shape=(64, 64, 3)))
    with pytest.raises(lite.LiteError, match="made of a model like lvt"):
        lite.restore_weights(graph, create_model("lvt"))


def test_layers_drop_paths_in_training_only():
    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), drop_path_rate=0.5))
    graph = lite.flatten(model)
    image = images(2, 64)
    np.testing.assert_array_equal(graph(image, training=False), model(image, training=False))
    assert np.abs(graph(image, training=True) - graph(image, training=False)).max() > 1e-6


class InLists(keras.layers.Layer):
    """Holds its weights where a graph cannot see them."""

    def build(self, input_shape):
        self.factors = [self.add_weight(shape=(), initializer="ones") for _ in range(2)]

    def call(self, inputs):
        return inputs * self.factors[0] + self.factors[1]


class OfTensorFlow(keras.layers.Layer):
    """Wants real tensors in its `call`."""

    def call(self, inputs):
        return tf.cumsum(inputs, axis=1)


def anyones_model():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = InLists(name="lists")(x)
    shared = keras.layers.Dense(4, name="twice")
    x = shared(shared(x))
    x = keras.layers.LayerNormalization()(x)
    x = OfTensorFlow()(x)
    inner = keras.Sequential([keras.layers.Dense(5), keras.layers.Dropout(0.5)], name="inner")
    x = keras.layers.Concatenate()([inner(x), x[..., :2]])
    return keras.Model(image, {"a": keras.layers.GlobalAveragePooling2D()(x), "b": keras.layers.MaxPooling2D()(x)})


def test_anyones_model_becomes_a_graph():
    model = anyones_model()
    graph = lite.flatten(model)
    image = images(2, 8)
    expected, received = model(image, training=False), graph(image, training=False)
    assert set(received) == {"a", "b"}
    for name in expected:
        np.testing.assert_array_equal(received[name], expected[name])
    assert graph.count_params() == model.count_params(), "shared layers share, lists are not lost"
