"""What holds for every layer the package registers."""

import inspect
from typing import Any

import keras
import numpy as np
import pytest

from keras_effvit import layers
from tests.layers.examples import EXAMPLES

LAYERS: dict[str, Any] = {name: value for name, value in vars(layers).items() if inspect.isclass(value)}


def outputs(layer, inputs):
    return [np.asarray(y) for y in keras.tree.flatten(layer(*inputs)) if y is not None]


def test_every_layer_has_an_example():
    assert set(EXAMPLES) == set(LAYERS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_is_registered_and_documented(name):
    layer = LAYERS[name]
    assert keras.saving.get_registered_name(layer) == f"keras_effvit>{name}"
    assert "Example:" in layer.__doc__
    # A layer without an `__init__` of its own takes a Keras layer's options, and says which layer's.
    parameters = inspect.signature(vars(layer).get("__init__", lambda self: None)).parameters.values()
    options = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)][1:]
    undocumented = [option for option in options if f"{option}:" not in layer.__doc__]
    assert undocumented == []


@pytest.mark.parametrize(("name", "case"), [(n, i) for n in EXAMPLES for i in range(len(EXAMPLES[n]))])
def test_round_trip(name, case):
    """A layer rebuilt from its configuration and given the same weights computes the same."""
    options, shapes = EXAMPLES[name][case]
    inputs = [np.random.default_rng(0).standard_normal(shape).astype("float32") for shape in shapes]
    layer = LAYERS[name](**options)
    before = outputs(layer, inputs)
    again: Any = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    again(*inputs)
    again.set_weights(layer.get_weights())
    for x, y in zip(before, outputs(again, inputs), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("name", "case"), [(n, i) for n in EXAMPLES for i in range(len(EXAMPLES[n]))])
def test_says_its_output_shape_and_stays_within_rank_four(name, case, monkeypatch):
    options, shapes = EXAMPLES[name][case]
    layer = LAYERS[name](**options)
    symbolic = layer(*[keras.Input(shape[1:]) for shape in shapes])
    concrete = layer(*[np.ones(shape, "float32") for shape in shapes])
    for s, c in zip(keras.tree.flatten(symbolic), keras.tree.flatten(concrete), strict=True):
        assert s.shape[1:] == c.shape[1:]
    ranks = {len(t.shape) for t in graph_tensors(layer, shapes) if t.shape.rank is not None}
    assert max(ranks) <= 4


def graph_tensors(layer, shapes):
    import tensorflow as tf

    function = tf.function(lambda *xs: layer(*xs))
    graph = function.get_concrete_function(*[tf.TensorSpec(shape) for shape in shapes]).graph
    return [tensor for op in graph.get_operations() for tensor in op.outputs]


@pytest.mark.parametrize("name", EXAMPLES)
def test_lends_its_policy_to_every_part(name):
    """Also after a round trip, whatever the global policy then is."""
    options, shapes = EXAMPLES[name][0]
    layer = LAYERS[name](**options, dtype="mixed_bfloat16")
    again: Any = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    again(*[np.ones(shape, "float32") for shape in shapes])
    policies = {part.path: part.dtype_policy.name for part in again._flatten_layers()}
    assert set(policies.values()) == {"mixed_bfloat16"}, policies
    assert keras.config.dtype_policy().name == "float32"
