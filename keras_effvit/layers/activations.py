"""Hard-swish with its two lowerings, and the exact GELU."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import keras
from keras import ops

from keras_effvit.layers.registration import serializable

Lowering = Literal["fused", "reassociated"]

_lowering: ContextVar[Lowering] = ContextVar("hard_swish_lowering", default="fused")


@contextmanager
def hard_swish_lowering(lowering: Lowering) -> Iterator[None]:
    """Chooses how hard-swish is spelled in every graph traced inside the block.

    The function computed is the same. `fused` becomes LiteRT's single HARD_SWISH, fastest in float32 but outside
    XNNPACK in int8; `reassociated` becomes ADD(RELU6) and MUL, which stay inside the partition in int8.

    Args:
        lowering: `"fused"` or `"reassociated"`.

    Raises:
        ValueError: if `lowering` is neither.
    """
    if lowering not in get_args(Lowering):
        raise ValueError(f"`lowering` must be one of {get_args(Lowering)}. Received: lowering={lowering!r}")
    token = _lowering.set(lowering)
    try:
        yield
    finally:
        _lowering.reset(token)


@serializable
def hard_swish(x):
    """`x * relu6(x + 3) / 6` in the lowering chosen by `hard_swish_lowering`."""
    if _lowering.get() == "fused":
        return keras.activations.hard_silu(x)
    # The converter recognises x * relu6(x + 3) / 6; with the sixth on the left factor it does not.
    return (x * (1.0 / 6.0)) * ops.relu6(x + 3.0)


@serializable
def gelu(x):
    """The exact (erf) GELU; the tanh approximation moves logits by 5e-4."""
    return keras.activations.gelu(x, approximate=False)


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
