"""Randomness that is a function of where in training one is, not of what was drawn before."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf


class Stream(keras.random.SeedGenerator):
    """Seeds that follow from a key: the first, the second and so on are the same wherever the key is.

    Keras' random functions and augmentation layers take one wherever they take a `seed`. The state of a `SeedGenerator`
    would be shared by all of a pipeline's threads, and who draws first would decide what an image gets.

    Args:
        key: an int32 tensor of two numbers; a tensor of the graph, so that every image can have its own.

    Example:
        >>> stream = Stream(key(7, 0, 3))
        >>> first, second = stream.next(), stream.next()
        >>> bool(tf.reduce_all(first == Stream(key(7, 0, 3)).next()))
        True
    """

    def __init__(self, key: tf.Tensor):
        # Keras' constructor would make a variable, which a tf.data pipeline may not do; all it is asked for is `next`.
        self._key = key
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        """The next seed.

        Args:
            ordered: without meaning here; Keras passes it.
        """
        self._drawn += 1
        return fold(self._key, self._drawn)

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> tf.Tensor:
        """Numbers in [low, high).

        Args:
            low: the smallest.
            high: where they end.
            shape: how many.
        """
        return tf.random.stateless_uniform(shape, self.next(), low, high)


def key(seed: int, *place: int | tf.Tensor) -> tf.Tensor:
    """A key for a stream.

    Args:
        seed: the user's, any whole number from 0 on.
        place: numbers that say where in training: an epoch, an image's position in it.
    """
    words = np.random.SeedSequence(seed).generate_state(2).astype(np.int32)
    return fold(tf.constant(words), *place)


def fold(seeds: Any, *place: Any) -> Any:
    """A key for a place within what `seeds` is the key for.

    Args:
        seeds: a key.
        place: numbers that say where.
    """
    for number in place:
        seeds = tf.random.fold_in(seeds, tf.cast(number, tf.int32))
    return seeds
