"""SepViT's attention against numpy written from the paper's equations."""

import keras
import numpy as np
import pytest
from scipy.special import erf, softmax

from keras_effvit.layers import (
    DepthwiseSelfAttention,
    GroupedSelfAttention,
    PointwiseSelfAttention,
    SeparableSelfAttention,
)
from tests.numpy_reference import layer_norm, linear, randomise


def heads_of(x, heads):
    """(..., n, c) -> (..., heads, n, d)."""
    return np.moveaxis(x.reshape(*x.shape[:-1], heads, -1), -2, -3)


def depthwise(tokens, layer, heads):
    q, k, v = (heads_of(x, heads) for x in np.split(linear(tokens, layer.qkv), 3, axis=-1))
    weights = softmax(q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]), axis=-1)
    return np.moveaxis(weights @ v, -3, -2).reshape(tokens.shape) + tokens


def pointwise(pixels, tokens, layer, heads):
    """Pixels (b, n, p, c), tokens (b, n, c)."""
    g = layer_norm(tokens, layer.norm)
    g = 0.5 * g * (1 + erf(g / np.sqrt(2)))
    q, k = (heads_of(x, heads) for x in np.split(linear(g, layer.qk), 2, axis=-1))
    weights = softmax(q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]), axis=-1)
    values = pixels.reshape(*pixels.shape[:-1], heads, -1)
    return np.einsum("bhij,bjphd->biphd", weights, values).reshape(pixels.shape) + pixels


def separable(x, layer):
    """The whole branch, window by window."""
    batch, height, width, channels = x.shape
    side, heads = layer.window_size, layer.num_heads
    rows, columns = -(-height // side), -(-width // side)
    padded = np.zeros((batch, rows * side, columns * side, channels))
    padded[:, :height, :width] = x
    windows = [
        padded[:, r * side : (r + 1) * side, c * side : (c + 1) * side].reshape(batch, side * side, channels)
        for r in range(rows)
        for c in range(columns)
    ]
    windows = np.stack(windows, axis=1)
    if layer.window_token in ("learnable", "zero"):
        token = np.asarray(layer.token) if layer.window_token == "learnable" else np.zeros((rows * columns, channels))
        token = np.broadcast_to(token[None, :, None], (batch, rows * columns, 1, channels))
        z = depthwise(layer_norm(np.concatenate([token, windows], axis=2), layer.norm), layer.dsa, heads)
        tokens, pixels = z[:, :, 0], z[:, :, 1:]
    else:
        pixels = depthwise(layer_norm(windows, layer.norm), layer.dsa, heads)
        if layer.window_token == "avg_pool":
            tokens = pixels.mean(axis=2)
        else:
            kernel = np.asarray(layer.summary.kernel)[..., 0].reshape(side * side, channels)
            tokens = (pixels * kernel).sum(axis=2) + np.asarray(layer.summary.bias)
    pixels = pointwise(pixels, tokens, layer.psa, heads)
    merged = np.zeros_like(padded)
    for n in range(rows * columns):
        r, c = divmod(n, columns)
        window = pixels[:, n].reshape(batch, side, side, channels)
        merged[:, r * side : (r + 1) * side, c * side : (c + 1) * side] = window
    return linear(merged[:, :height, :width], layer.proj)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_depthwise(rng):
    layer = DepthwiseSelfAttention(2)
    x = rng.standard_normal((3, 10, 16)).astype("float32")
    randomise(layer, x)
    np.testing.assert_allclose(layer(x), depthwise(x, layer, 2), atol=2e-5)


def test_pointwise(rng):
    layer = PointwiseSelfAttention(2)
    pixels = rng.standard_normal((2 * 6, 9, 16)).astype("float32")
    tokens = rng.standard_normal((2, 6, 16)).astype("float32")
    randomise(layer, pixels, tokens)
    expected = pointwise(pixels.reshape(2, 6, 9, 16), tokens, layer, 2)
    np.testing.assert_allclose(layer(pixels, tokens), expected.reshape(12, 9, 16), atol=2e-5)


@pytest.mark.parametrize("token", ["learnable", "zero", "avg_pool", "depthwise_conv"])
@pytest.mark.parametrize("size", [(8, 8), (4, 12), (7, 9), (3, 3)])
def test_separable(rng, size, token):
    layer = SeparableSelfAttention(2, window_size=4, window_token=token)
    x = rng.standard_normal((2, *size, 16)).astype("float32")
    randomise(layer, x)
    np.testing.assert_allclose(layer(x), separable(x, layer), atol=3e-5)


def test_grouped_is_attention_over_the_whole_map(rng):
    layer = GroupedSelfAttention(2)
    x = rng.standard_normal((2, 5, 7, 16)).astype("float32")
    randomise(layer, x)
    z = depthwise(layer_norm(x.reshape(2, 35, 16), layer.norm), layer.dsa, 2)
    np.testing.assert_allclose(layer(x), linear(z, layer.proj).reshape(x.shape), atol=2e-5)


def test_unknown_token_is_refused():
    with pytest.raises(ValueError, match=r"`window_token` must be one of .*learnable.*Received: window_token='mean'"):
        SeparableSelfAttention(1, window_token="mean")  # type: ignore[arg-type]


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"`num_heads` must divide.*num_heads=3, channels=16"):
        DepthwiseSelfAttention(3).build((None, 4, 16))


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match=r"needs a fixed input size.*\(None, None, None, 16\)"):
        SeparableSelfAttention(1)(keras.Input((None, None, 16)))
