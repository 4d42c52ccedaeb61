"""LVT's convolutional self-attention against numpy written window by window."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from keras_effvit.layers import ConvolutionalSelfAttention, UnfoldedConv2D, fold, unfold
from tests.numpy_reference import linear, randomise


def windows_of(height, width):
    """Row and column of every window, and of the pixels of its nine positions, `None` outside the map."""
    for a in range(-(-height // 2)):
        for e in range(-(-width // 2)):
            pixels = [(2 * a + dy, 2 * e + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            yield a, e, [(r, c) if 0 <= r < height and 0 <= c < width else None for r, c in pixels]


def attention(x, layer):
    batch, height, width, channels = x.shape
    heads = layer.num_heads
    matrices = np.split(np.asarray(layer.values.kernel, "float64")[0, 0], 9, axis=1)
    out = np.zeros(x.shape)
    for a, e, pixels in windows_of(height, width):
        mean = x[:, 2 * a : 2 * a + 2, 2 * e : 2 * e + 2].mean(axis=(1, 2), dtype="float64")
        logits = linear(mean, layer.logits).reshape(batch, heads, 9, 9)
        weights = softmax(logits / np.sqrt(channels / heads), axis=-1)
        values = np.zeros((batch, 9, channels))
        for j, pixel in enumerate(pixels):
            if pixel:
                values[:, j] = x[:, *pixel] @ matrices[j]
        mixed = np.einsum("bhij,bjhd->bihd", weights, values.reshape(batch, 9, heads, -1))
        for i, pixel in enumerate(pixels):
            if pixel:
                out[:, *pixel] += mixed[:, i].reshape(batch, channels)
    return linear(out, layer.proj)


@pytest.mark.parametrize("size", [(8, 8), (6, 10), (7, 8), (8, 5), (9, 7), (1, 1), (2, 1)])
def test_attention(size):
    layer = ConvolutionalSelfAttention(2)
    x = np.random.default_rng(0).standard_normal((2, *size, 12)).astype("float32")
    randomise(layer, x)
    np.testing.assert_allclose(layer(x), attention(x, layer), atol=2e-5)


def test_attention_of_a_map_of_unknown_size():
    layer = ConvolutionalSelfAttention(2)
    x = np.random.default_rng(0).standard_normal((2, 7, 10, 12)).astype("float32")
    randomise(layer, x)
    image = keras.Input((None, None, 12))
    model = keras.Model(image, layer(image))
    np.testing.assert_allclose(model.predict(x, verbose=0), attention(x, layer), atol=2e-5)


sides = st.integers(1, 9)


@settings(max_examples=25, deadline=None)
@given(height=sides, width=sides)
def test_unfold_takes_the_neighbours(height, width):
    x = np.random.default_rng(0).standard_normal((2, height, width, 3)).astype("float32")
    positions = [np.asarray(p) for p in unfold(x)]
    assert [p.shape for p in positions] == [(2, -(-height // 2), -(-width // 2), 3)] * 9
    for a, e, pixels in windows_of(height, width):
        for j, pixel in enumerate(pixels):
            np.testing.assert_array_equal(positions[j][:, a, e], x[:, *pixel] if pixel else 0)


@settings(max_examples=25, deadline=None)
@given(height=sides, width=sides)
def test_fold_adds_to_where_unfold_takes(height, width):
    """Each is the transpose of the other: <unfold(x), y> = <x, fold(y)>, here in whole numbers."""
    rng = np.random.default_rng(height * 10 + width)
    x = rng.integers(-9, 9, (1, height, width, 2)).astype("float32")
    y = rng.integers(-9, 9, (9, 1, -(-height // 2), -(-width // 2), 2)).astype("float32")
    folded = np.asarray(fold(list(y), height, width))
    assert folded.shape == x.shape
    assert np.sum(np.stack(unfold(x)) * y) == np.sum(x * folded)


def test_overlaps_are_summed():
    """A pixel belongs to one, two or four windows; the first row and column have a neighbour less."""
    counts = np.asarray(fold([np.ones((1, 3, 3, 1), "float32")] * 9, 6, 5))[0, :, :, 0]
    once, twice = [1, 2, 1, 2, 1], [2, 4, 2, 4, 2]
    # The last odd row has no window after it.
    assert counts.tolist() == [once, twice, once, twice, once, once]


def test_a_convolution_once_its_positions_are_summed():
    layer = UnfoldedConv2D()
    x = np.random.default_rng(0).standard_normal((2, 8, 7, 5)).astype("float32")
    randomise(layer, x)
    kernel = np.asarray(layer.kernel).reshape(5, 3, 3, 5).transpose(1, 2, 0, 3)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = keras.ops.conv(padded, kernel, strides=2, padding="valid", data_format="channels_last")
    np.testing.assert_allclose(sum(np.asarray(p) for p in layer(x)), expected, atol=1e-5)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"`num_heads` must divide.*num_heads=3, channels=16"):
        ConvolutionalSelfAttention(3).build((None, 4, 4, 16))


def test_initial_values():
    layer = ConvolutionalSelfAttention(2)
    layer.build((None, 8, 8, 64))
    assert np.std(layer.values.kernel) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert np.std(layer.proj.kernel) == pytest.approx(0.02, rel=0.05)
