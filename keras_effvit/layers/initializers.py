"""Initial values as the authors draw them, under names that say where they are used."""

import keras

# Functions, not constants: an initialiser that two layers share draws the same numbers for both.


def narrow_normal() -> keras.initializers.Initializer:
    """Normal with deviation 0.02, for linear layers, tokens and tables.

    The authors cut it at +-2 *absolute*, a hundred deviations away, which is no cut at all.
    """
    return keras.initializers.RandomNormal(stddev=0.02)


def conv_fan_out() -> keras.initializers.Initializer:
    """Normal with variance 2 / fan_out; right for depthwise kernels too (fan_out = k * k)."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def conv_uniform(*, depthwise: bool = False) -> keras.initializers.Initializer:
    """Uniform in +-1 / sqrt(k * k * inputs per group), the default of many frameworks.

    Keras counts the fan-in of a depthwise kernel over all channels; its fan-out is the k * k that is meant.
    """
    mode = "fan_out" if depthwise else "fan_in"
    return keras.initializers.VarianceScaling(1 / 3, mode=mode, distribution="uniform")
