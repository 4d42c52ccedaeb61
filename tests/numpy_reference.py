"""Pieces of numpy references shared by the layers' tests, and random weights for the layers they check."""

import numpy as np


def randomise(layer, *inputs, seed: int = 1) -> None:
    """Builds a layer by calling it, and gives every weight a random value, so that no term can hide."""
    layer(*inputs)
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.dtype.startswith("float"):
            scale = 0.3 if len(weight.shape) > 1 else 0.5
            centre = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
            value = scale * rng.standard_normal(weight.shape) + centre
            weight.assign(np.abs(value) if weight.name == "moving_variance" else value)


def linear(x, layer):
    """A dense layer in float64."""
    y = x @ np.asarray(layer.kernel, "float64")
    return y if layer.bias is None else y + np.asarray(layer.bias, "float64")


def layer_norm(x, layer):
    """A layer normalisation in float64."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + layer.epsilon) * np.asarray(layer.gamma) + np.asarray(layer.beta)
