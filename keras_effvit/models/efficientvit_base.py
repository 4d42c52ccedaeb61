"""EfficientViT-Base, the network of the paper's first version (Cai et al. 2022, arXiv 2205.14756v1).

A convolutional stem and four stages. A stage halves the map in a block whose shortcut is pooled, and keeps it in
blocks with an identity. Stages 1 and 2 are MBConvs; a block of stages 3 and 4 is ReLU linear attention and then an
MBConv as its feed-forward network, each behind a layer normalisation. No code was published: where the text is silent,
this is the reading that comes closest to all of its MACs at once.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import keras

from keras_effvit.layers.activations import HardSwish, hard_swish
from keras_effvit.layers.conv import ConvNormAct
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.linear_attention import AttentionKind, LinearAttention
from keras_effvit.layers.mbconv import DownsamplingShortcut, DSConv, MBConv
from keras_effvit.layers.mlp import linear
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.models.assemble import residual
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

KERNEL = 5
HEAD_DIM = 16
#: All queries of a pixel together are this many times as wide as the map.
QUERY_EXPANSION = 2
#: The classification head: its convolution over the last map's channels, and its hidden layer at width 1.
HEAD_EXPANSION, HEAD_HIDDEN = 6, 2560


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, but never less than nine tenths of it."""
    nearest = max(divisor, int(channels / divisor + 0.5) * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


@dataclass(frozen=True, kw_only=True)
class EfficientViTBaseSpec(ModelSpec):
    """The paper's macro architecture: C0 to C4, L1 to L4, and the width multiplier of its "w1.2"."""

    OPTIONS: ClassVar = ("width", "attention")

    channels: tuple[int, ...] = (16, 24, 48, 96, 192)
    depths: tuple[int, ...] = (2, 3, 5, 2)
    width: float = 1.0
    attention: AttentionKind = "linear"

    def __post_init__(self):
        if not isinstance(self.width, int | float) or not self.width > 0:
            raise ValueError(f"`width` must be a positive number. Received: width={self.width!r}")

    @property
    def widths(self) -> list[int]:
        """The channels of the stem and the stages, scaled."""
        return [make_divisible(channels * self.width) for channels in self.channels]


EFFICIENTVIT_BASE = EfficientViTBaseSpec(
    id="efficientvit_base",
    drop_path=0.0,
    evaluation=Evaluation(size=224, resize=256, interpolation="bicubic"),
    paper=PaperFigures(7.9, 0.406, 78.6),
)


def stem(image: Any, filters: int, depth: int = 1) -> Any:
    """A strided convolution, then depthwise separable residual blocks."""
    x = ConvNormAct(filters, 3, strides=2, activation=hard_swish, kernel_initializer=narrow_normal(), name="stem_conv")(
        image
    )
    for block in range(depth):
        name = f"stem_block{block + 1}"
        x = residual(x, DSConv(filters, zero_norm=True, name=name)(x), 0.0, name)
    return x


def convolution_stage(x: Any, filters: int, rates: list[float], prefix: str) -> Any:
    """Halves the map, then a residual MBConv for every rate."""
    down = f"{prefix}_down"
    shortcut = DownsamplingShortcut(filters, name=f"{down}_shortcut")(x)
    x = residual(shortcut, MBConv(filters, KERNEL, strides=2, name=down)(x), 0.0, down)
    for block, rate in enumerate(rates):
        name = f"{prefix}_block{block + 1}"
        x = residual(x, MBConv(filters, KERNEL, zero_norm=True, name=name)(x), rate, name)
    return x


def attention_stage(x: Any, filters: int, rates: list[float], prefix: str, attention: AttentionKind) -> Any:
    """Halves the map, then a block of attention and feed-forward network for every pair of rates."""
    down = f"{prefix}_down"
    shortcut = DownsamplingShortcut(filters, use_norm=False, name=f"{down}_shortcut")(x)
    x = LayerNorm(name=f"{down}_norm")(x)
    x = residual(shortcut, MBConv(filters, KERNEL, strides=2, norms="none", name=down)(x), 0.0, down)
    heads = QUERY_EXPANSION * filters // HEAD_DIM
    for block, (attn_rate, ffn_rate) in enumerate(zip(rates[::2], rates[1::2], strict=True)):
        attn, ffn = f"{prefix}_block{block + 1}_attn", f"{prefix}_block{block + 1}_ffn"
        branch = LayerNorm(name=f"{attn}_norm")(x)
        branch = LinearAttention(heads, HEAD_DIM, attention=attention, name=attn)(branch)
        x = residual(x, branch, attn_rate, attn)
        branch = LayerNorm(name=f"{ffn}_norm")(x)
        branch = MBConv(filters, KERNEL, norms="none", name=ffn)(branch)
        x = residual(x, branch, ffn_rate, ffn)
    return x


def encode(image: Any, spec: EfficientViTBaseSpec, drop_path_rate: float) -> Encoding:
    """The four stages' maps."""
    stem_width, *widths = spec.widths
    x, maps = stem(image, stem_width), {}
    # Stochastic depth counts branches: a convolutional block has one, an attention block two.
    branches = tuple(depth * (1 if stage < 2 else 2) for stage, depth in enumerate(spec.depths))
    for stage, rates in enumerate(drop_path_rates(drop_path_rate, branches)):
        prefix = f"stage{stage + 1}"
        if stage < 2:
            x = convolution_stage(x, widths[stage], rates, prefix)
        else:
            x = attention_stage(x, widths[stage], rates, prefix, spec.attention)
        maps[f"P{stage + 2}"] = x
    return Encoding(maps)


def finish(encoding: Encoding, spec: EfficientViTBaseSpec) -> Any:
    """The last map, as it is."""
    return encoding.maps["P5"]


def classify(encoding: Encoding, spec: EfficientViTBaseSpec, classes: int) -> Any:
    """MobileNetV3's head: convolution, mean over the map, hidden layer, linear layer."""
    x = ConvNormAct(
        HEAD_EXPANSION * spec.widths[-1], activation=hard_swish, kernel_initializer=narrow_normal(), name="head_conv"
    )(finish(encoding, spec))
    x = keras.layers.GlobalAveragePooling2D("channels_last", name="avg_pool")(x)
    x = linear(make_divisible(HEAD_HIDDEN * spec.width), "head_hidden")(x)
    x = HardSwish(name="head_act")(x)
    return linear(classes, "head")(x)


FAMILY = Family(
    name="efficientvit_base",
    title="EfficientViT (first version)",
    citation="H. Cai et al., EfficientViT: Enhanced Linear Attention for High-Resolution Low-Computation "
    "Visual Recognition, 2022, arXiv:2205.14756v1",
    licence="none published (neither code nor weights of this network were ever released)",
    encode=encode,
    finish=finish,
    classify=classify,
)


class EfficientViTBaseOptions(ModelOptions, total=False):
    """EfficientViT-Base's own options: the width multiplier, and the kind of attention the paper compares."""

    width: float
    attention: AttentionKind


@variant(FAMILY, EFFICIENTVIT_BASE)
def EfficientViTBase(**options: Unpack[EfficientViTBaseOptions]) -> keras.Model: ...
