"""Models with weights that keep a signal alive, converted once for all tests."""

import functools
import math
import warnings

import numpy as np
import pytest

from keras_effvit import create_model, lite
from keras_effvit.weights import load_state_dict
from tests.parity import Fixture, draw

FIXTURES = {
    "efficientvit_b0": "efficientvit_b0",
    "efficientvit_b1": "efficientvit_b1",
    "lightvit_tiny": "lightvit_tiny",
    "lvt": "lvt",
    "sepvit_lite": "sepvit_lite",
    "sepvit_tiny": "sepvit_t",
}


def alive(model, seed=0):
    """Random weights that keep a signal alive, without the zeros that some branches start with."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = np.asarray(weight)
        if weight.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, value.shape)
        elif weight.name == "kernel":
            depthwise = value.ndim == 4 and value.shape[-1] == 1
            fan_in = math.prod(value.shape[:2]) if depthwise else math.prod(value.shape[:-1])
            value = rng.normal(0, math.sqrt(1.5 / fan_in), value.shape)
        else:
            value = rng.normal(0, 0.1, value.shape)
        weight.assign(value)
    return model


@functools.cache
def model_of(name, side=224):
    model = create_model(name, input_shape=(side, side, 3), classifier_activation=None)
    if side == 224 and name in FIXTURES:
        load_state_dict(model, Fixture(FIXTURES[name]).state_dict())
        return model
    return alive(model)


@functools.cache
def images(count=8, side=224):
    return np.stack([draw(f"calibration {number}", (side, side, 3)) for number in range(count)])


@functools.cache
def converted(name, precision, side=224):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*XNNPACK partitions")
        return lite.convert(model_of(name, side), precision, calibration=images(side=side))


@pytest.fixture(scope="session")
def small():
    """A whole model on small images: every kind of layer, a second to convert."""
    return converted("efficientvit_b0", "float32", 64)
