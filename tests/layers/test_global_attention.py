"""LightViT's attention against numpy written from the paper's equations."""

import numpy as np
import pytest
from scipy.special import softmax

from keras_effvit.layers import GlobalAggregation, GlobalBroadcast, LocalGlobalAttention, LocalWindowAttention
from tests.numpy_reference import linear, randomise


def attend(q, k, v, heads, bias=None):
    """One image: (n, c) over (m, c), head by head; `bias` (heads, n, m)."""
    bias = np.zeros((heads, len(q), len(k))) if bias is None else bias
    out = [
        softmax(qh @ kh.T / np.sqrt(qh.shape[1]) + b, axis=-1) @ vh
        for qh, kh, vh, b in zip(*(np.split(x, heads, axis=1) for x in (q, k, v)), bias, strict=True)
    ]
    return np.concatenate(out, axis=1)


def relative_bias(layer):
    """(heads, p, p), entry by entry from the table's definition."""
    side, table = layer.window_size, np.asarray(layer.bias_table)
    places = [(y, x) for y in range(side) for x in range(side)]
    return np.stack([
        [[table[(yi - yj + side - 1) * (2 * side - 1) + xi - xj + side - 1, head] for yj, xj in places]
         for yi, xi in places]
        for head in range(layer.num_heads)
    ])  # fmt: skip


def local(q, k, v, layer):
    """One image: maps (h, w, c) whose sides are whole windows."""
    side, out = layer.window_size, np.zeros_like(q)
    bias = relative_bias(layer)
    for y in range(0, q.shape[0], side):
        for x in range(0, q.shape[1], side):
            window = np.s_[y : y + side, x : x + side]
            flat_q, flat_k, flat_v = (part[window].reshape(side * side, -1) for part in (q, k, v))
            out[window] = attend(flat_q, flat_k, flat_v, layer.num_heads, bias).reshape(side, side, -1)
    return out


def local_global(pixels, tokens, layer):
    """One image: (h, w, c) and (t, c) or None, through the whole branch."""
    height, width, channels = pixels.shape
    heads, side = layer.num_heads, layer.window_size
    if side is None:
        q, k, v = np.split(linear(pixels, layer.qkv).reshape(-1, 3 * channels), 3, axis=-1)
        out = attend(q, k, v, heads).reshape(pixels.shape)
    else:
        padded = np.pad(pixels, ((0, -height % side), (0, -width % side), (0, 0)))
        q, k, v = np.split(linear(padded, layer.qkv), 3, axis=-1)
        out = local(q, k, v, layer.local)[:height, :width]
        q, k, v = (part[:height, :width].reshape(-1, channels) for part in (q, k, v))
    if tokens is not None:
        gathered = attend(linear(tokens, layer.qkv)[:, :channels], k, v, heads)
        token_keys, token_values = np.split(linear(gathered, layer.broadcast.kv), 2, axis=-1)
        out = out + attend(q, token_keys, token_values, heads).reshape(out.shape)
        tokens = linear(gathered, layer.proj)
    return linear(out, layer.proj), tokens


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw(rng, *shape):
    return rng.standard_normal(shape).astype("float32")


@pytest.mark.parametrize(("side", "heads"), [(2, 1), (3, 2), (7, 4)])
def test_local_window(rng, side, heads):
    layer = LocalWindowAttention(heads, side)
    q, k, v = (draw(rng, 3, side * side, 16) for _ in range(3))
    randomise(layer, q, k, v)
    windows = zip(*(part.reshape(3, side, side, 16) for part in (q, k, v)), strict=True)
    expected = [local(a, b, c, layer) for a, b, c in windows]
    np.testing.assert_allclose(layer(q, k, v), np.reshape(expected, q.shape), atol=2e-5)


def test_aggregation(rng):
    layer = GlobalAggregation(2)
    q, k, v = draw(rng, 2, 3, 16), draw(rng, 2, 35, 16), draw(rng, 2, 35, 16)
    expected = [attend(a, b, c, 2) for a, b, c in zip(q, k, v, strict=True)]
    np.testing.assert_allclose(layer(q, k, v), expected, atol=2e-5)


def test_broadcast(rng):
    layer = GlobalBroadcast(2)
    q, tokens = draw(rng, 2, 35, 16), draw(rng, 2, 3, 16)
    randomise(layer, q, tokens)
    k, v = np.split(linear(tokens, layer.kv), 2, axis=-1)
    expected = [attend(a, b, c, 2) for a, b, c in zip(q, k, v, strict=True)]
    np.testing.assert_allclose(layer(q, tokens), expected, atol=2e-5)


@pytest.mark.parametrize("window", [4, None])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("size", [(8, 8), (4, 12), (7, 9), (3, 3)])
def test_whole_branch(rng, size, count, window):
    layer = LocalGlobalAttention(2, window)
    pixels = draw(rng, 2, *size, 16)
    tokens = draw(rng, 2, count, 16) if count else None
    inputs = (pixels,) if tokens is None else (pixels, tokens)
    randomise(layer, *inputs)
    expected = [local_global(pixels[i], None if tokens is None else tokens[i], layer) for i in range(2)]
    if tokens is None:
        np.testing.assert_allclose(layer(pixels), [p for p, _ in expected], atol=3e-5)
        return
    for x, y in zip(layer(*inputs), zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(x, y, atol=3e-5)


def test_heads_must_divide_the_channels(rng):
    with pytest.raises(ValueError, match=r"`num_heads` must divide.*num_heads=3, channels=16"):
        LocalGlobalAttention(3)(draw(rng, 1, 7, 7, 16))
