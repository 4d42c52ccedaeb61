"""Hard-swish, and the exact GELU."""

import keras
from keras import ops

from keras_effvit.layers.lowerings import chosen
from keras_effvit.layers.registration import serializable


@serializable
def hard_swish(x):
    """`x * relu6(x + 3) / 6`, in the lowering that is chosen."""
    if chosen("hard_swish") == "fused":
        return ops.hard_silu(x)
    # The converter recognises x * relu6(x + 3) / 6; with the sixth on the left factor it does not.
    return (x * (1.0 / 6.0)) * ops.relu6(x + 3.0)


@serializable
def gelu(x):
    """The exact (erf) GELU; the tanh approximation moves logits by 5e-4."""
    return keras.activations.gelu(x, approximate=False)


def silu(x):
    """`x * sigmoid(x)`, in the two operators that files have for it."""
    return x * ops.sigmoid(x)


@serializable
class HardSwish(keras.layers.Layer):
    """Hard-swish as a layer.

    Example:
        >>> HardSwish()(keras.ops.convert_to_tensor([3.0]))  # 3.0
    """

    def call(self, inputs):
        return hard_swish(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape
