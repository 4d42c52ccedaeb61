"""Stochastic depth: what it drops, what it keeps, and that the mean stays."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.layers import DropPath


@settings(max_examples=10, deadline=None)
@given(rate=st.floats(0.05, 0.9), seed=st.integers(0, 1000))
def test_keeps_the_expectation(rate, seed):
    samples = 20_000
    y = np.asarray(DropPath(rate, seed=seed)(np.ones((samples, 1, 1, 1), "float32"), training=True))
    standard_error = np.sqrt(rate / (1 - rate) / samples)
    assert abs(y.mean() - 1) < 5 * standard_error


def test_drops_whole_samples_and_scales_the_others():
    x = np.random.default_rng(0).uniform(1, 2, (64, 3, 4, 5)).astype("float32")
    y = np.asarray(DropPath(0.25, seed=0)(x, training=True))
    kept = y[:, 0, 0, 0] != 0
    assert 0 < kept.sum() < 64
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-6)
    assert not y[~kept].any()


def test_draws_anew_at_every_call():
    layer, x = DropPath(0.5, seed=0), np.ones((64, 1), "float32")
    assert (np.asarray(layer(x, training=True)) != np.asarray(layer(x, training=True))).any()


def test_does_nothing_at_inference():
    x = np.ones((4, 3), "float32")
    np.testing.assert_array_equal(DropPath(0.9)(x), x)


def test_half_precision_stays_half_precision():
    y = DropPath(0.5, dtype="mixed_float16")(keras.ops.ones((4, 3), "float16"), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_refuses_a_rate_outside_its_range(rate):
    with pytest.raises(ValueError, match=rf"`rate` must be in \[0, 1\)\. Received: rate={rate}"):
        DropPath(rate)
