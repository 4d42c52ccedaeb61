"""What rounding to integers does to weights and activations, in float and with gradients.

The scheme is that of tensorflow-model-optimization: weights symmetric per output channel, activations asymmetric per
tensor with ranges that follow the extremes of the batches. Its own quantizers know Keras 2 only; the tests hold these
against them.
"""

from typing import Literal, get_args

import keras
from keras import ops

from keras_effvit.layers.lowerings import chosen
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.integers import SMALL_SHARE

Kind = Literal["any", "divisor", "shares", "unit"]

#: The range before anything was seen; a batch or a calibration replaces it.
UNSEEN = 6.0
#: What integers of eight bits hold of the numbers from 0 to 1.
UNIT = (0.0, 255 / 256)
#: The narrowest range there is: an activation that is always zero still needs a step to count in.
NARROWEST = 1e-5


def fake_quant_weights(weights, channel_axes: tuple[int, ...], bits: int = 8):
    """Weights as integers would hold them; the gradient passes as if nothing had happened.

    Spelled in plain arithmetic: the converter folds it into a constant, whatever the weight belongs to, and refuses
    its own operator for linear layers per channel.

    Args:
        weights: of a convolution or a linear layer.
        channel_axes: axes along which every index has a scale of its own.
        bits: of the integers, whose lowest stays unused so that they are symmetric.
    """
    axes = tuple(axis for axis in range(len(weights.shape)) if axis not in channel_axes)
    largest = 2.0 ** (bits - 1) - 1
    scale = ops.maximum(ops.max(ops.abs(weights), axis=axes, keepdims=True), 1e-8) / largest
    return weights + ops.stop_gradient(ops.round(weights / scale) * scale - weights)


@keras.saving.register_keras_serializable("keras_effvit")
class FakeQuantWeights(keras.layers.Layer):
    """`fake_quant_weights` as a node of a graph.

    Args:
        channel_axes: axes along which every index has a scale of its own.
        bits: of the integers.
    """

    def __init__(self, channel_axes: tuple[int, ...], bits: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.channel_axes = tuple(channel_axes)
        self.bits = bits

    def call(self, inputs):
        return fake_quant_weights(inputs, self.channel_axes, self.bits)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "channel_axes": self.channel_axes, "bits": self.bits}


@keras.saving.register_keras_serializable("keras_effvit")
class FakeQuant(keras.layers.Layer):
    """Rounds activations to the steps of a range that it learns from what passes in training.

    The range always holds 0, so that padding is exact. An exported graph carries it as a QUANTIZE and a DEQUANTIZE.

    Args:
        bits: 8, or 16, whose range is symmetric.
        kind: of what passes: `"any"`; a `"divisor"`, which is kept one step above 0; `"shares"` that add up to 1, whose
            range is known unless all are small; or numbers of the `"unit"` interval, whose range is known.
        symmetric: a range around 0, as the right operand of an integer matmul must have.
        momentum: of the range's moving average.

    Example:
        >>> quantizer = FakeQuant()
        >>> quantizer(activations, training=True)  # the range is that of the activations now
    """

    def __init__(self, *, bits: int = 8, kind: Kind = "any", symmetric: bool = False, momentum: float = 0.99, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if not 0 <= momentum < 1:
            raise LiteError(f"`momentum` must be at least 0 and below 1. Received: momentum={momentum}")
        if bits not in (8, 16) or kind not in get_args(Kind):
            raise LiteError(f"Expected 8 or 16 bits of {get_args(Kind)}. Received: bits={bits}, kind={kind!r}")
        self.bits = bits
        self.kind: Kind = kind
        self.symmetric = symmetric
        self.momentum = momentum
        #: While true, ranges grow to hold whatever passes, which passes as it is.
        self.observing = False

    @property
    def learns(self) -> bool:
        """Whether its range is not known beforehand."""
        return self.kind != "unit"

    def build(self, input_shape):
        def number(name, value):
            initial = keras.initializers.Constant(value)
            return self.add_weight(name=name, shape=(), initializer=initial, trainable=False, aggregation="mean")

        if self.learns:
            self.low, self.high, self.seen = number("low", -UNSEEN), number("high", UNSEEN), number("seen", 0.0)

    def call(self, inputs, training=False):
        if self.learns and self.observing:
            self._follow(inputs, ops.minimum, ops.maximum)
            return inputs
        if self.learns and training:
            self._follow(inputs, self._average, self._average)
        low, high = self._range()
        if self.kind == "divisor" and chosen("divisors") == "floored":
            inputs = ops.maximum(inputs, (high - low) / (2.0**self.bits - 1))
        return keras.quantizers.fake_quant_with_min_max_vars(inputs, low, high, num_bits=self.bits)

    def _average(self, before, now):
        return self.momentum * before + (1 - self.momentum) * now

    def _follow(self, inputs, merge_low, merge_high):
        values = ops.stop_gradient(inputs)
        low, high = ops.minimum(ops.min(values), 0.0), ops.maximum(ops.max(values), 0.0)
        known = self.seen > 0
        self.low.assign(ops.where(known, merge_low(self.low, low), low))
        self.high.assign(ops.where(known, merge_high(self.high, high), high))
        self.seen.assign(1.0)

    def _range(self):
        if self.kind == "unit":
            return UNIT
        low, high = ops.convert_to_tensor(self.low), ops.convert_to_tensor(self.high)
        if self.kind == "shares":
            return ops.zeros_like(low), ops.where(high < SMALL_SHARE, ops.maximum(high, NARROWEST), UNIT[1])
        if not self.symmetric and self.bits == 8:
            return low, ops.maximum(high, low + NARROWEST)
        most = 2.0 ** (self.bits - 1) - 1
        step = ops.maximum(ops.maximum(-low, high), NARROWEST) / most
        return -(most + 1) * step, most * step

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"bits": self.bits, "kind": self.kind, "symmetric": self.symmetric, "momentum": self.momentum}
        return {**super().get_config(), **own}
