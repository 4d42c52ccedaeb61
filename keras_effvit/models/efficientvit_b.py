"""EfficientViT B0 to B3, the released family (Cai et al. 2023, arXiv 2205.14756, later versions).

A convolutional stem and four stages. Stages 1 and 2 are MBConvs; stages 3 and 4 halve the map in an MBConv and go on
in blocks of multi-scale linear attention and an MBConv. No shortcut passes a halving of the map.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, Unpack

import keras

from keras_effvit.layers.activations import HardSwish, hard_swish
from keras_effvit.layers.conv import ConvNormAct
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.linear_attention import AttentionKind, MultiScaleLinearAttention
from keras_effvit.layers.mbconv import MBConv
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.models.assemble import residual
from keras_effvit.models.efficientvit_base import stem
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

#: The short side of the image is the crop over 0.95 for B1; the others see all of it (B0's is not published).
EVALUATION_B1 = Evaluation(size=224, resize=ceil(224 / 0.95), interpolation="bicubic")
EVALUATION = Evaluation(size=224, resize=224, interpolation="bicubic")


@dataclass(frozen=True, kw_only=True)
class EfficientViTBSpec(ModelSpec):
    """A column of the authors' model zoo.

    `widths` and `depths` start with the stem's. The depths of stages 1 and 2 count the block that halves the map,
    those of stages 3 and 4 do not. `head_widths` are the head's convolution and hidden layer.
    """

    OPTIONS: ClassVar = ("attention",)

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head_dim: int
    head_widths: tuple[int, int]
    attention: AttentionKind = "linear"


EFFICIENTVIT_B = {
    "B0": EfficientViTBSpec(
        id="efficientvit_b0", widths=(8, 16, 32, 64, 128), depths=(1, 2, 2, 2, 2),
        head_dim=16, head_widths=(1024, 1280),
        drop_path=0.0, evaluation=EVALUATION, paper=PaperFigures(None, None, None),
    ),
    "B1": EfficientViTBSpec(
        id="efficientvit_b1", widths=(16, 32, 64, 128, 256), depths=(1, 2, 3, 3, 4),
        head_dim=16, head_widths=(1536, 1600),
        drop_path=0.05, evaluation=EVALUATION_B1, paper=PaperFigures(9.1, 0.52, 79.4),
    ),
    "B2": EfficientViTBSpec(
        id="efficientvit_b2", widths=(24, 48, 96, 192, 384), depths=(1, 3, 4, 4, 6),
        head_dim=32, head_widths=(2304, 2560),
        drop_path=0.05, evaluation=EVALUATION, paper=PaperFigures(24, 1.6, 82.1),
    ),
    "B3": EfficientViTBSpec(
        id="efficientvit_b3", widths=(32, 64, 128, 256, 512), depths=(1, 4, 6, 6, 9),
        head_dim=32, head_widths=(2304, 2560),
        drop_path=0.1, evaluation=EVALUATION, paper=PaperFigures(49, 4.0, 83.5),
    ),
}  # fmt: skip


def convolution_stage(x: Any, filters: int, rates: list[float], prefix: str) -> Any:
    """Halves the map, then a residual MBConv for every rate."""
    x = MBConv(filters, strides=2, name=f"{prefix}_down")(x)
    for block, rate in enumerate(rates):
        name = f"{prefix}_block{block + 1}"
        x = residual(x, MBConv(filters, zero_norm=True, name=name)(x), rate, name)
    return x


def attention_stage(x: Any, filters: int, rates: list[float], prefix: str, spec: EfficientViTBSpec) -> Any:
    """Halves the map, then a block of attention and MBConv for every pair of rates."""
    x = MBConv(filters, strides=2, norms="last", name=f"{prefix}_down")(x)
    for block, (attn_rate, mbconv_rate) in enumerate(zip(rates[::2], rates[1::2], strict=True)):
        attn, mbconv = f"{prefix}_block{block + 1}_attn", f"{prefix}_block{block + 1}_mbconv"
        attention = MultiScaleLinearAttention(spec.head_dim, attention=spec.attention, zero_norm=True, name=attn)
        x = residual(x, attention(x), attn_rate, attn)
        x = residual(x, MBConv(filters, norms="last", zero_norm=True, name=mbconv)(x), mbconv_rate, mbconv)
    return x


def encode(image: Any, spec: EfficientViTBSpec, drop_path_rate: float) -> Encoding:
    """The four stages' maps."""
    x, maps = stem(image, spec.widths[0], spec.depths[0]), {}
    # Stochastic depth counts branches beside an identity: an attention block has two.
    branches = tuple(depth - 1 if stage < 2 else 2 * depth for stage, depth in enumerate(spec.depths[1:]))
    for stage, rates in enumerate(drop_path_rates(drop_path_rate, branches)):
        filters, prefix = spec.widths[stage + 1], f"stage{stage + 1}"
        if stage < 2:
            x = convolution_stage(x, filters, rates, prefix)
        else:
            x = attention_stage(x, filters, rates, prefix, spec)
        maps[f"P{stage + 2}"] = x
    return Encoding(maps)


def finish(encoding: Encoding, spec: EfficientViTBSpec) -> Any:
    """The last map, as it is."""
    return encoding.maps["P5"]


def classify(encoding: Encoding, spec: EfficientViTBSpec, classes: int) -> Any:
    """Convolution, mean over the map, normalised hidden layer, linear layer."""
    wide, hidden = spec.head_widths
    x = ConvNormAct(wide, activation=hard_swish, kernel_initializer=narrow_normal(), name="head_conv")(
        finish(encoding, spec)
    )
    x = keras.layers.GlobalAveragePooling2D("channels_last", name="avg_pool")(x)
    x = LayerNorm(name="head_norm")(linear(hidden, "head_hidden", use_bias=False)(x))
    x = HardSwish(name="head_act")(x)
    return linear(classes, "head")(x)


FAMILY = Family(
    name="efficientvit_b",
    title="EfficientViT",
    citation="H. Cai et al., EfficientViT: Lightweight Multi-Scale Attention for High-Resolution Dense Prediction, "
    "ICCV 2023, arXiv:2205.14756",
    licence="Apache-2.0",
    encode=encode,
    finish=finish,
    classify=classify,
)


class EfficientViTBOptions(ModelOptions, total=False):
    """The B series' own option: the kind of attention the paper compares."""

    attention: AttentionKind


@variant(FAMILY, EFFICIENTVIT_B["B0"])
def EfficientViTB0(**options: Unpack[EfficientViTBOptions]) -> keras.Model: ...


@variant(FAMILY, EFFICIENTVIT_B["B1"])
def EfficientViTB1(**options: Unpack[EfficientViTBOptions]) -> keras.Model: ...


@variant(FAMILY, EFFICIENTVIT_B["B2"])
def EfficientViTB2(**options: Unpack[EfficientViTBOptions]) -> keras.Model: ...


@variant(FAMILY, EFFICIENTVIT_B["B3"])
def EfficientViTB3(**options: Unpack[EfficientViTBOptions]) -> keras.Model: ...
