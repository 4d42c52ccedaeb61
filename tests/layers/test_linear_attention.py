"""ReLU linear attention: against its quadratic form in float64, in half precision, and without (n, n) anywhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from keras_effvit.layers import LinearAttention, MultiScaleLinearAttention, relu_linear_attention
from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from tests.layers.test_conv import patches
from tests.numpy_reference import randomise

MAPS = [(2, 5, 7, 32), (1, 6, 6, 32), (1, 1, 9, 32)]


def quadratic(q, k, v, epsilon):
    """The same attention with its (n, n) weights, in float64: (..., d, n) -> (..., d, n)."""
    q, k, v = (np.asarray(x, "float64") for x in (q, k, v))
    weights = np.einsum("...di,...dj->...ij", np.maximum(q, 0), np.maximum(k, 0))
    weights = weights / (weights.sum(axis=-1, keepdims=True) + epsilon)
    return np.einsum("...ij,...dj->...di", weights, v)


def attend_in_numpy(qkv, head_dim, kind, epsilon):
    """A map of heads, each with its queries, keys and values -> the map of averages."""
    batch, height, width, channels = qkv.shape
    heads = channels // (3 * head_dim)
    # (b, n, heads, 3, d) -> three of (b, heads, d, n)
    q, k, v = np.moveaxis(qkv.reshape(batch, -1, heads, 3, head_dim), (3, 1), (0, -1))
    if kind == "linear":
        y = quadratic(q, k, v, epsilon)
    else:
        y = v @ softmax(np.einsum("bhdi,bhdj->bhij", q, k) / np.sqrt(head_dim), axis=-1).swapaxes(-1, -2)
    return np.moveaxis(y, -1, 1).reshape(batch, height, width, heads * head_dim)


def pointwise(x, conv):
    y = x @ np.asarray(conv.kernel, "float64")[0, 0]
    return y if conv.bias is None else y + np.asarray(conv.bias)


def single_scale(x, layer):
    y = attend_in_numpy(pointwise(x, layer.qkv), layer.head_dim, layer.attention, layer.epsilon)
    return pointwise(y, layer.proj)


def multi_scale(x, layer):
    pixels = pointwise(x, layer.qkv)
    side, dim = layer.kernel_size, layer.head_dim
    kernel = np.asarray(layer.aggregate_depth.kernel).reshape(side * side, -1)
    around = (patches(pixels, side, 1) * kernel).sum(axis=3)
    # Output channel o belongs to group o // dim.
    kernel = np.asarray(layer.aggregate_point.kernel)[0, 0]
    groups = range(0, around.shape[-1], dim)
    mixed = np.concatenate([around[..., g : g + dim] @ kernel[:, g : g + dim] for g in groups], axis=-1)
    y = attend_in_numpy(np.concatenate([pixels, mixed], axis=-1), dim, layer.attention, layer.epsilon)
    y, norm = y @ np.asarray(layer.proj.conv.kernel, "float64")[0, 0], layer.proj.norm
    scale = np.asarray(norm.gamma) / np.sqrt(np.asarray(norm.moving_variance) + 1e-5)
    return (y - np.asarray(norm.moving_mean)) * scale + np.asarray(norm.beta)


REFERENCES = {LinearAttention: single_scale, MultiScaleLinearAttention: multi_scale}


def make(kind, **options):
    return kind(num_heads=3, head_dim=8, **options) if kind is LinearAttention else kind(head_dim=8, **options)


every_kind = pytest.mark.parametrize("kind", REFERENCES)


@every_kind
@pytest.mark.parametrize("attention", ["linear", "softmax"])
@pytest.mark.parametrize("shape", MAPS)
def test_follows_the_formula(kind, attention, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    layer = make(kind, attention=attention)
    randomise(layer, x)
    expected = REFERENCES[kind](x.astype("float64"), layer)
    np.testing.assert_allclose(layer(x), expected, atol=1e-4 * expected.std(), rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 4),
    d=st.integers(1, 33),
    n=st.integers(1, 150),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 99),
)
def test_equals_its_quadratic_form(batch, heads, d, n, scale, seed):
    """In float64, so that nothing but the order of the products can differ."""
    q, k, v = scale * np.random.default_rng(seed).standard_normal((3, batch, heads, d, n))
    y = relu_linear_attention(*(keras.ops.convert_to_tensor(x) for x in (q, k, v)))
    assert keras.backend.standardize_dtype(y.dtype) == "float64"
    np.testing.assert_allclose(y, quadratic(q, k, v, 1e-15), atol=1e-9 * scale)


def test_every_average_lies_among_the_values():
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 2, 8, 50)).astype("float32")
    y = np.asarray(relu_linear_attention(q, k, np.abs(v) + 1))
    lowest, highest = (bound(np.abs(v) + 1, axis=-1, keepdims=True) for bound in (np.min, np.max))
    assert ((y >= lowest * (1 - 1e-5)) & (y <= highest * (1 + 1e-5))).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("nothing", ["q", "k"])
def test_without_positive_queries_or_keys_the_answer_is_zero(dtype, nothing):
    x = {name: np.random.default_rng(0).standard_normal((1, 2, 8, 20)) for name in "qkv"}
    x[nothing] = -np.abs(x[nothing])
    q, k, v = (tf.Variable(keras.ops.cast(x[name], dtype)) for name in "qkv")
    with tf.GradientTape() as tape:
        y = relu_linear_attention(q, k, v)
    np.testing.assert_array_equal(keras.ops.cast(y, "float32"), np.zeros((1, 2, 8, 20)))
    for gradient in tape.gradient(y, [q, k, v]):
        assert np.isfinite(keras.ops.cast(gradient, "float32")).all()


def test_sums_over_many_pixels_survive_half_precision():
    """4096 pixels: the sums exceed float16's 65504 many times, and its epsilon would be zero."""
    q, k, v = np.random.default_rng(0).uniform(-30, 30, (3, 1, 2, 16, 4096)).astype("float16")
    sums = np.einsum("bhdi,bhdj->bhi", *(np.maximum(x, 0).astype("float64") for x in (q[..., :4], k)))
    assert sums.min() > 65504
    y = np.asarray(relu_linear_attention(*(keras.ops.convert_to_tensor(x) for x in (q, k, v))))
    assert y.dtype == np.float16
    expected = quadratic(q, k, v, 1e-15)
    # What remains is the rounding of the answer to float16: half a unit in the last of eleven binary places.
    assert np.abs(y - expected).max() <= np.abs(expected).max() * 2.0**-11 + 1e-5


