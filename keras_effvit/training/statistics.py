"""The statistics of batch normalisation, estimated anew for weights that were never trained: a moving average's."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def reestimate(model: keras.Model, batches: Iterable[tuple[Any, Any]]) -> int:
    """Sets every mean and variance to the average over batches; nothing else changes.

    Args:
        model: of any kind; one without batch normalisation stays as it is.
        batches: pairs of images and whatever; of the same size each.

    Returns:
        How many images there were.
    """
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return 0
    variables = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
    sums = [np.zeros(variable.shape) for variable in variables]
    images = count = 0
    with _only_statistics(model, norms):
        see = tf.function(lambda x: model(x, training=True), autograph=False)
        for x, *_ in batches:
            see(x)
            sums = [total + variable.numpy() for total, variable in zip(sums, variables, strict=True)]
            images, count = images + len(x), count + 1
    if count:
        for variable, total in zip(variables, sums, strict=True):
            variable.assign(total / count)
    return images


@contextmanager
def _only_statistics(model: keras.Model, norms: list[Any]) -> Iterator[None]:
    """A model whose norms keep the last batch's statistics, and that drops nothing."""
    before: list[tuple[Any, str, Any]] = [(norm, "momentum", norm.momentum) for norm in norms]
    before += [
        (layer, "rate", layer.rate)
        for layer in model._flatten_layers()
        if isinstance(getattr(layer, "rate", None), float)
    ]
    for layer, name, _ in before:
        setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)
