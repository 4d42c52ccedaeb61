"""LightViT's global tokens: a few learnt vectors that accompany a map through the network.

Legend: `b` batch, `h w` map, `t` tokens, `c` channels. Pixels and tokens stay two tensors, (b, h, w, c) and (b, t, c);
what the paper computes on their concatenation is computed on both.
"""

import keras
from keras import ops

from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.registration import serializable


def joint_mean(pixels, tokens=None):
    """The mean over all pixels and tokens, each weighing the same: (b, h, w, c) and (b, t, c) -> (b, c)."""
    dtype = keras.backend.result_type(pixels.dtype, "float32")
    mean = ops.mean(ops.cast(pixels, dtype), axis=(1, 2))
    if tokens is not None:
        # Towards the tokens' mean by their share: unlike sums, no value leaves the range of the input.
        share = _token_share(pixels, tokens, dtype)
        mean = mean + share * (ops.mean(ops.cast(tokens, dtype), axis=1) - mean)
    return ops.cast(mean, pixels.dtype)


def _token_share(pixels, tokens, dtype):
    height, width = ops.shape(pixels)[1:3]
    count = tokens.shape[1]
    positions = count + height * width
    return count / (positions if isinstance(positions, int) else ops.cast(positions, dtype))


@serializable
class GlobalTokens(keras.layers.Layer):
    """Learnt tokens, the same for every image: they take no more than batch and channels from the map they join.

    Args:
        count: number of tokens.

    Raises:
        ValueError: if `count` is not positive.

    Example:
        >>> GlobalTokens(8)(keras.ops.ones((2, 28, 28, 64))).shape
        (2, 8, 64)
    """

    def __init__(self, count: int, **kwargs):
        super().__init__(**kwargs)
        if count < 1:
            raise ValueError(f"`count` must be at least 1. Received: count={count}")
        self.count = count

    def build(self, input_shape):
        shape = (1, self.count, input_shape[-1])
        self.token = self.add_weight(name="token", shape=shape, initializer=narrow_normal())

    def call(self, inputs):
        return ops.zeros_like(inputs[:, :1, 0]) + self.token

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.count, input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@serializable
class JointAveragePooling(keras.layers.Layer):
    """The mean over all pixels of a map and the tokens beside it.

    Call arguments:
        pixels: (b, h, w, c).
        tokens: (b, t, c), or `None`.

    Example:
        >>> JointAveragePooling()(keras.ops.ones((1, 7, 7, 64)), keras.ops.ones((1, 8, 64))).shape
        (1, 64)
    """

    def call(self, pixels, tokens=None):
        return joint_mean(pixels, tokens)

    def compute_output_shape(self, pixels_shape, tokens_shape=None):
        return (pixels_shape[0], pixels_shape[-1])
