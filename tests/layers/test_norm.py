"""Layer normalisation against its formula in float64."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.layers import GroupNorm, LayerNorm
from tests.numpy_reference import layer_norm, randomise


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    channels=st.integers(2, 40),
    epsilon=st.sampled_from([1e-5, 1e-6]),
)
def test_follows_the_formula(shape, channels, epsilon):
    x = np.random.default_rng(0).standard_normal((*shape, channels)).astype("float32")
    layer = LayerNorm(epsilon)
    randomise(layer, x)
    np.testing.assert_allclose(layer(x), layer_norm(x.astype("float64"), layer), atol=1e-4)


def test_epsilon_is_the_one_asked_for():
    x = np.array([[0.001, -0.001]], "float32")
    assert float(LayerNorm(1e-6)(x)[0, 0]) == pytest.approx(0.001 / np.sqrt(2e-6), rel=1e-4)


def test_statistics_survive_half_precision():
    """Values whose squares overflow float16."""
    x = keras.ops.cast(np.random.default_rng(0).uniform(-500, 500, (2, 64)), "float16")
    layer = LayerNorm(dtype="mixed_float16")
    y = np.asarray(layer(x))
    expected = layer_norm(np.asarray(x, "float64"), layer)
    np.testing.assert_allclose(y, expected, atol=2e-3)
    assert y.dtype == np.float16


@pytest.mark.parametrize(("shape", "groups"), [((2, 3, 5, 8), 4), ((1, 4, 4, 6), 1), ((2, 1, 7, 6), 6)])
def test_groups_follow_the_formula(shape, groups):
    """A group's mean and variance are over its channels and all pixels of one image."""
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    layer = GroupNorm(groups, 1e-3)
    randomise(layer, x)
    expected = np.empty(shape)
    width = shape[-1] // groups
    for image in range(shape[0]):
        for group in range(groups):
            channels = slice(group * width, (group + 1) * width)
            part = x[image, :, :, channels].astype("float64")
            expected[image, :, :, channels] = (part - part.mean()) / np.sqrt(part.var() + 1e-3)
    expected = expected * np.asarray(layer.gamma) + np.asarray(layer.beta)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`groups` must divide the channels\. Received: groups=5"):
        GroupNorm(5)(x)
