"""Stochastic depth."""

import keras
from keras import ops

from keras_effvit.layers.registration import serializable


def drop_path(x, rate: float, seed):
    """Zeroes whole samples with probability `rate` and scales the others so that the expectation is `x`.

    Args:
        x: a tensor, or several that share the batch; a sample is dropped from all of them.
        rate: probability of dropping a sample.
        seed: an integer or a `keras.random.SeedGenerator`.
    """
    keep = 1.0 - rate
    batch = ops.shape(keras.tree.flatten(x)[0])[0]
    mask = ops.floor(keep + keras.random.uniform((batch,), dtype="float32", seed=seed)) / keep

    def scale(y):
        return y * ops.cast(ops.reshape(mask, (-1, *(1,) * (len(y.shape) - 1))), y.dtype)

    return keras.tree.map_structure(scale, x)


@serializable
class DropPath(keras.layers.Layer):
    """Drops a residual branch per sample while training (stochastic depth, Huang et al. 2016).

    A branch of several tensors, such as a map and the tokens beside it, is given as a list and dropped as one.

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
