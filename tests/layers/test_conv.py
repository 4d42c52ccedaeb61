"""Convolutions with symmetric padding against numpy loops."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.layers import ConvNormAct, PaddedConv2D, PaddedDepthwiseConv2D
from tests.numpy_reference import randomise


def patches(x, kernel, stride):
    """(b, rows, columns, kernel * kernel, c) neighbourhoods of a map padded with kernel // 2 zeros on every side."""
    margin = kernel // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    rows = (x.shape[1] + 2 * margin - kernel) // stride + 1
    columns = (x.shape[2] + 2 * margin - kernel) // stride + 1
    taps = [
        padded[:, r : r + stride * (rows - 1) + 1 : stride, c : c + stride * (columns - 1) + 1 : stride]
        for r in range(kernel)
        for c in range(kernel)
    ]
    return np.stack(taps, axis=3)


sizes = {
    "height": st.integers(4, 13),
    "width": st.integers(4, 13),
    "kernel": st.sampled_from([1, 3, 5, 7]),
    "stride": st.sampled_from([1, 2, 4]),
}


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_convolution(height, width, kernel, stride):
    x = np.random.default_rng(0).standard_normal((2, height, width, 3)).astype("float32")
    layer = PaddedConv2D(4, kernel, strides=stride)
    randomise(layer, x)
    weights = np.asarray(layer.kernel).reshape(kernel * kernel, 3, 4)
    expected = np.einsum("bhwkc,kco->bhwo", patches(x, kernel, stride), weights) + np.asarray(layer.bias)
    y = np.asarray(layer(x))
    np.testing.assert_allclose(y, expected, atol=1e-4)
    assert y.shape[1:3] == (-(-height // stride), -(-width // stride))
    assert layer.compute_output_shape(x.shape) == y.shape
    assert layer.compute_output_shape((None, None, None, 3)) == (None, None, None, 4)


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_depthwise_convolution(height, width, kernel, stride):
    x = np.random.default_rng(0).standard_normal((2, height, width, 3)).astype("float32")
    layer = PaddedDepthwiseConv2D(kernel, strides=stride)
    randomise(layer, x)
    weights = np.asarray(layer.kernel).reshape(kernel * kernel, 3)
    expected = (patches(x, kernel, stride) * weights).sum(axis=3) + np.asarray(layer.bias)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)
    assert layer.compute_output_shape(x.shape) == expected.shape


def test_batch_normalisation_uses_the_papers_epsilon():
    x = np.ones((1, 3, 3, 2), "float32")
    unit = ConvNormAct(4, 1)
    unit(x)
    assert unit.norm is not None
    unit.norm.moving_variance.assign([0.0] * 4)
    expected = np.asarray(unit.conv(x)) / np.sqrt(1e-5)
    np.testing.assert_allclose(unit(x), expected, rtol=1e-5)


def test_the_global_data_format_is_of_no_concern():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert PaddedConv2D(8, 3, strides=2)(np.ones((1, 7, 8, 3), "float32")).shape == (1, 4, 4, 8)
    finally:
        keras.config.set_image_data_format(before)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r"`kernel_size` must be odd. Received: kernel_size=\(2, 2\)"):
        PaddedConv2D(4, 2)
