"""Attention maps against numpy written from the papers' formulas, on the layers' own weights."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit import create_model, layers
from keras_effvit.explain import attention
from keras_effvit.samples import sample_image
from tests.numpy_reference import layer_norm, linear, randomise

SIZE = (9, 12)  # of no whole windows of 4, and of no whole windows of 3
CHANNELS, HEADS = 8, 2


def one_layer(layer, size=SIZE, tokens=0, seed=0):
    """A model of one layer with weights of some size, and an image for it."""
    image = keras.Input((*size, CHANNELS))
    given = [image] + ([layers.GlobalTokens(tokens, name="tokens")(image)] if tokens else [])
    model = keras.Model(image, layer(*given))
    x = np.random.default_rng(seed).standard_normal((*size, CHANNELS)).astype("float32")
    randomise(model, x[None])
    return model, x


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def by_head(x):
    """(n, heads * d) -> (heads, n, d)."""
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def softmax_weights(q, k):
    """`softmax(q k^T / sqrt(d))` of (n, c) and (m, c) -> (heads, n, m)."""
    q, k = by_head(q), by_head(k)
    return softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))


def attended(weights, v):
    """(heads, n, m) and (m, c) -> (n, c)."""
    return (weights @ by_head(v)).transpose(1, 0, 2).reshape(weights.shape[1], -1)


def padded(x, side):
    return np.pad(x, [(0, -x.shape[0] % side), (0, -x.shape[1] % side), (0, 0)])


def windows_of(x, side):
    """(height, width, c) -> (windows, pixels, c), by slicing."""
    x = padded(x, side)
    starts = [(r, c) for r in range(0, x.shape[0], side) for c in range(0, x.shape[1], side)]
    return np.stack([x[r : r + side, c : c + side].reshape(side * side, -1) for r, c in starts])


def map_of(windows, side, size):
    """The inverse, cropped."""
    rows, columns = (-(-length // side) for length in size)
    x = np.zeros((rows * side, columns * side, windows.shape[-1]), windows.dtype)
    for number, window in enumerate(windows):
        r, c = divmod(number, columns)
        x[r * side : (r + 1) * side, c * side : (c + 1) * side] = window.reshape(side, side, -1)
    return x[: size[0], : size[1]]


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_sepvit_inside_windows_and_between_them():
    """Equations 2 and 3: the weights are those of the formulas, and with them numpy gives the layer's output."""
    side = 4
    layer = layers.SeparableSelfAttention(HEADS, window_size=side, name="attn")
    model, image = one_layer(layer)
    maps = attention(model, image)
    inside, between = maps["attn/window"], maps["attn/pointwise"]
    assert (inside.grid, inside.side, inside.tokens, inside.map) == ((3, 3), side, 1, SIZE)

    x = windows_of(image, side)
    x = np.concatenate([np.asarray(layer.token)[:, None], x], axis=1)
    x = layer_norm(x, layer.norm)
    q, k, v = np.split(linear(x, layer.dsa.qkv), 3, axis=-1)
    expected = np.stack([softmax_weights(*pair) for pair in zip(q, k, strict=True)])
    close(inside.weights, expected)

    y = np.stack([attended(w, each) for w, each in zip(inside.weights, v, strict=True)]) + x
    pixels, tokens = y[:, 1:], y[:, 0]
    psa = layer.psa
    tokens = np.asarray(keras.activations.gelu(layer_norm(tokens, psa.norm), approximate=False))
    close(between.weights, softmax_weights(*np.split(linear(tokens, psa.qk), 2, axis=-1)))

    heads = pixels.reshape(len(pixels), side * side, HEADS, -1)
    mixed = np.einsum("hij,jphd->iphd", between.weights, heads).reshape(pixels.shape) + pixels
    close(linear(map_of(mixed, side, SIZE), layer.proj), np.asarray(model(image[None]))[0])


def test_sepvit_over_the_whole_map():
    layer = layers.GroupedSelfAttention(HEADS, name="attn")
    model, image = one_layer(layer)
    found = attention(model, image)["attn/global"]
    x = layer_norm(image.reshape(-1, CHANNELS), layer.norm)
    q, k, v = np.split(linear(x, layer.dsa.qkv), 3, axis=-1)
    close(found.weights, softmax_weights(q, k))
    y = linear(attended(found.weights, v) + x, layer.proj)
    close(y.reshape(*SIZE, CHANNELS), np.asarray(model(image[None]))[0])


