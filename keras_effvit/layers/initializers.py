"""Initial values as the authors draw them, under names that say where they are used."""

import keras

# The reference cuts its normal at +-2 *absolute*, a hundred standard deviations away: a plain normal.
LINEAR = keras.initializers.RandomNormal(stddev=0.02)


def conv_fan_out() -> keras.initializers.Initializer:
    """Normal with variance 2 / fan_out; right for depthwise kernels too (fan_out = k * k)."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def conv_uniform(*, depthwise: bool = False) -> keras.initializers.Initializer:
    """Uniform in +-1 / sqrt(k * k * inputs per group), the default of many frameworks.

    Keras counts the fan-in of a depthwise kernel over all channels; its fan-out is the k * k that is meant.
    """
    mode = "fan_out" if depthwise else "fan_in"
    return keras.initializers.VarianceScaling(1 / 3, mode=mode, distribution="uniform")
