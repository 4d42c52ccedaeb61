"""LightViT: Towards Light-Weight Convolution-Free Vision Transformers (Huang et al. 2022, arXiv 2207.05557).

A stem of stride 8 and three stages with patch merging between them. A block attends inside windows and, through a few
global tokens that travel beside the map, to the whole image; then runs an MLP gated in channels and space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack, get_args

import keras

from keras_effvit.layers.activations import gelu
from keras_effvit.layers.bidim_ffn import BiDimensionalFFN, Gate, check_gates
from keras_effvit.layers.conv import ConvNormAct, PaddedConv2D
from keras_effvit.layers.drop_path import DropPath
from keras_effvit.layers.global_attention import LocalGlobalAttention
from keras_effvit.layers.global_tokens import GlobalTokens, JointAveragePooling
from keras_effvit.layers.initializers import conv_uniform
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.norm import BLOCK_EPSILON, LayerNorm
from keras_effvit.layers.patch_merging import ResidualPatchMerging
from keras_effvit.models.registry import variant
from keras_effvit.models.spec import (
    Encoding,
    Family,
    ModelOptions,
    ModelSpec,
    PaperFigures,
    drop_path_rates,
)
from keras_effvit.preprocessing import Evaluation

WINDOW = 7
NECK = 1280
EVALUATION = Evaluation(size=224, resize=256, interpolation="bicubic")

Attention = Literal["local", "global"]


@dataclass(frozen=True, kw_only=True)
class LightViTSpec(ModelSpec):
    """A variant of the paper's table of architectures.

    With `global_tokens=0` nothing is aggregated or broadcast. `attention="global"` lets every pixel attend to the whole
    map instead of its window (table 5's first row).
    """

    OPTIONS: ClassVar = ("global_tokens", "attention", "gates", "merge_shortcut")

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    expansions: tuple[int, ...] = (8, 4, 4)
    global_tokens: int
    attention: Attention = "local"
    gates: tuple[Gate, ...] = ("channel", "spatial")
    merge_shortcut: bool = True
    head_dim: int = 32

    def __post_init__(self):
        if not isinstance(self.global_tokens, int) or self.global_tokens < 0:
            raise ValueError(
                f"`global_tokens` must be an integer of at least 0. Received: global_tokens={self.global_tokens!r}"
            )
        if self.attention not in get_args(Attention):
            raise ValueError(
                f"`attention` must be one of {get_args(Attention)}. Received: attention={self.attention!r}"
            )
        check_gates(self.gates)


LIGHTVIT = {
    "Tiny": LightViTSpec(
        id="lightvit_tiny", channels=(64, 128, 256), depths=(2, 6, 6), global_tokens=8,
        drop_path=0.1, evaluation=EVALUATION, paper=PaperFigures(9.4, 0.73, 78.7),
    ),
    "Small": LightViTSpec(
        id="lightvit_small", channels=(96, 192, 384), depths=(2, 6, 6), global_tokens=16,
        drop_path=0.1, evaluation=EVALUATION, paper=PaperFigures(19.2, 1.7, 80.8),
    ),
    "Base": LightViTSpec(
        id="lightvit_base", channels=(128, 256, 512), depths=(3, 8, 6), global_tokens=24,
        drop_path=0.3, evaluation=EVALUATION, paper=PaperFigures(35.2, 3.9, 82.1),
    ),
}  # fmt: skip

#: The map and, where the model has them, the tokens beside it; layers called with both share their weights.
Streams = list[Any]


def stem(image: Any, channels: int) -> Any:
    """Five convolutions, three of them depthwise, to a normalised map of stride 8."""
    x = image
    for number, (filters, strides) in enumerate([(channels // 2, 2), (None, 1), (None, 1), (None, 2)], start=1):
        x = ConvNormAct(
            filters, 3, strides=strides, activation=gelu,
            kernel_initializer=conv_uniform(depthwise=filters is None), name=f"stem_conv{number}",
        )(x)  # fmt: skip
    bound = (9 * x.shape[-1]) ** -0.5
    x = PaddedConv2D(
        channels, 3, strides=2, kernel_initializer=conv_uniform(),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound), name="stem_proj",
    )(x)  # fmt: skip
    return LayerNorm(name="stem_norm")(x)


def apply(layer: keras.layers.Layer, streams: Streams) -> Streams:
    """A layer that takes pixels and tokens together."""
    return keras.tree.flatten(layer(*streams))


def norm(streams: Streams, name: str) -> Streams:
    """One normalisation for pixels and tokens."""
    layer = LayerNorm(BLOCK_EPSILON, name=name)
    return [layer(x) for x in streams]


def residual(streams: Streams, branch: Streams, rate: float, name: str) -> Streams:
    """`x + DropPath(branch)` for pixels and tokens; an image loses the branch of both or of neither."""
    if rate > 0.0:
        branch = DropPath(rate, name=f"{name}_drop")(branch)
    names = (f"{name}_add", f"{name}_tokens_add")
    return [keras.layers.Add(name=n)([x, y]) for n, x, y in zip(names, streams, branch, strict=False)]


def block(streams: Streams, spec: LightViTSpec, stage: int, rate: float, name: str, *, drop_tokens: bool) -> Streams:
    """Attention and feed-forward network of a block; `drop_tokens` lets the latter see the pixels only."""
    heads = spec.channels[stage] // spec.head_dim
    window = WINDOW if spec.attention == "local" else None
    attention = LocalGlobalAttention(heads, window, name=f"{name}_attn")
    branch = apply(attention, norm(streams, f"{name}_norm1"))
    if drop_tokens:
        streams, branch = streams[:1], branch[:1]
    streams = residual(streams, branch, rate, f"{name}_attn")
    ffn = BiDimensionalFFN(spec.expansions[stage], gates=spec.gates, name=f"{name}_mlp")
    return residual(streams, apply(ffn, norm(streams, f"{name}_norm2")), rate, f"{name}_mlp")


def encode(image: Any, spec: LightViTSpec, drop_path_rate: float) -> Encoding:
    """The three stages' maps; the dense variant normalises what leaves, not what goes on to the next stage."""
    x, maps = stem(image, spec.channels[0]), {}
    streams = [x, GlobalTokens(spec.global_tokens, name="global_tokens")(x)] if spec.global_tokens else [x]
    for stage, rates in enumerate(drop_path_rates(drop_path_rate, spec.depths)):
        prefix = f"stage{stage + 1}"
        if stage > 0:
            merging = ResidualPatchMerging(spec.channels[stage], shortcut=spec.merge_shortcut, name=f"{prefix}_merge")
            streams = apply(merging, streams)
        for number, rate in enumerate(rates, start=1):
            last = stage + 1 == len(spec.depths) and number == len(rates)
            streams = block(streams, spec, stage, rate, f"{prefix}_block{number}", drop_tokens=spec.dense and last)
        maps[f"P{stage + 3}"] = norm(streams[:1], f"{prefix}_norm")[0] if spec.dense else streams[0]
    return Encoding(maps, tokens=streams[1] if len(streams) > 1 else None)


def finish(encoding: Encoding, spec: LightViTSpec) -> Any:
    """The last map, normalised."""
    return norm([encoding.maps["P5"]], "norm")[0]


def classify(encoding: Encoding, spec: LightViTSpec, classes: int) -> Any:
    """A wider linear layer at every pixel and token, their mean, then a linear layer."""
    streams = [encoding.maps["P5"]] if encoding.tokens is None else [encoding.maps["P5"], encoding.tokens]
    neck = (linear(NECK, "neck"), LayerNorm(name="neck_norm"), keras.layers.Activation(gelu, name="neck_act"))
    streams = norm(streams, "norm")
    for layer in neck:
        streams = [layer(x) for x in streams]
    return linear(classes, "head")(JointAveragePooling(name="avg_pool")(*streams))


FAMILY = Family(
    name="lightvit",
    title="LightViT",
    citation="T. Huang et al., LightViT: Towards Light-Weight Convolution-Free Vision Transformers, 2022, "
    "arXiv:2207.05557",
    licence="Apache-2.0",
    encode=encode,
    finish=finish,
    classify=classify,
)


class LightViTOptions(ModelOptions, total=False):
    """LightViT's own options: table 6's number of tokens, and the components of table 5."""

    global_tokens: int
    attention: Attention
    gates: Sequence[Gate]
    merge_shortcut: bool


@variant(FAMILY, LIGHTVIT["Tiny"])
def LightViTTiny(**options: Unpack[LightViTOptions]) -> keras.Model: ...


@variant(FAMILY, LIGHTVIT["Small"])
def LightViTSmall(**options: Unpack[LightViTOptions]) -> keras.Model: ...


@variant(FAMILY, LIGHTVIT["Base"])
def LightViTBase(**options: Unpack[LightViTOptions]) -> keras.Model: ...
