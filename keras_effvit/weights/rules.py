"""The name tables: where every weight of a Keras model stands in the authors' checkpoint.

A rule maps a layer's path in our model to the module's name in the checkpoint. `{i}` stands for a number on the left;
on the right it may be shifted, `{i-1}`, because our stages and blocks count from 1. A rule whose left side is the path
of a weight, not of a layer, names the whole checkpoint entry.
"""

import functools
import re
from dataclasses import dataclass

#: A layer's own variables, and what checkpoints call them.
LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class NameTable:
    """One family's names.

    Attributes:
        rules: our path -> checkpoint name, the first match counts.
        prefixes: what may stand before every name (the wrappers of dense code bases and of data parallelism).
        head: pattern of the entries that only a classifier needs, ignored by models built without the head.
        buffers: pattern of entries that hold no weight.
    """

    rules: dict[str, str]
    prefixes: tuple[str, ...] = ("", "module.", "backbone.")
    head: str = r"head\."
    buffers: str = r".*\.num_batches_tracked"

    def checkpoint_name(self, path: str) -> str | None:
        """The checkpoint's name of the weight at `path`, or `None` where no rule applies."""
        layer, _, leaf = path.rpartition("/")
        for ours, theirs in self.rules.items():
            for candidate, suffix in ((path, ""), (layer, f".{LEAVES.get(leaf, leaf)}")):
                match = _pattern(ours).fullmatch(candidate)
                if match:
                    return _fill(theirs, match.groupdict()) + suffix
        return None

    def stage(self, name: str) -> int | None:
        """The stage, counted from 1, that a checkpoint's entry belongs to; `None` for the stem and the head."""
        for ours, theirs in self.rules.items():
            match = _inverse(theirs).match(name)
            if match and ours.startswith("stage"):
                number = re.match(r"stage(\d+)", ours)
                return int(number[1]) if number else int(match["s"]) - _shift(theirs)
        return None


#: A placeholder of a rule's right side: its name and its shift.
_PLACEHOLDER = r"\{(\w+?)([+-]\d+)?\}"


