"""How the heads of detectors start."""

import math

import keras

#: Standard deviation of the weights of RetinaNet's and Faster R-CNN's heads.
DEVIATION = 0.01
#: How probable an object is before anything is learnt, so that the many empty places do not drown the few others.
PRIOR = 0.01


def head_initializer(deviation: float = DEVIATION) -> keras.initializers.Initializer:
    """Small normal weights."""
    return keras.initializers.RandomNormal(stddev=deviation)


def prior_bias(probability: float = PRIOR) -> keras.initializers.Initializer:
    """A bias for which a sigmoid says this probability."""
    return keras.initializers.Constant(-math.log((1 - probability) / probability))
