"""The class token, its attention and the two heads against numpy."""

import numpy as np
import pytest
from scipy.special import erf, softmax

from keras_effvit.layers import ClassAttention, ClassAttentionBlock, ClassToken, TokenHeads
from tests.numpy_reference import layer_norm, linear, randomise


def attention(tokens, layer):
    batch, _, channels = tokens.shape
    heads = layer.num_heads
    q = linear(tokens[:, 0], layer.q).reshape(batch, heads, -1)
    k, v = (y.reshape(batch, -1, heads, channels // heads) for y in np.split(linear(tokens, layer.kv), 2, axis=-1))
    weights = softmax(np.einsum("bhd,bmhd->bhm", q, k) / np.sqrt(channels / heads), axis=-1)
    return linear(np.einsum("bhm,bmhd->bhd", weights, v).reshape(batch, 1, channels), layer.proj)


@pytest.fixture
def tokens():
    return np.random.default_rng(0).standard_normal((2, 7, 12)).astype("float32")


def test_attention(tokens):
    layer = ClassAttention(3)
    randomise(layer, tokens)
    np.testing.assert_allclose(layer(tokens), attention(tokens, layer), atol=2e-5)


def test_only_the_class_token_learns(tokens):
    layer = ClassAttentionBlock(3, expansion=2)
    randomise(layer, tokens)
    c = tokens[:, :1] + attention(layer_norm(tokens, layer.norm1), layer.attn)
    hidden = linear(layer_norm(c, layer.norm2), layer.mlp.fc1)
    c = c + linear(0.5 * hidden * (1 + erf(hidden / np.sqrt(2))), layer.mlp.fc2)
    y = np.asarray(layer(tokens))
    np.testing.assert_allclose(y[:, :1], c, atol=3e-5)
    np.testing.assert_array_equal(y[:, 1:], tokens[:, 1:])


def test_a_token_before_the_pixels():
    layer = ClassToken()
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype("float32")
    randomise(layer, x)
    y = np.asarray(layer(x))
    np.testing.assert_array_equal(y[:, 0], np.tile(np.asarray(layer.token)[0], (2, 1)))
    for row, column in np.ndindex(3, 5):
        np.testing.assert_array_equal(y[:, 1 + 5 * row + column], x[:, row, column])


def test_the_score_adds_half_the_most_certain_token(tokens):
    heads, fused = TokenHeads(4, fused=False), TokenHeads(4)
    randomise(heads, tokens)
    fused(tokens)
    fused.set_weights(heads.get_weights())
    logits, aux_logits = linear(tokens[:, 0], heads.head), linear(tokens[:, 1:], heads.aux_head)
    for received, expected in zip(heads(tokens), (logits, aux_logits), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-5)
    np.testing.assert_allclose(fused(tokens), logits + aux_logits.max(axis=1) / 2, atol=1e-5)


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"`num_heads` must divide.*num_heads=5, channels=12"):
        ClassAttention(5).build((None, 4, 12))