@functools.cache
def _inverse(template: str) -> re.Pattern[str]:
    """Matches the entries of a module named by a rule's right side."""
    parts = re.split(_PLACEHOLDER, template)
    pattern = "".join(
        f"(?P<{name}>\\d+)" + re.escape(after) for name, after in zip(parts[1::3], parts[3::3], strict=True)
    )
    return re.compile(re.escape(parts[0]) + pattern + r"(\.|$)")


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    # Odd parts are the placeholders' names.
    return re.compile("".join(f"(?P<{p}>\\d+)" if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _shift(template: str) -> int:
    """What a rule's right side adds to the stage."""
    return next(int(shift or 0) for name, shift in re.findall(_PLACEHOLDER, template) if name == "s")


def _fill(template: str, numbers: dict[str, str]) -> str:
    def number(match: re.Match[str]) -> str:
        return str(int(numbers[match[1]]) + int(match[2] or 0))

    return re.sub(_PLACEHOLDER, number, template)


SEPVIT = NameTable(
    rules={
        "stage{s}_patch_embed/proj": "patch_embeds.{s-1}.proj",
        "stage{s}_patch_embed/norm": "patch_embeds.{s-1}.norm",
        "stage{s}_position/proj": "pos_block.{s-1}.proj.0",
        "stage{s}_block{b}_attn/token": "blocks.{s-1}.{b-1}.win_tokens",
        "stage{s}_block{b}_attn/norm": "blocks.{s-1}.{b-1}.norm1",
        "stage{s}_block{b}_attn/dsa/qkv": "blocks.{s-1}.{b-1}.attn.DSA_qkv",
        "stage{s}_block{b}_attn/psa/norm": "blocks.{s-1}.{b-1}.attn.win_tokens_norm",
        "stage{s}_block{b}_attn/psa/qk": "blocks.{s-1}.{b-1}.attn.PSA_qk",
        "stage{s}_block{b}_attn/summary": "blocks.{s-1}.{b-1}.attn.win_tokens_conv",
        "stage{s}_block{b}_attn/proj": "blocks.{s-1}.{b-1}.attn.proj",
        "stage{s}_block{b}_norm": "blocks.{s-1}.{b-1}.norm2",
        "stage{s}_block{b}_mlp/fc1": "blocks.{s-1}.{b-1}.mlp.fc1",
        "stage{s}_block{b}_mlp/fc2": "blocks.{s-1}.{b-1}.mlp.fc2",
        "stage{s}_norm": "norm_list.{s-1}",
        "norm": "norm",
        "head": "head",
    },
    head=r"(norm|head)\.",
)

#: The convolutions of EfficientViT's blocks, ours and the authors' names.
_EFFICIENTVIT_CONVS = {"expand": "inverted_conv", "depth": "depth_conv", "point": "point_conv"}
#: Its blocks. In stages 1 and 2 a block is one residual MBConv, in stages 3 and 4 attention and an MBConv.
_EFFICIENTVIT_B_BLOCKS = {
    "stem_block{b}": "backbone.input_stem.op_list.{b}.main",
    "stage{s}_down": "backbone.stages.{s-1}.op_list.0.main",
    "stage{s}_block{b}": "backbone.stages.{s-1}.op_list.{b}.main",
    "stage{s}_block{b}_mbconv": "backbone.stages.{s-1}.op_list.{b}.local_module.main",
}

EFFICIENTVIT_B = NameTable(
    rules={
        "stem_conv/conv": "backbone.input_stem.op_list.0.conv",
        "stem_conv/norm": "backbone.input_stem.op_list.0.norm",
        **{
            f"{block}/{conv}/{part}": f"{their_block}.{their_conv}.{part}"
            for block, their_block in _EFFICIENTVIT_B_BLOCKS.items()
            for conv, their_conv in _EFFICIENTVIT_CONVS.items()
            for part in ("conv", "norm")
        },
        "stage{s}_block{b}_attn/qkv": "backbone.stages.{s-1}.op_list.{b}.context_module.main.qkv.conv",
        "stage{s}_block{b}_attn/aggregate_depth": "backbone.stages.{s-1}.op_list.{b}.context_module.main.aggreg.0.0",
        "stage{s}_block{b}_attn/aggregate_point": "backbone.stages.{s-1}.op_list.{b}.context_module.main.aggreg.0.1",
        "stage{s}_block{b}_attn/proj/conv": "backbone.stages.{s-1}.op_list.{b}.context_module.main.proj.conv",
        "stage{s}_block{b}_attn/proj/norm": "backbone.stages.{s-1}.op_list.{b}.context_module.main.proj.norm",
        "head_conv/conv": "head.op_list.0.conv",
        "head_conv/norm": "head.op_list.0.norm",
        "head_hidden": "head.op_list.2.linear",
        "head_norm": "head.op_list.2.norm",
        "head": "head.op_list.3.linear",
    },
    prefixes=("", "module."),
)

#: No checkpoint of EfficientViT-Base exists; one that names our own paths, with dots, can be loaded.
EFFICIENTVIT_BASE = NameTable(
    rules={
        path: path.replace("/", ".")
        for path in (
            "stem_conv/conv",
            "stem_conv/norm",
            *(
                f"{block}/{conv}/{part}"
                for block in ("stem_block{b}", "stage{s}_down", "stage{s}_block{b}", "stage{s}_block{b}_ffn")
                for conv in _EFFICIENTVIT_CONVS
                for part in ("conv", "norm")
            ),
            "stage{s}_down_shortcut/proj/conv",
            "stage{s}_down_shortcut/proj/norm",
            "stage{s}_down_norm",
            "stage{s}_block{b}_attn_norm",
            "stage{s}_block{b}_attn/qkv",
            "stage{s}_block{b}_attn/proj",
            "stage{s}_block{b}_ffn_norm",
            "head_conv/conv",
            "head_conv/norm",
            "head_hidden",
            "head",
        )
    },
    prefixes=("", "module."),
    head=r"head\w*\.",
)

#: LightViT's parts of a block.
_LIGHTVIT_BLOCK = {
    "norm1": "norm1",
    "attn/qkv": "attn.qkv",
    "attn/local/bias_table": "attn.relative_position_bias_table",
    "attn/broadcast/kv": "attn.kv_global",
    "attn/proj": "attn.proj",
    "norm2": "norm2",
    "mlp/mlp/fc1": "mlp.fc1",
    "mlp/mlp/fc2": "mlp.fc2",
    **{
        f"mlp/gate/{part}": f"mlp.attn.{part}"
        for part in ("norm", "global_reduce", "local_reduce", "channel_select", "spatial_select")
    },
}

LIGHTVIT = NameTable(
    rules={
        **{f"stem_conv{i + 1}/conv": f"patch_embed.stem.{3 * i}" for i in range(4)},
        **{f"stem_conv{i + 1}/norm": f"patch_embed.stem.{3 * i + 1}" for i in range(4)},
        "stem_proj": "patch_embed.proj",
        "stem_norm": "patch_embed.norm",
        "global_tokens/token": "global_token",
        # Where a stage opens with patch merging, that is its module 0.
        **{f"stage1_block{{b}}_{ours}": f"stages.0.{{b-1}}.{theirs}" for ours, theirs in _LIGHTVIT_BLOCK.items()},
        **{
            f"stage{{s}}_block{{b}}_{ours}": f"stages.{{s-1}}.{{b}}.{theirs}"
            for ours, theirs in _LIGHTVIT_BLOCK.items()
        },
        "stage{s}_merge/norm": "stages.{s-1}.0.norm",
        "stage{s}_merge/reduction": "stages.{s-1}.0.reduction",
        "stage{s}_merge/shortcut_proj": "stages.{s-1}.0.res_proj",
        "stage{s}_merge/token_norm": "stages.{s-1}.0.norm2",
        "stage{s}_merge/token_proj": "stages.{s-1}.0.proj",
        "stage{s}_norm": "norm{s-1}",
        "norm": "norm",
        "neck": "neck.0",
        "neck_norm": "neck.1",
        "head": "head",
    },
    head=r"(norm|neck|head)\.",
    buffers=r".*\.(num_batches_tracked|relative_position_index)",
)

#: LVT's parts of a block; the convolution of the first stage's values is called plainly `weight`.
_LVT_BLOCK = {
    "norm1": "norm1",
    "attn/logits": "attn.attn",
    "attn/values": "attn.weight",
    "attn/q": "attn.q",
    "attn/atrous": "attn.ds",
    "attn/reduce": "attn.sr",
    "attn/norm": "attn.norm",
    "attn/kv": "attn.kv",
    "attn/proj": "attn.proj",
    "norm2": "norm2",
    "mlp/fc1": "mlp.fc1",
    "mlp/conv": "mlp.depconv",
    "mlp/fc2": "mlp.fc2",
}

LVT = NameTable(
    rules={
        "stage{s}_patch_embed/proj": "backbone.{s-1}.0.proj",
        "stage{s}_patch_embed/norm": "backbone.{s-1}.0.norm",
        **{
            f"stage{{s}}_block{{b}}_{ours}": f"backbone.{{s-1}}.1.{{b-1}}.{theirs}"
            for ours, theirs in _LVT_BLOCK.items()
        },
        "class_token/token": "cls_token",
        **{
            f"class_block{{b}}/{part}": f"post_network.{{b-1}}.{part.replace('/', '.')}"
            for part in ("norm1", "attn/q", "attn/kv", "attn/proj", "norm2", "mlp/fc1", "mlp/fc2")
        },
        "norm": "norm",
        "heads/head": "head",
        "heads/aux_head": "aux_head",
        "head": "head",
    },
    # `backbone.` is part of the names; dense code bases put another one before it.
    head=r"(?!backbone\.)",
)

TABLES = {
    "sepvit": SEPVIT,
    "lvt": LVT,
    "lightvit": LIGHTVIT,
    "efficientvit_b": EFFICIENTVIT_B,
    "efficientvit_base": EFFICIENTVIT_BASE,
}
