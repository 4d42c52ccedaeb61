"""SepViT: Separable Vision Transformer (Li et al. 2022, arXiv 2203.15380).

Four stages; a stage is a patch embedding and blocks, and its first block is followed by a position encoding. A block
attends inside windows (D) or inside a group of windows twice as wide (G), and then runs an MLP.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import keras

from keras_effvit.layers.conv import ConditionalPositionEncoding, OverlapPatchEmbedding
from keras_effvit.layers.mlp import Mlp, linear
from keras_effvit.layers.norm import BLOCK_EPSILON, LayerNorm
from keras_effvit.layers.window_attention import GroupedSelfAttention, SeparableSelfAttention, WindowToken
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

WINDOW = 7
#: The map of every stage at 224 x 224, which decides where a group covers the whole map.
NOMINAL_MAPS = (56, 28, 14, 7)
EVALUATION = Evaluation(size=224, resize=256, interpolation="bicubic")
#: How many windows wide the attention of a block is.
SPANS = {"D": 1, "G": 2}


@dataclass(frozen=True, kw_only=True)
class SepViTSpec(ModelSpec):
    """A column of the paper's table 2.

    `blocks` names the kinds of block of every stage, repeated to its depth: `"D&G"` alternates, D first.
    """

    OPTIONS: ClassVar = ("window_token", "blocks")

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    blocks: tuple[str, ...] = ("D", "D&G", "D&G", "D")
    window_token: WindowToken = "learnable"
    head_dim: int = 32

    def __post_init__(self):
        pattern = tuple(self.blocks)
        if len(pattern) != len(self.depths) or any(set(kinds.split("&")) - set(SPANS) for kinds in pattern):
            raise ValueError(
                '`blocks` must name the blocks of four stages out of "D", "G", "D&G" and "G&D". '
                f"Received: blocks={self.blocks!r}"
            )


SEPVIT = {
    "Lite": SepViTSpec(
        id="sepvit_lite", channels=(32, 64, 128, 256), depths=(1, 2, 6, 2),
        drop_path=0.2, evaluation=EVALUATION, paper=PaperFigures(3.7, 0.6, 72.3),
    ),
    "Tiny": SepViTSpec(
        id="sepvit_tiny", channels=(96, 192, 384, 768), depths=(1, 2, 6, 2),
        drop_path=0.2, evaluation=EVALUATION, paper=PaperFigures(31.2, 4.5, 82.7),
    ),
    "Small": SepViTSpec(
        id="sepvit_small", channels=(96, 192, 384, 768), depths=(1, 2, 14, 2),
        drop_path=0.3, evaluation=EVALUATION, paper=PaperFigures(46.6, 7.5, 83.6),
    ),
    "Base": SepViTSpec(
        id="sepvit_base", channels=(128, 256, 512, 1024), depths=(1, 2, 14, 2),
        drop_path=0.5, evaluation=EVALUATION, paper=PaperFigures(82.3, 13.1, 84.2),
    ),
}  # fmt: skip


def attention(x: Any, spec: SepViTSpec, stage: int, block: int, name: str) -> Any:
    """The attention branch of a block, numbered from 0."""
    kinds = spec.blocks[stage].split("&")
    window = WINDOW * SPANS[kinds[block % len(kinds)]]
    heads = spec.channels[stage] // spec.head_dim
    # The classification models exchange nothing between windows where, at 224 x 224, one window is the whole map.
    if not spec.dense and NOMINAL_MAPS[stage] // window <= 1:
        return GroupedSelfAttention(heads, name=name)(x)
    token = "zero" if spec.dense and spec.window_token == "learnable" else spec.window_token
    return SeparableSelfAttention(heads, window, window_token=token, name=name)(x)


def encode(image: Any, spec: SepViTSpec, drop_path_rate: float) -> Encoding:
    """The four stages' maps; the dense variant normalises each before it goes on."""
    x, maps = image, {}
    for stage, rates in enumerate(drop_path_rates(drop_path_rate, spec.depths)):
        prefix = f"stage{stage + 1}"
        kernel, stride = (7, 4) if stage == 0 else (3, 2)
        x = OverlapPatchEmbedding(
            spec.channels[stage], kernel_size=kernel, strides=stride, name=f"{prefix}_patch_embed"
        )(x)
        for block, rate in enumerate(rates):
            name = f"{prefix}_block{block + 1}"
            x = residual(x, attention(x, spec, stage, block, f"{name}_attn"), rate, f"{name}_attn")
            mlp = Mlp(4, name=f"{name}_mlp")(LayerNorm(BLOCK_EPSILON, name=f"{name}_norm")(x))
            x = residual(x, mlp, rate, f"{name}_mlp")
            if block == 0:
                x = ConditionalPositionEncoding(name=f"{prefix}_position")(x)
        if spec.dense:
            x = LayerNorm(BLOCK_EPSILON, name=f"{prefix}_norm")(x)
        maps[f"P{stage + 2}"] = x
    return Encoding(maps)


def finish(encoding: Encoding, spec: SepViTSpec) -> Any:
    """The last map, normalised."""
    return LayerNorm(BLOCK_EPSILON, name="norm")(encoding.maps["P5"])


def classify(encoding: Encoding, spec: SepViTSpec, classes: int) -> Any:
    """Mean over the normalised map, then a linear layer."""
    x = keras.layers.GlobalAveragePooling2D("channels_last", name="avg_pool")(finish(encoding, spec))
    return linear(classes, "head")(x)


FAMILY = Family(
    name="sepvit",
    title="SepViT",
    citation="W. Li et al., SepViT: Separable Vision Transformer, 2022, arXiv:2203.15380",
    licence="none published (the authors' repository has no licence and no weights)",
    encode=encode,
    finish=finish,
    classify=classify,
    any_size=False,
)


class SepViTOptions(ModelOptions, total=False):
    """SepViT's own options: table 6's block pattern and table 7's window token."""

    blocks: tuple[str, ...]
    window_token: WindowToken


@variant(FAMILY, SEPVIT["Lite"])
def SepViTLite(**options: Unpack[SepViTOptions]) -> keras.Model: ...


@variant(FAMILY, SEPVIT["Tiny"])
def SepViTTiny(**options: Unpack[SepViTOptions]) -> keras.Model: ...


@variant(FAMILY, SEPVIT["Small"])
def SepViTSmall(**options: Unpack[SepViTOptions]) -> keras.Model: ...


@variant(FAMILY, SEPVIT["Base"])
def SepViTBase(**options: Unpack[SepViTOptions]) -> keras.Model: ...
