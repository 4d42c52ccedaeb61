"""The names of dense models: a family's backbone behind `backbone.`, and the heads as OpenMMLab's code calls them.

What a dense model of ours has and no published code does is named by our own paths, with dots.
"""

from dataclasses import replace

from keras_effvit.layers.linear_attention import OFFICIAL_EPSILON
from keras_effvit.weights.detection_rules import DETECTION, DETECTION_CLASSIFIERS
from keras_effvit.weights.names import NOTHING, NameTable
from keras_effvit.weights.rules import EFFICIENTVIT_B, EFFICIENTVIT_BASE, LIGHTVIT, LVT, SEPVIT

#: Pattern of our layers that only dense models have, of which a model must have one to go by these names.
TASK_LAYERS = r"(neck|decoder|auxiliary|classifier|linear_classifier|det_p\d)\w*/.*"

_NECK = {
    "neck_lateral{i}": "neck.lateral_convs.{i-1}.conv",
    "neck_out{i}": "neck.fpn_convs.{i-1}.conv",
    "neck_up": "neck.up",
    "neck_up_out": "neck.up_out",
}


def _unit(ours: str, theirs: str) -> dict[str, str]:
    """A convolution and its normalisation."""
    return {f"{ours}/conv": f"{theirs}.conv", f"{ours}/norm": f"{theirs}.bn"}


_SEMANTIC_FPN = {
    # The authors count the resizes between the convolutions too.
    ours: theirs
    for level, steps in enumerate((1, 1, 2, 3))
    for step in range(steps)
    for ours, theirs in _unit(
        f"decoder_level{level + 1}_conv{step + 1}", f"decode_head.scale_heads.{level}.{2 * step}"
    ).items()
}
_UPERNET = {
    **_unit("decoder_pool{i}", "decode_head.psp_modules.{i-1}.1"),
    **_unit("decoder_bottleneck", "decode_head.bottleneck"),
    **_unit("decoder_lateral{i}", "decode_head.lateral_convs.{i-1}"),
    **_unit("decoder_out{i}", "decode_head.fpn_convs.{i-1}"),
    **_unit("decoder_fuse", "decode_head.fpn_bottleneck"),
    **_unit("auxiliary_conv", "auxiliary_head.convs.0"),
    "auxiliary_classifier": "auxiliary_head.conv_seg",
}
_SEGFORMER = {
    "decoder_linear{i}": "decode_head.linear_c{i}.proj",
    **_unit("decoder_merge", "decode_head.linear_fuse"),
    "linear_classifier": "decode_head.linear_pred",
}
_EFFICIENTVIT_SEG = {
    path: path.replace("/", ".")
    for part in ("conv", "norm")
    for path in (
        f"decoder_input_P{{i}}/{part}",
        f"decoder_input{{i}}/{part}",
        *(f"decoder_block{{i}}/{conv}/{part}" for conv in ("expand", "depth", "point")),
        f"decoder_expand/{part}",
        "direct_classifier",
    )
}
#: Layers with an output for every class.
CLASSIFIERS = (
    *("classifier", "linear_classifier", "direct_classifier", "auxiliary_classifier"),
    *DETECTION_CLASSIFIERS,
)


def _dense(table: NameTable) -> NameTable:
    """The names of dense models on the backbones of a family."""
    return NameTable(
        family=table.family,
        code="OpenMMLab",
        rules={
            **{ours: f"backbone.{theirs}" for ours, theirs in table.rules.items()},
            **_NECK,
            **_SEMANTIC_FPN,
            **_UPERNET,
            **_SEGFORMER,
            **_EFFICIENTVIT_SEG,
            **DETECTION,
            "classifier": "decode_head.conv_seg",
        },
        head=NOTHING,
        buffers=table.buffers,
        classifiers=CLASSIFIERS,
        requires=TASK_LAYERS,
        # The classifiers of backbones that are not asked for classes, the head that only training looks at, and the
        # classifier that SegFormer's decoder inherits and replaces.
        unused=rf"backbone\.({table.head}).*|(auxiliary_head|decode_head\.conv_seg)\..*",
        attention_epsilon=table.attention_epsilon,
    )


#: The released segmenters, by their authors' names. Those for ADE20K have no convolution before the classifier.
EFFICIENTVIT_SEG_B = replace(
    EFFICIENTVIT_B,
    code="official, segmentation",
    rules={
        **{ours: theirs for ours, theirs in EFFICIENTVIT_B.rules.items() if theirs.startswith("backbone.")},
        **{
            f"{ours}/{part}": f"{theirs}.{part}"
            for part in ("conv", "norm")
            for ours, theirs in {
                "decoder_input1": "head.input_ops.0.op_list.0",
                "decoder_input2": "head.input_ops.1.op_list.0",
                "decoder_input3": "head.input_ops.2",
                "decoder_block{b}/expand": "head.middle.op_list.{b-1}.main.inverted_conv",
                "decoder_block{b}/depth": "head.middle.op_list.{b-1}.main.depth_conv",
                "decoder_block{b}/point": "head.middle.op_list.{b-1}.main.point_conv",
                "decoder_expand": "head.output_ops.0.op_list.0",
            }.items()
        },
        "classifier": "head.output_ops.0.op_list.1.conv",
        "direct_classifier": "head.output_ops.0.op_list.0.conv",
    },
    head=NOTHING,
    classifiers=CLASSIFIERS,
    requires=TASK_LAYERS,
    attention_epsilon=OFFICIAL_EPSILON,
)

TASK_TABLES = (
    *(_dense(table) for table in (SEPVIT, LVT, LIGHTVIT, EFFICIENTVIT_B, EFFICIENTVIT_BASE)),
    EFFICIENTVIT_SEG_B,
)
