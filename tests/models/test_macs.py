"""The MACs counter against counts made by hand."""

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_effvit.layers import BicubicUpsampling, CellPooling, PaddedConv2D, PaddedDepthwiseConv2D
from keras_effvit.models import count_macs


def model(shape, *parts):
    return keras.Sequential([keras.Input(shape), *parts])


def test_dense_counts_inputs_times_outputs_at_every_position():
    assert count_macs(model((5, 7, 4), layers.Dense(3))) == 5 * 7 * 4 * 3


def test_strided_convolution_counts_its_output():
    assert count_macs(model((9, 8, 3), PaddedConv2D(6, 3, strides=2))) == 5 * 4 * 6 * (3 * 3 * 3)


def test_grouped_convolution_counts_the_inputs_of_one_group():
    assert count_macs(model((4, 4, 8), PaddedConv2D(6, 3, groups=2))) == 4 * 4 * 6 * (3 * 3 * 4)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(3, 20), width=st.integers(3, 20), channels=st.integers(1, 5), dilation=st.sampled_from([1, 3, 5])
)
def test_depthwise_counts_its_true_output_whatever_the_dilation(height, width, channels, dilation):
    layer = PaddedDepthwiseConv2D(3, dilation_rate=dilation)
    assert count_macs(model((height, width, channels), layer)) == height * width * channels * 9


def test_an_operator_of_unknown_cost_is_refused():
    tokens = keras.Input((10, 16))
    attention = layers.MultiHeadAttention(2, 8, use_bias=False)
    with pytest.raises(ValueError, match="Einsum"):
        count_macs(keras.Model(tokens, attention(tokens, tokens)))


def test_matmul_of_activations():
    a, b = keras.Input((10, 16)), keras.Input((10, 16))
    scores = keras.ops.matmul(a, keras.ops.transpose(b, (0, 2, 1)))
    twice = keras.Model(a, keras.Model([a, b], scores)([a, a]))
    assert count_macs(twice) == 10 * 10 * 16


def test_pooling_and_normalisation_cost_nothing():
    free = model((8, 8, 4), layers.BatchNormalization(), layers.AveragePooling2D(2), layers.ReLU())
    assert count_macs(free) == 0


@pytest.mark.parametrize("shape", [(7, 8, 4), (None, None, 4)])
def test_resizing_costs_nothing_though_it_is_a_product(shape):
    """With constant matrices, which are found behind what Keras does to them."""
    image = keras.Input(shape)
    model = keras.Model(image, BicubicUpsampling(4)(CellPooling(2)(image), image))
    assert count_macs(model, (7, 8, 4)) == 0


def test_a_model_of_any_size_needs_one():
    any_size = model((None, None, 3), layers.Conv2D(2, 1))
    with pytest.raises(ValueError, match=r"`input_shape` is needed.*None"):
        count_macs(any_size)
    assert count_macs(any_size, (4, 5, 3)) == 4 * 5 * 3 * 2
