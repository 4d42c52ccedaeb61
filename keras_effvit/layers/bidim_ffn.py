"""LightViT's feed-forward network with bi-dimensional attention: a gate for every channel and one for every position.

Legend: `b` batch, `h w` map, `t` tokens, `c` channels, `r` the reduction. Paper: LightViT section 3.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from keras import ops

from keras_effvit.layers.activations import gelu
from keras_effvit.layers.global_tokens import joint_mean
from keras_effvit.layers.mlp import Mlp, linear
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.layers.registration import Composite, serializable

Gate = Literal["channel", "spatial", "local_spatial"]


def check_gates(gates: Sequence[str]) -> tuple[Gate, ...]:
    """`gates` as a tuple, or ValueError unless they are known and at most one of them is spatial."""
    known = get_args(Gate)
    if isinstance(gates, str) or not set(gates) <= set(known) or {"spatial", "local_spatial"} <= set(gates):
        raise ValueError(
            f"`gates` must be taken from {known}, and only one of them be spatial. Received: gates={gates!r}"
        )
    return tuple(gate for gate in known if gate in gates)


def _beside(x, other):
    """(b, c) as it broadcasts against a map (b, h, w, c) or tokens (b, t, c)."""
    return ops.reshape(x, (-1, *(1,) * (len(other.shape) - 2), x.shape[-1]))


@serializable
class BiDimensionalAttention(Composite):
    """Scales every channel by what the whole image holds, and every position by what it and the image hold.

    Args:
        reduction: channels over the channels of the two summaries the gates are made from.
        gates: any of `"channel"` and one of `"spatial"` or `"local_spatial"`, which looks at the position alone
            (paper's table 5).

    Call arguments:
        pixels: (b, h, w, c).
        tokens: (b, t, c), or `None`.

    Returns:
        `pixels`, or `(pixels, tokens)` where there are tokens.

    Raises:
        ValueError: for unknown gates, two spatial ones, or none.

    Example:
        >>> BiDimensionalAttention()(keras.ops.ones((1, 14, 14, 64))).shape
        (1, 14, 14, 64)
    """

    def __init__(self, reduction: int = 4, *, gates: Sequence[Gate] = ("channel", "spatial"), **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction
        self.gates = check_gates(gates)
        if not self.gates:
            raise ValueError(f"`gates` must name at least one gate. Received: gates={gates!r}")
        self._from_image = "channel" in self.gates or "spatial" in self.gates
        self._by_position = "spatial" in self.gates or "local_spatial" in self.gates

    def build(self, pixels_shape, tokens_shape=None):
        channels = pixels_shape[-1]
        reduced = channels // self.reduction
        self.norm = LayerNorm(name="norm")
        self.norm.build(pixels_shape)
        if self._from_image:
            self.global_reduce = linear(reduced, "global_reduce")
            self.global_reduce.build((None, channels))
        if "channel" in self.gates:
            self.channel_select = linear(channels, "channel_select")
            self.channel_select.build((None, reduced))
        if self._by_position:
            self.local_reduce = linear(reduced, "local_reduce")
            self.local_reduce.build(pixels_shape)
            self.spatial_select = linear(1, "spatial_select")
            self.spatial_select.build((None, reduced if "local_spatial" in self.gates else 2 * reduced))

    def call(self, pixels, tokens=None):
        streams = [x for x in (pixels, tokens) if x is not None]
        normed = [self.norm(x) for x in streams]
        if self._from_image:
            image = gelu(self.global_reduce(joint_mean(*normed)))
        if "channel" in self.gates:
            gate = ops.sigmoid(self.channel_select(image))
            streams = [x * _beside(gate, x) for x in streams]
        if self._by_position:
            local = [gelu(self.local_reduce(x)) for x in normed]
            if "spatial" in self.gates:
                local = [self._with_image(x, image) for x in local]
            streams = [x * ops.sigmoid(self.spatial_select(y)) for x, y in zip(streams, local, strict=True)]
        return streams[0] if tokens is None else tuple(streams)

    @staticmethod
    def _with_image(local, image):
        """The summary of each position and, behind it, the image's."""
        # An addition stays in an XNNPACK partition, BROADCAST_TO does not.
        return ops.concatenate([local, ops.zeros_like(local) + _beside(image, local)], axis=-1)

    def compute_output_shape(self, pixels_shape, tokens_shape=None):
        return pixels_shape if tokens_shape is None else (pixels_shape, tokens_shape)

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction, "gates": list(self.gates)}


@serializable
class BiDimensionalFFN(Composite):
    """An MLP whose output is scaled by bi-dimensional attention, on a map and the tokens beside it.

    Args:
        expansion: hidden channels over input channels.
        reduction: channels over the channels of the gates' summaries.
        gates: the gates of `BiDimensionalAttention`; none make it a plain MLP.

    Call arguments:
        pixels: (b, h, w, c).
        tokens: (b, t, c), or `None`.

    Returns:
        `pixels`, or `(pixels, tokens)` where there are tokens.

    Raises:
        ValueError: for unknown gates or two spatial ones.

    Example:
        >>> pixels, tokens = BiDimensionalFFN(8)(keras.ops.ones((1, 28, 28, 64)), keras.ops.ones((1, 8, 64)))
        >>> pixels.shape, tokens.shape
        ((1, 28, 28, 64), (1, 8, 64))
    """

    def __init__(
        self, expansion: int = 4, *, reduction: int = 4, gates: Sequence[Gate] = ("channel", "spatial"), **kwargs
    ):
        super().__init__(**kwargs)
        self.expansion = expansion
        self.reduction = reduction
        self.gates = check_gates(gates)

    def build(self, pixels_shape, tokens_shape=None):
        self.mlp = Mlp(self.expansion, name="mlp")
        self.mlp.build(pixels_shape)
        if self.gates:
            self.gate = BiDimensionalAttention(self.reduction, gates=self.gates, name="gate")
            self.gate.build(pixels_shape, tokens_shape)

    def call(self, pixels, tokens=None):
        streams = [self.mlp(x) for x in (pixels, tokens) if x is not None]
        if self.gates:
            return self.gate(*streams)
        return streams[0] if tokens is None else tuple(streams)

    def compute_output_shape(self, pixels_shape, tokens_shape=None):
        return pixels_shape if tokens_shape is None else (pixels_shape, tokens_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "expansion": self.expansion,
            "reduction": self.reduction,
            "gates": list(self.gates),
        }
