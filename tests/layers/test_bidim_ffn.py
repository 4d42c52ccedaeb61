"""LightViT's gated feed-forward network and joint mean against numpy on the concatenated sequence."""

import numpy as np
import pytest
from scipy.special import erf, expit

from keras_effvit.layers import BiDimensionalAttention, BiDimensionalFFN, GlobalTokens, JointAveragePooling
from tests.numpy_reference import layer_norm, linear, randomise

GATES = [(), ("channel",), ("spatial",), ("local_spatial",), ("channel", "spatial"), ("channel", "local_spatial")]


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def gated(y, layer):
    """One image: (positions, c)."""
    n = layer_norm(y, layer.norm)
    out = y
    if "channel" in layer.gates:
        out = out * expit(linear(gelu(linear(n.mean(axis=0), layer.global_reduce)), layer.channel_select))
    if "local_spatial" in layer.gates:
        out = out * expit(linear(gelu(linear(n, layer.local_reduce)), layer.spatial_select))
    if "spatial" in layer.gates:
        image = gelu(linear(n.mean(axis=0), layer.global_reduce))
        both = [np.concatenate([position, image]) for position in gelu(linear(n, layer.local_reduce))]
        out = out * expit(linear(np.stack(both), layer.spatial_select))
    return out


def ffn(x, layer):
    y = linear(gelu(linear(x, layer.mlp.fc1)), layer.mlp.fc2)
    return gated(y, layer.gate) if layer.gates else y


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize(("size", "count"), [((4, 4), 0), ((3, 5), 2), ((1, 1), 7)])
def test_ffn(gates, size, count):
    rng = np.random.default_rng(0)
    layer = BiDimensionalFFN(3, gates=gates)
    pixels = rng.standard_normal((2, *size, 8)).astype("float32")
    tokens = rng.standard_normal((2, count, 8)).astype("float32")
    inputs = (pixels, tokens) if count else (pixels,)
    randomise(layer, *inputs)
    sequence = np.concatenate([tokens, pixels.reshape(2, -1, 8)], axis=1)
    expected = np.stack([ffn(image, layer) for image in sequence])
    if not count:
        np.testing.assert_allclose(layer(pixels), expected.reshape(pixels.shape), atol=2e-5)
        return
    x, t = layer(*inputs)
    np.testing.assert_allclose(x, expected[:, count:].reshape(pixels.shape), atol=2e-5)
    np.testing.assert_allclose(t, expected[:, :count], atol=2e-5)


def test_joint_mean_weighs_every_position_the_same():
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((2, 3, 5, 8)).astype("float32")
    tokens = rng.standard_normal((2, 4, 8)).astype("float32")
    sequence = np.concatenate([tokens, pixels.reshape(2, -1, 8)], axis=1)
    np.testing.assert_allclose(JointAveragePooling()(pixels, tokens), sequence.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(JointAveragePooling()(pixels), pixels.mean(axis=(1, 2)), atol=1e-6)


def test_tokens_are_the_same_for_every_image():
    layer = GlobalTokens(3)
    x = np.ones((2, 4, 5, 8), "float32")
    randomise(layer, x)
    np.testing.assert_array_equal(layer(x), np.tile(layer.token, (2, 1, 1)))


@pytest.mark.parametrize("gates", [("spatial", "local_spatial"), ("temporal",), "channel"])
def test_wrong_gates_are_refused(gates):
    with pytest.raises(ValueError, match=r"`gates` must be taken from .*'local_spatial'.*Received: gates="):
        BiDimensionalFFN(gates=gates)


def test_gates_without_a_gate_are_refused():
    with pytest.raises(ValueError, match=r"`gates` must name at least one gate\. Received: gates=\(\)"):
        BiDimensionalAttention(gates=())


def test_no_tokens_are_refused():
    with pytest.raises(ValueError, match=r"`count` must be at least 1\. Received: count=0"):
        GlobalTokens(0)
