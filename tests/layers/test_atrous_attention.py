"""LVT's recursive atrous self-attention against numpy written from the paper's section 3.2."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from keras_effvit.layers import AtrousDepthwiseConv2D, RecursiveAtrousSelfAttention
from tests.numpy_reference import layer_norm, linear, randomise


def silu(x):
    return x * expit(x)


def depthwise(x, kernel, dilation):
    """3x3, zeros outside."""
    _, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (dilation, dilation), (dilation, dilation), (0, 0)))
    taps = [(r, c) for r in range(3) for c in range(3)]
    shifted = [
        padded[:, r * dilation : r * dilation + height, c * dilation : c * dilation + width] * kernel[r, c, :, 0]
        for r, c in taps
    ]
    return np.sum(shifted, axis=0)


def reduced(x, layer):
    """A convolution whose kernel is as large as its stride; left-over rows and columns are ignored."""
    side = layer.reduction
    _, height, width, _ = x.shape
    rows, columns = height // side, width // side
    patches = [
        x[:, r * side : (r + 1) * side, c * side : (c + 1) * side].reshape(len(x), -1)
        for r in range(rows)
        for c in range(columns)
    ]
    kernel = np.asarray(layer.reduce.kernel, "float64").reshape(-1, x.shape[-1])
    return layer_norm(np.stack(patches, axis=1) @ kernel + np.asarray(layer.reduce.bias), layer.norm)


def step(u, layer):
    """One atrous self-attention."""
    batch, height, width, channels = u.shape
    q = linear(u, layer.q)
    if layer.dilations is not None:
        kernel = np.asarray(layer.atrous.kernel, "float64")
        q = np.sum([silu(depthwise(q, kernel, dilation)) for dilation in layer.dilations], axis=0)
    s = reduced(u, layer) if layer.reduction > 1 else u.reshape(batch, -1, channels)
    k, v = np.split(linear(s, layer.kv), 2, axis=-1)
    q, k, v = (y.reshape(batch, -1, layer.num_heads, channels // layer.num_heads) for y in (q, k, v))
    weights = softmax(np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(channels / layer.num_heads), axis=-1)
    return linear(np.einsum("bhnm,bmhd->bnhd", weights, v).reshape(batch, height, width, channels), layer.proj)


def attention(x, layer):
    """The hidden state is the input and all that came of it so far."""
    if layer.recursion == 1:
        return step(x, layer)
    results = []
    for _ in range(layer.recursion):
        results.append(silu(step(x + sum(results), layer)))
    return results[-1]


@pytest.mark.parametrize("recursion", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("size", "dilations", "reduction"),
    [((8, 8), (1, 3, 5), 4), ((7, 10), (1, 3, 5), 2), ((5, 3), (2,), 1), ((4, 6), None, 2), ((1, 1), (1, 3, 5), 1)],
)
def test_attention(recursion, size, dilations, reduction):
    layer = RecursiveAtrousSelfAttention(2, recursion=recursion, dilations=dilations, reduction=reduction)
    x = np.random.default_rng(0).standard_normal((2, *size, 8)).astype("float32")
    randomise(layer, x)
    np.testing.assert_allclose(layer(x), attention(x.astype("float64"), layer), atol=3e-5)


def test_attention_of_a_map_of_unknown_size():
    layer = RecursiveAtrousSelfAttention(2, reduction=2)
    x = np.random.default_rng(0).standard_normal((2, 7, 10, 8)).astype("float32")
    randomise(layer, x)
    image = keras.Input((None, None, 8))
    model = keras.Model(image, layer(image))
    np.testing.assert_allclose(model.predict(x, verbose=0), attention(x.astype("float64"), layer), atol=3e-5)


def test_the_depth_adds_no_weight():
    def shapes(recursion):
        layer = RecursiveAtrousSelfAttention(2, recursion=recursion, reduction=2)
        layer.build((None, 8, 8, 16))
        return [(w.path, w.shape) for w in layer.weights]

    assert [shape for _, shape in shapes(1)] == [shape for _, shape in shapes(4)]


@pytest.mark.parametrize(
    ("dilations", "reduction", "extra"), [(None, 1, 0), ((1, 3, 5), 1, 9), ((1, 3), 4, 9 + 16 * 16 + 3)]
)
def test_parameters(dilations, reduction, extra):
    """4 c^2 + c, 9 c for the atrous convolution, and R^2 c^2 + 3 c for the reduction."""
    channels = 16
    layer = RecursiveAtrousSelfAttention(2, dilations=dilations, reduction=reduction)
    layer.build((None, 8, 8, channels))
    assert layer.count_params() == 4 * channels**2 + channels + extra * channels


def test_initial_values():
    layer = RecursiveAtrousSelfAttention(2, reduction=4)
    layer.build((None, 8, 8, 64))
    kernel = np.asarray(layer.atrous.kernel)
    limit = np.sqrt(6 / 9)
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert np.std(kernel) == pytest.approx(limit / np.sqrt(3), rel=0.1)
    assert np.std(layer.reduce.kernel) == pytest.approx(np.sqrt(2 / (16 * 64)), rel=0.02)
    assert np.std(layer.q.kernel) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recursion": 5}, r"`recursion` must be an integer from 1 to 4. Received: recursion=5"),
        ({"recursion": 1.5}, r"`recursion` must be an integer from 1 to 4. Received: recursion=1.5"),
        ({"dilations": (1, -3)}, r"`dilations` must be None or positive integers. Received: dilations=\(1, -3\)"),
        ({"reduction": 0}, r"`reduction` must be a positive integer. Received: reduction=0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        RecursiveAtrousSelfAttention(2, **options)


def test_a_convolution_without_a_dilation_is_refused():
    with pytest.raises(ValueError, match=r"`dilations` must be.*Received: dilations=\(\)"):
        AtrousDepthwiseConv2D(())
