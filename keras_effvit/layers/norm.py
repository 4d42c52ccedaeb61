"""Normalisation, and the only place where its epsilons live."""

import keras
from keras import ops

from keras_effvit.layers.registration import serializable

#: Patch embeddings, gates, merging, heads: wherever the authors left their framework's default.
EPSILON = 1e-5
#: The pre-norms of the transformer blocks and the final norms of SepViT and LightViT.
BLOCK_EPSILON = 1e-6


def layer_norm(x, gamma, beta, epsilon: float):
    """Normalises the last axis in float32 or better and returns the input's dtype.

    Written out because each step is an operator that XNNPACK delegates; `keras.layers.LayerNormalization`
    exports twice as many, one of which no int8 file can hold.
    """
    dtype = keras.backend.result_type(x.dtype, "float32")
    centred = ops.cast(x, dtype)
    centred = centred - ops.mean(centred, axis=-1, keepdims=True)
    variance = ops.mean(centred * centred, axis=-1, keepdims=True)
    return ops.cast(centred * ops.rsqrt(variance + epsilon) * gamma + beta, x.dtype)


@serializable
class LayerNorm(keras.layers.Layer):
    """Layer normalisation over the channels, with scale and offset.

    Args:
        epsilon: added to the variance.

    Example:
        >>> LayerNorm()(keras.ops.ones((1, 7, 7, 32))).shape
        (1, 7, 7, 32)
    """

    def __init__(self, epsilon: float = EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = (input_shape[-1],)
        # No autocast: under mixed precision the affine part stays in float32 like the statistics.
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros", autocast=False)

    def call(self, inputs):
        return layer_norm(inputs, self.gamma, self.beta, self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


def group_norm(x, gamma, beta, groups: int, epsilon: float):
    """Normalises every image's groups of channels over all its pixels, in float32 or better (Wu and He 2018)."""
    dtype = keras.backend.result_type(x.dtype, "float32")
    _, height, width, channels = ops.shape(x)
    centred = ops.reshape(ops.cast(x, dtype), (-1, height * width, groups, channels // groups))
    centred = centred - ops.mean(centred, axis=(1, 3), keepdims=True)
    variance = ops.mean(centred * centred, axis=(1, 3), keepdims=True)
    normal = ops.reshape(centred * ops.rsqrt(variance + epsilon), (-1, height, width, channels))
    return ops.cast(normal * gamma + beta, x.dtype)


@serializable
class GroupNorm(keras.layers.Layer):
    """Group normalisation of a map, with scale and offset; `keras.layers.GroupNormalization` needs five dimensions.

    Args:
        groups: that the channels are divided into.
        epsilon: added to the variance.

    Raises:
        ValueError: if the channels do not divide.

    Example:
        >>> GroupNorm(4)(keras.ops.ones((1, 7, 7, 32))).shape
        (1, 7, 7, 32)
    """

    def __init__(self, groups: int, epsilon: float = EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups
        self.epsilon = epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        if channels % self.groups:
            raise ValueError(f"`groups` must divide the channels. Received: groups={self.groups}, channels={channels}")
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros", autocast=False)

    def call(self, inputs):
        return group_norm(inputs, self.gamma, self.beta, self.groups, self.epsilon)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}


def batch_norm(name: str = "norm", *, zero: bool = False) -> keras.layers.BatchNormalization:
    """Batch normalisation with the authors' constants; `zero` starts the scale at 0 (closing a residual branch)."""
    return keras.layers.BatchNormalization(
        epsilon=EPSILON, momentum=0.9, gamma_initializer="zeros" if zero else "ones", name=name
    )
