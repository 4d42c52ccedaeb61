"""What attention layers tell while somebody listens, and that they are the same when nobody does."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_effvit import layers
from keras_effvit.layers.recording import record, recording
from tests.layers.examples import EXAMPLES

#: Layers that attend, and what they tell of it.
KINDS = {
    "SeparableSelfAttention": {"window", "pointwise"},
    "GroupedSelfAttention": {"window"},
    "DepthwiseSelfAttention": {"window"},
    "PointwiseSelfAttention": {"pointwise"},
    "LocalWindowAttention": {"window"},
    "GlobalAggregation": {"aggregation"},
    "GlobalBroadcast": {"broadcast"},
    "LocalGlobalAttention": {"window", "aggregation", "broadcast"},
    "LinearAttention": {"linear"},
    "MultiScaleLinearAttention": {"linear"},
    "ConvolutionalSelfAttention": {"convolution"},
    "RecursiveAtrousSelfAttention": {"atrous"},
    "ClassAttention": {"class"},
    "ClassAttentionBlock": {"class"},
}


def example(name):
    options, shapes = EXAMPLES[name][0]
    rng = np.random.default_rng(0)
    return getattr(layers, name)(**options), [rng.standard_normal(shape).astype("float32") for shape in shapes]


def operators(layer, inputs):
    """Types and names of everything in the graph that TensorFlow traces of a layer."""
    function = tf.function(lambda *given: layer(*given)).get_concrete_function(*inputs)
    return [(op.type, len(op.inputs)) for op in function.graph.get_operations()]


@pytest.mark.parametrize("name", KINDS)
def test_a_layer_tells_its_kinds_and_calculates_the_same(name):
    layer, inputs = example(name)
    before = keras.tree.flatten(layer(*inputs))
    with recording() as records:
        during = keras.tree.flatten(layer(*inputs))
    assert {each.kind for each in records} == KINDS[name]
    for one, other in zip(before, during, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", KINDS)
def test_a_graph_has_no_operator_more_and_nothing_of_it_is_told(name):
    layer, inputs = example(name)
    layer(*inputs)
    quiet = operators(layer, inputs)
    with recording() as records:
        assert operators(layer, inputs) == quiet
    assert records == []


def test_nobody_else_tells_anything():
    for name in set(EXAMPLES) - set(KINDS):
        layer, inputs = example(name)
        with recording() as records:
            layer(*inputs)
        assert records == [], name


def test_a_symbol_is_not_told():
    with recording() as records:
        layers.GroupedSelfAttention(2)(keras.Input((4, 4, 8)))
        record("mine", keras.KerasTensor((1,)), ops.ones(1))
    assert records == []


def test_a_record_knows_the_outermost_layer_and_its_map():
    x = ops.ones((2, 10, 14, 16))
    layer = layers.SeparableSelfAttention(2, name="mine")
    with recording() as records:
        layer(x)
    assert [(each.layer, each.map) for each in records] == [(layer, (10, 14))] * 2
    with recording() as records:
        tokens = layers.ClassToken()(x)
        layer = layers.ClassAttention(2)
        layer(tokens)
    assert [(each.layer, each.map) for each in records] == [(layer, (10, 14))]


def test_arguments_may_be_given_by_name():
    pixels, tokens = ops.ones((1, 14, 7, 16)), ops.ones((1, 3, 16))
    with recording() as records:
        layers.LocalGlobalAttention(2)(tokens=tokens, pixels=pixels)
    assert {each.map for each in records} == {(14, 7)}


def test_a_part_used_alone_knows_no_layer_around_it():
    windows = ops.ones((4, 49, 16))
    with recording() as records:
        layers.LocalWindowAttention(2)(windows, windows, windows)
    assert (records[0].layer, records[0].map) == (None, None)


def test_listeners_hear_what_is_inside_their_block_and_in_their_thread():
    layer, [x] = example("GroupedSelfAttention")
    with recording() as outer:
        layer(x)
        with recording() as inner:
            layer(x)
        other = threading.Thread(target=layer, args=(x,))
        other.start()
        other.join()
        layer(x)
    layer(x)
    assert (len(outer), len(inner)) == (2, 1)


def test_an_error_inside_leaves_no_owner_behind():
    layer, [x] = example("GroupedSelfAttention")
    layer(x)
    with recording() as records:
        with pytest.raises(Exception):  # noqa: B017, PT011 whatever the backend raises
            layer(x[..., :3])
        windows = ops.ones((4, 49, 16))
        layers.LocalWindowAttention(2)(windows, windows, windows)
    assert records[-1].layer is None


def test_half_precision_is_told_in_numbers():
    layer = layers.GroupedSelfAttention(2, dtype="mixed_bfloat16")
    with recording() as records:
        layer(ops.ones((1, 4, 4, 8)))
    np.testing.assert_allclose(records[0].values[0].astype("float32").sum(-1), 1, atol=0.02)
