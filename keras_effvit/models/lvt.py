"""LVT: Lite Vision Transformer with Enhanced Self-Attention (Yang et al. 2022, arXiv 2112.10809).

Four stages; a stage is a patch embedding and blocks of attention and MLP. The first stage attends by convolution (CSA),
the others by recursive atrous self-attention (RASA). A class token then gathers what the last map knows, and every
token of that map is classified too.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack, get_args

import keras

from keras_effvit.layers.atrous_attention import RecursiveAtrousSelfAttention, check_dilations, check_recursion
from keras_effvit.layers.class_attention import ClassAttentionBlock, ClassToken, TokenHeads
from keras_effvit.layers.conv import OverlapPatchEmbedding
from keras_effvit.layers.conv_attention import ConvolutionalSelfAttention
from keras_effvit.layers.mix_token import MixToken, UnmixTokens
from keras_effvit.layers.mlp import Mlp, linear
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

EVALUATION = Evaluation(size=224, resize=233, interpolation="bicubic")
#: MixToken's box is measured on the last map, which is this many times smaller than the first.
BOX_SCALE = 8

Attention = Literal["rasa", "sra"]


@dataclass(frozen=True, kw_only=True)
class LVTSpec(ModelSpec):
    """A variant's configuration; heads are 32 channels wide in every stage.

    `recursion` and `dilations` are the paper's ablation of RASA: `dilations=None` leaves the atrous convolution out,
    `attention="sra"` the recursion too, which makes it spatial-reduction attention. `class_attention=False` is the
    plain head: mean over the map and a linear layer. `training_outputs=True` returns what training with token labels
    needs: a dict of "logits", of "aux_logits" for every token, and the "box" that MixToken exchanged between images.
    """

    OPTIONS: ClassVar = ("recursion", "dilations", "attention", "class_attention", "training_outputs")

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    mlp_ratios: tuple[int, ...] = (4, 8, 4, 4)
    #: Of keys and values; the first stage has none.
    reductions: tuple[int, ...] = (1, 4, 2, 1)
    class_blocks: int = 2
    head_dim: int = 32
    recursion: int = 2
    dilations: tuple[int, ...] | None = (1, 3, 5)
    attention: Attention = "rasa"
    class_attention: bool = True
    training_outputs: bool = False

    def __post_init__(self):
        check_recursion(self.recursion)
        check_dilations(self.dilations)
        if self.attention not in get_args(Attention):
            raise ValueError(
                f"`attention` must be one of {get_args(Attention)}. Received: attention={self.attention!r}"
            )
        if self.training_outputs and not self.class_attention:
            raise ValueError(
                "`training_outputs=True` needs the auxiliary logits of `class_attention=True`. "
                f"Received: class_attention={self.class_attention!r}"
            )


LVT_ROWS = {
    "LVT": LVTSpec(
        id="lvt", channels=(64, 64, 160, 256), depths=(2, 2, 2, 2),
        drop_path=0.1, evaluation=EVALUATION, paper=PaperFigures(5.5, 0.9, 74.8),
    ),
    # The paper's "scaled up" model, of which it prints no configuration: our reading, by LVT's own rules, which meets
    # all three figures (24.8 M without the head, 32.2 M with it, 5.2 G). It is not claimed to be the authors'.
    "LVTLarge": LVTSpec(
        id="lvt_large", channels=(96, 128, 320, 512), depths=(2, 5, 6, 3),
        drop_path=0.1, evaluation=EVALUATION, paper=PaperFigures(32.2, 5.2, 83.3),
    ),
}  # fmt: skip


def attention(x: Any, spec: LVTSpec, stage: int, name: str) -> Any:
    """The attention branch of a block of a stage, numbered from 0."""
    heads = spec.channels[stage] // spec.head_dim
    if stage == 0:
        return ConvolutionalSelfAttention(heads, name=name)(x)
    atrous = spec.attention == "rasa"
    return RecursiveAtrousSelfAttention(
        heads,
        recursion=spec.recursion if atrous else 1,
        dilations=spec.dilations if atrous else None,
        reduction=spec.reductions[stage],
        name=name,
    )(x)


def encode(image: Any, spec: LVTSpec, drop_path_rate: float) -> Encoding:
    """The four stages' maps, not normalised."""
    x, maps, box = image, {}, None
    for stage, rates in enumerate(drop_path_rates(drop_path_rate, spec.depths)):
        prefix = f"stage{stage + 1}"
        kernel, stride = (7, 4) if stage == 0 else (3, 2)
        x = OverlapPatchEmbedding(
            spec.channels[stage], kernel_size=kernel, strides=stride, name=f"{prefix}_patch_embed"
        )(x)
        if stage == 0 and spec.training_outputs:
            x, box = MixToken(BOX_SCALE, name="mix_token")(x)
        for block, rate in enumerate(rates):
            name = f"{prefix}_block{block + 1}"
            branch = attention(LayerNorm(name=f"{name}_norm1")(x), spec, stage, f"{name}_attn")
            x = residual(x, branch, rate, f"{name}_attn")
            mlp = Mlp(spec.mlp_ratios[stage], depthwise=stage > 0, name=f"{name}_mlp")
            x = residual(x, mlp(LayerNorm(name=f"{name}_norm2")(x)), rate, f"{name}_mlp")
        maps[f"P{stage + 2}"] = x
    return Encoding(maps, box=box)


def finish(encoding: Encoding, spec: LVTSpec) -> Any:
    """The last map, as it is."""
    return encoding.maps["P5"]


def classify(encoding: Encoding, spec: LVTSpec, classes: int) -> Any:
    """The class token's logits and half the largest of the other tokens', or the training outputs."""
    x = finish(encoding, spec)
    if not spec.class_attention:
        x = LayerNorm(name="norm")(x)
        x = keras.layers.GlobalAveragePooling2D("channels_last", name="avg_pool")(x)
        return linear(classes, "head")(x)
    tokens = ClassToken(name="class_token")(x)
    for block in range(spec.class_blocks):
        heads = spec.channels[-1] // spec.head_dim
        tokens = ClassAttentionBlock(heads, name=f"class_block{block + 1}")(tokens)
    tokens = LayerNorm(name="norm")(tokens)
    if not spec.training_outputs:
        return TokenHeads(classes, name="heads")(tokens)
    logits, aux_logits = TokenHeads(classes, fused=False, name="heads")(tokens)
    aux_logits = UnmixTokens(name="unmix_tokens")(aux_logits, encoding.box, x)
    return {"logits": logits, "aux_logits": aux_logits, "box": encoding.box}


FAMILY = Family(
    name="lvt",
    title="LVT",
    citation="C. Yang et al., Lite Vision Transformer with Enhanced Self-Attention, CVPR 2022, arXiv:2112.10809",
    licence="Adobe Source Code License, non-commercial research and evaluation only",
    encode=encode,
    finish=finish,
    classify=classify,
)


class LVTOptions(ModelOptions, total=False):
    """LVT's own options: the paper's ablation of RASA, the plain head, and the outputs that training needs."""

    recursion: int
    dilations: tuple[int, ...] | None
    attention: Attention
    class_attention: bool
    training_outputs: bool


@variant(FAMILY, LVT_ROWS["LVT"])
def LVT(**options: Unpack[LVTOptions]) -> keras.Model: ...


@variant(FAMILY, LVT_ROWS["LVTLarge"])
def LVTLarge(**options: Unpack[LVTOptions]) -> keras.Model: ...
