"""The learning rate and the decay, against the formulas in numpy."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.training.schedule import AdamW, cosine, undecayed


@given(
    st.integers(1, 2000),
    st.floats(0, 0.9),
    st.floats(1e-5, 1e-1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_cosine_after_a_warm_up(steps, warm, peak, start, final):
    warmup = int(warm * steps)
    start, final = start * peak, final * peak
    rate = cosine(peak, steps, final=final, warmup_steps=warmup, start=start)
    for step in {0, warmup // 2, warmup, (warmup + steps) // 2, steps - 1, steps, steps + 5}:
        if step < warmup:
            expected = start + (peak - start) * step / warmup
        else:
            done = min((step - warmup) / (steps - warmup), 1.0)
            expected = final + (peak - final) * 0.5 * (1 + math.cos(math.pi * done))
        # Keras calculates in float32: an angle of pi is off by 1e-7, a sum of terms as large as the peak by 2e-7 of it.
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6 * peak)


@pytest.mark.parametrize("warmup", [-1, 10])
def test_a_warm_up_must_end(warmup):
    with pytest.raises(ValueError, match=f"below 10. Received: warmup_steps={warmup}"):
        cosine(1e-3, 10, warmup_steps=warmup)


def weights():
    shapes = {"kernel": (2, 3), "bias": (3,), "gamma": (3,), "token": (1, 2, 3), "bias_table": (4, 2), "scale": ()}
    return [keras.Variable(np.ones(shape, "float32"), name=name) for name, shape in shapes.items()]


@pytest.mark.parametrize(
    ("names", "decayed"), [((), {"kernel", "token", "bias_table"}), (("token",), {"kernel", "bias_table"})]
)
def test_decay_is_the_rate_times_the_weight_where_it_is_meant(names, decayed):
    variables = weights()
    optimizer = AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=undecayed(variables, names))
    optimizer.apply([np.zeros(variable.shape, "float32") for variable in variables], variables)
    for variable in variables:
        expected = 1 - 0.1 * 0.5 if variable.name in decayed else 1.0
        np.testing.assert_allclose(variable, np.full(variable.shape, expected), rtol=1e-6)