@every_kind
def test_mixed_precision_stays_close_to_float64(kind):
    x = np.random.default_rng(0).standard_normal((1, 16, 16, 32)).astype("float16")
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        layer = make(kind)
        randomise(layer, x)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    y = np.asarray(layer(x))
    assert y.dtype == np.float16
    expected = REFERENCES[kind](x.astype("float64"), layer)
    # Each of four roundings to float16 contributes at most 2^-11 of the values it is applied to.
    np.testing.assert_allclose(y, expected, atol=4 * 2.0**-11 * np.abs(expected).max())


def tensors(graph):
    """Every tensor of a graph, those of the functions it calls too."""
    for op in graph.get_operations():
        yield from op.outputs
        if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
            yield from tensors(graph._get_function(op.get_attr("f").name).graph)


def quadratic_tensors(layer, height, width):
    """What the graph of `layer` and of its gradient holds that grows with the square of the number of pixels."""

    def forward_and_backward(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, *(w.value for w in layer.trainable_weights)])

    shape = (1, height, width, 16)
    layer(np.zeros(shape, "float32"))
    graph = tf.function(forward_and_backward).get_concrete_function(tf.TensorSpec(shape)).graph
    pixels = height * width
    shapes = {tuple(t.shape) for t in tensors(graph) if t.shape.rank is not None}
    return {s for s in shapes if s.count(pixels) > 1 or np.prod(s) >= pixels**2}


@every_kind
def test_no_tensor_of_pixels_by_pixels(kind):
    """37 x 41 = 1517 pixels; no other side or product of sides comes near that number squared."""
    assert quadratic_tensors(make(kind), 37, 41) == set()
    assert any(s[-2:] == (1517, 1517) for s in quadratic_tensors(make(kind, attention="softmax"), 37, 41))


@every_kind
def test_cost_is_linear_in_pixels(kind):
    """Both products of a head cost (d + 1) d for every pixel."""
    channels, d, costs = 32, 8, []
    for height, width in ((6, 7), (12, 7)):
        image = keras.Input((height, width, channels))
        costs.append(count_macs(keras.Model(image, make(kind)(image))) / (height * width))
    if kind is LinearAttention:
        inner, heads = 3 * d, 3
        expected = channels * 3 * inner + 2 * heads * d * (d + 1) + inner * channels
    else:
        aggregation = 3 * channels * (25 + d)
        heads = 2 * channels // d
        expected = channels * 3 * channels + aggregation + 2 * heads * d * (d + 1) + 2 * channels * channels
    assert costs == [expected, expected]


@every_kind
def test_the_softmax_twin_has_the_same_weights(kind):
    linear, twin = make(kind), make(kind, attention="softmax")
    for layer in (linear, twin):
        layer.build((None, 6, 7, 32))
    assert [(w.name, w.shape) for w in twin.weights] == [(w.name, w.shape) for w in linear.weights]
    assert count_params(twin.trainable_weights) == count_params(linear.trainable_weights)


@every_kind
def test_epsilon_is_the_one_asked_for(kind):
    """With tiny keys the sum of weights is comparable to a large epsilon."""
    x = np.random.default_rng(0).standard_normal((1, 3, 3, 32)).astype("float32")
    layer = make(kind, epsilon=10.0)
    randomise(layer, x)
    expected = REFERENCES[kind](x.astype("float64"), layer)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-3, atol=1e-3 * expected.std())
    layer.epsilon = 1e-5
    assert np.abs(layer(x) - expected).max() > 0.1 * expected.std()


def test_the_epsilons():
    assert MultiScaleLinearAttention().epsilon == 1e-15
    assert LinearAttention(1).epsilon > 0


@every_kind
def test_any_size(kind):
    image = keras.Input((None, None, 32))
    layer = make(kind)
    model = keras.Model(image, layer(image))
    for shape in MAPS:
        x = np.random.default_rng(0).standard_normal(shape).astype("float32")
        randomise(layer, x)
        y = model.predict(x, verbose=0)
        np.testing.assert_allclose(y, layer(x), atol=1e-4 * float(y.std()), rtol=1e-4)


def test_heads_must_fit():
    with pytest.raises(ValueError, match=r"`head_dim` must divide the channels. Received: head_dim=16, channels=40"):
        MultiScaleLinearAttention(16).build((None, 7, 7, 40))


@every_kind
def test_an_unknown_attention_is_refused(kind):
    with pytest.raises(ValueError, match=r"`attention` must be one of \('linear', 'softmax'\). Received: attention=''"):
        make(kind, attention="")
