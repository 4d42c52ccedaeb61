"""The name tables: where every weight of a Keras model stands in the authors' checkpoints and in other code's."""

from keras_effvit.layers.linear_attention import OFFICIAL_EPSILON
from keras_effvit.weights.names import NameTable

SEPVIT = NameTable(
    family="sepvit",
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
    # The dense models have PSA in every block, with a constant window token. The classification models have no PSA
    # where one window is the whole map: in the second of two blocks of stage 3, and in stage 4.
    dense_norms=r"norm_list\..+",
    only_dense=r"(norm_list\.|blocks\.(2\.\d*[13579]|3\.\d+)\.attn\.(PSA_qk|win_tokens_norm)\.).+",
    only_classification=r"blocks\.\d+\.\d+\.win_tokens",
)

#: The convolutions of EfficientViT's blocks, ours and the authors' names.
_EFFICIENTVIT_CONVS = {"expand": "inverted_conv", "depth": "depth_conv", "point": "point_conv"}
#: The parts of its attention.
_EFFICIENTVIT_ATTENTION = {
    "qkv": "qkv.conv",
    "aggregate_depth": "aggreg.0.0",
    "aggregate_point": "aggreg.0.1",
    "proj/conv": "proj.conv",
    "proj/norm": "proj.norm",
}


def _efficientvit_b(blocks: dict[str, str], attention: str, others: dict[str, str]) -> dict[str, str]:
    """The rules of the B series, whose ports differ in what they call stem, stages and head."""
    return {
        **{
            f"{block}/{conv}/{part}": f"{their_block}.{their_conv}.{part}"
            for block, their_block in blocks.items()
            for conv, their_conv in _EFFICIENTVIT_CONVS.items()
            for part in ("conv", "norm")
        },
        **{
            f"stage{{s}}_block{{b}}_attn/{ours}": f"{attention}.{theirs}"
            for ours, theirs in _EFFICIENTVIT_ATTENTION.items()
        },
        **others,
    }


# In stages 1 and 2 a block is one residual MBConv, in stages 3 and 4 attention and an MBConv.
EFFICIENTVIT_B = NameTable(
    family="efficientvit_b",
    rules=_efficientvit_b(
        blocks={
            "stem_block{b}": "backbone.input_stem.op_list.{b}.main",
            "stage{s}_down": "backbone.stages.{s-1}.op_list.0.main",
            "stage{s}_block{b}": "backbone.stages.{s-1}.op_list.{b}.main",
            "stage{s}_block{b}_mbconv": "backbone.stages.{s-1}.op_list.{b}.local_module.main",
        },
        attention="backbone.stages.{s-1}.op_list.{b}.context_module.main",
        others={
            "stem_conv/conv": "backbone.input_stem.op_list.0.conv",
            "stem_conv/norm": "backbone.input_stem.op_list.0.norm",
            "head_conv/conv": "head.op_list.0.conv",
            "head_conv/norm": "head.op_list.0.norm",
            "head_hidden": "head.op_list.2.linear",
            "head_norm": "head.op_list.2.norm",
            "head": "head.op_list.3.linear",
        },
    ),
    attention_epsilon=OFFICIAL_EPSILON,
)

EFFICIENTVIT_B_TIMM = NameTable(
    family="efficientvit_b",
    code="timm",
    rules=_efficientvit_b(
        blocks={
            "stem_block{b}": "stem.res{b-1}.main",
            "stage{s}_down": "stages.{s-1}.blocks.0.main",
            "stage{s}_block{b}": "stages.{s-1}.blocks.{b}.main",
            "stage{s}_block{b}_mbconv": "stages.{s-1}.blocks.{b}.local_module.main",
        },
        attention="stages.{s-1}.blocks.{b}.context_module.main",
        others={
            "stem_conv/conv": "stem.in_conv.conv",
            "stem_conv/norm": "stem.in_conv.norm",
            "head_conv/conv": "head.in_conv.conv",
            "head_conv/norm": "head.in_conv.norm",
            "head_hidden": "head.classifier.0",
            "head_norm": "head.classifier.1",
            "head": "head.classifier.4",
        },
    ),
    attention_epsilon=1e-5,
)

#: No checkpoint of EfficientViT-Base exists; one that names our own paths, with dots, can be loaded.
EFFICIENTVIT_BASE = NameTable(
    family="efficientvit_base",
    code="ours",
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
    family="lightvit",
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
    dense_norms=r"norm[0-2]\..+",
    only_dense=r"norm[0-2]\..+",
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
    family="lvt",
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
    classifiers=("head", "heads/head", "heads/aux_head"),
)

TABLES = (SEPVIT, LVT, LIGHTVIT, EFFICIENTVIT_B, EFFICIENTVIT_B_TIMM, EFFICIENTVIT_BASE)
