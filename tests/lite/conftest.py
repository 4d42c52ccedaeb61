"""Models with weights that keep a signal alive, converted once for all tests."""

import functools
import math
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_effvit import create_model, layers, lite
from keras_effvit.lite import conversion
from keras_effvit.lite.exporting import export_float
from keras_effvit.preprocessing import preprocessing_layer
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


def grouped(*names, slow=()):
    """Parameters whose tests share a worker, and what it has converted, with all others of the same model."""
    marks = {name: [pytest.mark.xdist_group(name), *([pytest.mark.slow] if name in slow else [])] for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Where nothing else is said, it is the smallest model of small images, which is converted on one worker too."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("efficientvit_b0"))


@functools.cache
def model_of(name, side=224, pixels=False):
    """A model to look at; the last option has it scale pixels itself."""
    model = create_model(name, input_shape=(side, side, 3), classifier_activation=None, include_preprocessing=pixels)
    if side == 224 and name in FIXTURES:
        load_state_dict(model, Fixture(FIXTURES[name]).state_dict())
        return model
    return alive(model)


def tiny(classes=3, side=32, pixels=False):
    """A network of every kind of layer, for what does not depend on there being many: training, above all."""
    image = keras.Input((side, side, 3), name="image")
    x = preprocessing_layer()(image) if pixels else image
    x = layers.ConvNormAct(16, 3, strides=2, activation=layers.hard_swish, name="stem")(x)
    x = layers.MBConv(16, strides=2, name="block")(x)
    x = keras.layers.Add()([x, layers.MultiScaleLinearAttention(8, name="linear")(x)])
    x = keras.layers.Add()([x, layers.SeparableSelfAttention(2, window_size=4, name="attn")(x)])
    x = keras.layers.Add()([x, layers.Mlp(2, name="mlp")(layers.LayerNorm(name="norm")(x))])
    x = keras.layers.Dense(classes, name="head")(keras.layers.GlobalAveragePooling2D()(x))
    return alive(keras.Model(image, x, name="tiny"))


@functools.cache
def images(count=8, side=224):
    return np.stack([draw(f"calibration {number}", (side, side, 3)) for number in range(count)])


@functools.cache
def exported(name, side=224, pixels=False, hard_swish="fused"):
    """The float file that conversions start from, the same for every precision that spells hard-swish alike."""
    return export_float(model_of(name, side, pixels), hard_swish=hard_swish)


def convert(name, side, precision, *, pixels=False, **options):
    """`lite.convert` of a model of these tests, which is exported once for all of them: that takes most of the time."""

    def export(model, *, batch, image_shape, hard_swish):
        if (batch, image_shape) != (1, None):
            return export_float(model, batch=batch, image_shape=image_shape, hard_swish=hard_swish)
        return exported(name, side, pixels, hard_swish)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "export_float", export)
        return lite.convert(model_of(name, side, pixels), precision, **{"calibration": images(side=side), **options})


@functools.cache
def converted(name, precision, side=224):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*XNNPACK partitions")
        return convert(name, side, precision)


@pytest.fixture(scope="session")
def small():
    """A whole model on small images: every kind of layer, a second to convert."""
    return converted("efficientvit_b0", "float32", 64)
