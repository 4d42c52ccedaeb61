"""EfficientViT's convolutional blocks against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.layers import DownsamplingShortcut, DSConv, MBConv
from tests.layers.test_conv import patches
from tests.numpy_reference import randomise


def hard_swish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def unit(x, layer):
    """A ConvNormAct in float64."""
    kernel = np.asarray(layer.conv.kernel, "float64")
    taps = patches(x, kernel.shape[0], layer.strides)
    if layer.filters is None:
        y = (taps * kernel.reshape(-1, x.shape[-1])).sum(axis=3)
    else:
        y = np.einsum("bhwkc,kco->bhwo", taps, kernel.reshape(-1, *kernel.shape[2:]))
    if layer.conv.bias is not None:
        y = y + np.asarray(layer.conv.bias)
    if layer.norm is not None:
        scale = np.asarray(layer.norm.gamma) / np.sqrt(np.asarray(layer.norm.moving_variance) + 1e-5)
        y = (y - np.asarray(layer.norm.moving_mean)) * scale + np.asarray(layer.norm.beta)
    return y


def example(shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def check(layer, x, expected):
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-4 * expected.std())
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.parametrize("norms", ["all", "last", "none"])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("shape", [(2, 6, 8, 4), (1, 7, 5, 4)])
def test_mbconv(norms, kernel_size, strides, shape):
    x = example(shape)
    layer = MBConv(6, kernel_size, expansion=3, strides=strides, norms=norms)
    randomise(layer, x)
    y = hard_swish(unit(hard_swish(unit(x, layer.expand)), layer.depth))
    check(layer, x, unit(y, layer.point))


@pytest.mark.parametrize(
    ("norms", "biased", "normalised"), [("all", "", "edp"), ("last", "ed", "p"), ("none", "edp", "")]
)
def test_a_convolution_has_a_bias_or_a_normalisation(norms, biased, normalised):
    layer = MBConv(6, norms=norms)
    layer.build((None, 6, 8, 4))
    parts = {"e": layer.expand, "d": layer.depth, "p": layer.point}
    assert "".join(name for name, part in parts.items() if part.conv.bias is not None) == biased
    assert "".join(name for name, part in parts.items() if part.norm is not None) == normalised


@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (3, 2), (5, 1)])
def test_dsconv(kernel_size, strides):
    x = example((2, 7, 8, 4))
    layer = DSConv(6, kernel_size, strides=strides)
    randomise(layer, x)
    check(layer, x, unit(hard_swish(unit(x, layer.depth)), layer.point))


@pytest.mark.parametrize(
    "layer", [MBConv(4, zero_norm=True), MBConv(4, norms="last", zero_norm=True), DSConv(4, zero_norm=True)]
)
def test_a_closed_branch_gives_nothing(layer):
    np.testing.assert_array_equal(layer(example((1, 6, 8, 4))), np.zeros((1, 6, 8, 4)))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), use_norm=st.booleans())
def test_shortcut_averages_only_the_pixels_there_are(height, width, use_norm):
    x = example((2, height, width, 4))
    layer = DownsamplingShortcut(6, use_norm=use_norm)
    randomise(layer, x)
    pooled = [
        [x[:, r : r + 2, c : c + 2].astype("float64").mean(axis=(1, 2)) for c in range(0, width, 2)]
        for r in range(0, height, 2)
    ]
    expected = unit(np.stack([np.stack(row, axis=1) for row in pooled], axis=1), layer.proj)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)
    assert layer.compute_output_shape(x.shape) == expected.shape
    assert (layer.proj.conv.bias is None) == use_norm


def test_unknown_norms_are_refused():
    with pytest.raises(ValueError, match=r"`norms` must be one of \('all', 'last', 'none'\). Received: norms='first'"):
        MBConv(8, norms="first")  # type: ignore[arg-type]


def test_unknown_sides_stay_unknown():
    for layer in (MBConv(6, strides=2), DSConv(6), DownsamplingShortcut(6)):
        layer.build((None, None, None, 4))
        assert layer.compute_output_shape((None, None, None, 4)) == (None, None, None, 6)