@pytest.mark.parametrize("size", [SIZE, (8, 12)], ids=["padded", "whole windows"])
def test_lightvit_in_windows_to_tokens_and_back(size):
    """Tokens gather from pixels of the map only, every pixel reads from the tokens; both are laid out as the map."""
    side, tokens = 4, 3
    layer = layers.LocalGlobalAttention(HEADS, window_size=side, name="attn")
    model, image = one_layer(layer, size, tokens)
    maps = attention(model, image)
    token = np.asarray(model.get_layer("tokens").token)[0]
    q, k, v = np.split(linear(padded(image, side), layer.qkv), 3, axis=-1)

    offsets = [(r, c) for r in range(side) for c in range(side)]
    table = np.asarray(layer.local.bias_table).reshape(2 * side - 1, 2 * side - 1, HEADS)
    bias = np.array([[table[r - s + side - 1, c - e + side - 1] for s, e in offsets] for r, c in offsets])
    expected = []
    for one, other in zip(windows_of(q, side), windows_of(k, side), strict=True):
        scores = by_head(one) @ by_head(other).transpose(0, 2, 1) / np.sqrt(CHANNELS / HEADS)
        expected.append(softmax(scores + bias.transpose(2, 0, 1)))
    close(maps["attn/window"].weights, np.stack(expected))

    inside = [x[: size[0], : size[1]].reshape(-1, CHANNELS) for x in (q, k, v)]
    gathering = softmax_weights(linear(token, layer.qkv)[:, :CHANNELS], inside[1])
    close(maps["attn/aggregation"].weights, gathering.reshape(HEADS, tokens, *size))
    gathered = attended(gathering, inside[2])

    k_tokens, v_tokens = np.split(linear(gathered, layer.broadcast.kv), 2, axis=-1)
    reading = softmax_weights(inside[0], k_tokens)
    close(maps["attn/broadcast"].weights, reading.reshape(HEADS, *size, tokens))

    local = [attended(w, each) for w, each in zip(maps["attn/window"].weights, windows_of(v, side), strict=True)]
    mixed = map_of(np.stack(local), side, size) + attended(reading, v_tokens).reshape(*size, -1)
    y, tokens_out = model(image[None])
    close(linear(mixed, layer.proj), np.asarray(y)[0])
    close(linear(gathered, layer.proj), np.asarray(tokens_out)[0])


def test_lightvit_without_windows():
    layer = layers.LocalGlobalAttention(HEADS, window_size=None, name="attn")
    model, image = one_layer(layer, tokens=3)
    maps = attention(model, image)
    assert list(maps) == ["attn/global", "attn/aggregation", "attn/broadcast"]
    q, k, _ = np.split(linear(image.reshape(-1, CHANNELS), layer.qkv), 3, axis=-1)
    close(maps["attn/global"].weights, softmax_weights(q, k))
    token = np.asarray(model.get_layer("tokens").token)[0]
    gathering = softmax_weights(linear(token, layer.qkv)[:, :CHANNELS], k)
    close(maps["attn/aggregation"].weights, gathering.reshape(HEADS, 3, *SIZE))


def relu_weights(q, k):
    """Shares of the products; a query with no positive channel takes nothing from anywhere."""
    products = np.maximum(q, 0) @ np.maximum(k, 0).transpose(0, 2, 1)
    sums = products.sum(-1, keepdims=True)
    return np.divide(products, sums, out=np.zeros_like(products), where=sums > 0)


def test_the_weights_linear_attention_stands_for():
    """Paper's formula, written with the map that the layer never makes; a row of queries and keys is a pixel's."""
    layer = layers.LinearAttention(HEADS, head_dim=4, epsilon=1e-12, name="attn")
    model, image = one_layer(layer)
    found = attention(model, image)["attn/linear"]
    x = image.reshape(-1, CHANNELS) @ np.asarray(layer.qkv.kernel)[0, 0]
    q, k, v = x.reshape(len(x), HEADS, 3, 4).transpose(2, 1, 0, 3)
    close(found.weights, relu_weights(q, k))
    y = (found.weights @ v).transpose(1, 0, 2).reshape(len(x), -1) @ np.asarray(layer.proj.kernel)[0, 0]
    close((y + np.asarray(layer.proj.bias)).reshape(*SIZE, CHANNELS), np.asarray(model(image[None]))[0])
    close(found.seen_by(2, 5), found.weights[:, 2 * SIZE[1] + 5].mean(0).reshape(SIZE))


