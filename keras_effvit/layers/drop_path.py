"""Stochastic depth."""

import keras
from keras import ops

from keras_effvit.layers.registration import serializable


def drop_path(x, rate: float, seed):
    """Zeroes whole samples with probability `rate` and scales the others so that the expectation is `x`."""
    keep = 1.0 - rate
    shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
    mask = ops.floor(keep + keras.random.uniform(shape, dtype="float32", seed=seed))
    return x * ops.cast(mask / keep, x.dtype)


@serializable
class DropPath(keras.layers.Layer):
    """Drops a residual branch per sample while training (stochastic depth, Huang et al. 2016).

    Args:
        rate: probability of dropping a sample's branch, in [0, 1).
        seed: makes the draws repeatable.

    Raises:
        ValueError: if `rate` is outside [0, 1).

    Example:
        >>> DropPath(0.1)(keras.ops.ones((2, 7, 7, 32)), training=True).shape
        (2, 7, 7, 32)
    """

    def __init__(self, rate: float = 0.0, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, inputs, training=False):
        if not training or self.rate == 0.0:
            return inputs
        return drop_path(inputs, self.rate, self.seed_generator)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
