"""Normalisation, and the only place where its epsilons live."""

import keras
from keras import ops

from keras_effvit.layers.lowerings import chosen
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


@serializable
class BatchNorm(keras.layers.BatchNormalization):
    """Keras' batch normalisation of the channels, whose export is the same to the last bit on every machine.

    A converter folds it into the convolution before it, and calculates the factor on the machine it runs on.
    TensorFlow's reciprocal root is an estimate that every make of processor has its own of; a division and a root are
    exact.

    Args:
        momentum: how much of the moving averages a step keeps.
        epsilon: added to the variance.
        gamma_initializer: of the scale.

    Example:
        >>> BatchNorm()(keras.ops.ones((1, 7, 7, 32))).shape
        (1, 7, 7, 32)
    """

    def __init__(self, *, momentum: float = 0.9, epsilon: float = EPSILON, gamma_initializer="ones", **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, gamma_initializer=gamma_initializer, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if chosen("batch_norm") == "keras":
            return super().call(inputs, training=training, mask=mask)
        # Not a division by the root, which TensorFlow takes for its reciprocal root and replaces.
        factor = self.gamma * ops.sqrt(1.0 / (self.moving_variance + self.epsilon))
        return inputs * factor + (self.beta - self.moving_mean * factor)

    def get_config(self):
        whole = super().get_config()
        return {
            **keras.layers.Layer.get_config(self),
            **{key: whole[key] for key in ("momentum", "epsilon", "gamma_initializer")},
        }


def batch_norm(name: str = "norm", *, zero: bool = False) -> BatchNorm:
    """One with the authors' constants; `zero` starts the scale at 0 (closing a residual branch)."""
    return BatchNorm(gamma_initializer="zeros" if zero else "ones", name=name)