@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_both_scales_of_linear_attention(kind):
    """The second set of heads sees neighbourhoods: a depthwise convolution, then a linear layer in every group."""
    layer = layers.MultiScaleLinearAttention(4, kernel_size=3, attention=kind, epsilon=1e-12, name="attn")
    model, image = one_layer(layer)
    maps = attention(model, image)
    assert list(maps) == [f"attn/{kind}", f"attn/{kind}_3x3"]
    pixels = image @ np.asarray(layer.qkv.kernel)[0, 0]
    around = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    kernel = np.asarray(layer.aggregate_depth.kernel)[..., 0]
    taps = [around[r : r + SIZE[0], c : c + SIZE[1]] * kernel[r, c] for r in range(3) for c in range(3)]
    groups = np.sum(taps, axis=0).reshape(*SIZE, -1, 4)
    point = np.asarray(layer.aggregate_point.kernel)[0, 0].reshape(4, -1, 4).transpose(1, 0, 2)
    neighbours = np.einsum("hwgi,gio->hwgo", groups, point)
    for name, x in zip(maps, (pixels, neighbours), strict=True):
        q, k, _ = x.reshape(-1, 2, 3, 4).transpose(2, 1, 0, 3)
        expected = relu_weights(q, k) if kind == "linear" else softmax(q @ k.transpose(0, 2, 1) / 2)
        close(maps[name].weights, expected)


def test_lvt_in_overlapping_windows():
    layer = layers.ConvolutionalSelfAttention(HEADS, name="attn")
    model, image = one_layer(layer, size=(8, 12))
    found = attention(model, image)["attn/convolution"]
    assert found.grid == (4, 6)
    means = image.reshape(4, 2, 6, 2, CHANNELS).mean(axis=(1, 3))
    logits = linear(means, layer.logits).reshape(4, 6, HEADS, 9, 9) / np.sqrt(CHANNELS / HEADS)
    close(found.weights, softmax(logits))
    # A pixel of odd row and column lies in four windows, in each of them at another corner.
    row, column, expected = 3, 5, np.zeros((10, 14))
    for a, r in ((1, 2), (2, 0)):
        for e, c in ((2, 2), (3, 0)):
            expected[2 * a : 2 * a + 3, 2 * e : 2 * e + 3] += found.weights[a, e, :, 3 * r + c].mean(0).reshape(3, 3)
    close(found.seen_by(row, column), expected[1:-1, 1:-1] / 4)


def test_every_step_of_lvts_recursion():
    layer = layers.RecursiveAtrousSelfAttention(HEADS, recursion=2, dilations=None, reduction=2, name="attn")
    model, image = one_layer(layer, size=(8, 12))
    maps = attention(model, image)
    assert list(maps) == ["attn/atrous1", "attn/atrous2"]

    def step(x):
        patches = x.reshape(4, 2, 6, 2, CHANNELS).transpose(0, 2, 1, 3, 4).reshape(24, -1)
        small = patches @ np.asarray(layer.reduce.kernel).reshape(-1, CHANNELS) + np.asarray(layer.reduce.bias)
        k, v = np.split(linear(layer_norm(small, layer.norm), layer.kv), 2, axis=-1)
        weights = softmax_weights(linear(x.reshape(-1, CHANNELS), layer.q), k)
        y = linear(attended(weights, v), layer.proj).reshape(x.shape)
        return weights, y / (1 + np.exp(-y))  # SiLU

    first, y = step(image)
    second, y = step(image + y)
    close(maps["attn/atrous1"].weights, first)
    close(maps["attn/atrous2"].weights, second)
    close(y, np.asarray(model(image[None]))[0])
    assert maps["attn/atrous1"].seen_by(7, 11).shape == (4, 6)


def test_the_class_token_knows_the_map():
    image = keras.Input((*SIZE, CHANNELS))
    layer = layers.ClassAttention(HEADS, name="attn")
    model = keras.Model(image, layer(layers.ClassToken(name="token")(image)))
    x = np.random.default_rng(0).standard_normal((*SIZE, CHANNELS)).astype("float32")
    found = attention(model, x)["attn/class"]
    tokens = np.concatenate([np.asarray(model.get_layer("token").token)[0], x.reshape(-1, CHANNELS)])
    k, v = np.split(linear(tokens, layer.kv), 2, axis=-1)
    weights = softmax_weights(linear(tokens[:1], layer.q), k)
    close(found.weights, weights[:, 0])
    assert (found.map, found.tokens) == (SIZE, 1)
    close(linear(attended(weights, v), layer.proj), np.asarray(model(x[None]))[0])


sizes = st.tuples(st.integers(2, 15), st.integers(2, 15))


@settings(max_examples=8, deadline=None)
@given(size=sizes, side=st.integers(2, 5))
def test_what_is_taken_adds_up_to_one_whatever_the_size(size, side):
    """Softmax shares out 1 among all keys; no row and no column is missing or counted twice."""
    sepvit, image = one_layer(layers.SeparableSelfAttention(HEADS, side, window_token="zero", name="attn"), size)
    found = list(attention(sepvit, image).values())
    lightvit, image = one_layer(layers.LocalGlobalAttention(HEADS, side, name="attn"), size, tokens=2)
    maps = attention(lightvit, image)
    aggregation, broadcast = maps.pop("attn/aggregation").weights, maps.pop("attn/broadcast").weights
    assert (aggregation.shape, broadcast.shape) == ((HEADS, 2, *size), (HEADS, *size, 2))
    np.testing.assert_allclose(aggregation.sum(axis=(-1, -2)), 1, rtol=1e-5)
    np.testing.assert_allclose(broadcast.sum(-1), 1, rtol=1e-5)
    for each in (*found, *maps.values()):
        np.testing.assert_allclose(each.weights.sum(-1), 1, rtol=1e-5)
    # In one window that is as large as the map nothing is cut off, so that a pixel's share of pixels is 1 too.
    whole, image = one_layer(layers.LocalGlobalAttention(HEADS, side, name="attn"), (side, side))
    seen = attention(whole, image)["attn/window"].seen_by(side - 1, 0)
    np.testing.assert_allclose(seen.sum(), 1, rtol=1e-5)


@settings(max_examples=6, deadline=None)
@given(size=sizes, place=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_a_pixel_sees_what_is_around_it(size, place):
    row, column = int(size[0] * place[0]), int(size[1] * place[1])
    model, image = one_layer(layers.ConvolutionalSelfAttention(HEADS, name="attn"), size)
    seen = attention(model, image)["attn/convolution"].seen_by(row, column)
    rows, columns = np.nonzero(seen)
    assert seen.shape == size
    assert seen.sum() <= 1 + 1e-5
    assert np.abs(rows - row).max() <= 2
    assert np.abs(columns - column).max() <= 2
    model, image = one_layer(layers.LocalGlobalAttention(HEADS, 3, name="attn"), size)
    rows, columns = np.nonzero(attention(model, image)["attn/window"].seen_by(row, column))
    assert set(rows // 3) == {row // 3}
    assert set(columns // 3) == {column // 3}


@pytest.fixture(scope="module")
def lvt():
    return create_model("lvt", input_shape=(64, 64, 3), classes=3)


def test_every_attention_of_a_model_by_name(lvt):
    before = np.asarray(lvt(np.ones((1, 64, 64, 3), "float32")))
    maps = attention(lvt, sample_image())
    attentions = [name for name in maps if name.startswith("stage")]
    assert attentions[:3] == [
        "stage1_block1_attn/convolution",
        "stage1_block2_attn/convolution",
        "stage2_block1_attn/atrous1",
    ]
    assert list(maps)[-2:] == ["class_block1/attn/class", "class_block2/attn/class"]
    assert maps["class_block2/attn/class"].map == (2, 2)
    assert maps["class_block2/attn/class"].pixels.shape == (64, 64, 3)
    np.testing.assert_array_equal(lvt(np.ones((1, 64, 64, 3), "float32")), before)


def test_only_what_is_asked_for(lvt):
    assert list(attention(lvt, sample_image(), "class*")) == ["class_block1/attn/class", "class_block2/attn/class"]
    with pytest.raises(ValueError, match=r"`names` must match any of stage1_block1_attn/convolution, .*'stage9\*'"):
        attention(lvt, sample_image(), "stage9*")


def test_nothing_attends():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image), name="plain")
    with pytest.raises(ValueError, match=r"Expected a model with attention layers of keras_effvit. Received: plain"):
        attention(model, np.zeros((8, 8, 3), np.uint8))


def test_a_place_that_is_none(lvt):
    maps = attention(lvt, sample_image())
    with pytest.raises(ValueError, match=r"Expected a place in 16 x 16. Received: row=16, column=0"):
        maps["stage1_block1_attn/convolution"].seen_by(16, 0)
    with pytest.raises(ValueError, match=r"Expected places that look at places. Received: class"):
        maps["class_block1/attn/class"].seen_by(0, 0)
