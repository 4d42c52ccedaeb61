"""Every layer of the package, usable in anyone's own model."""

from keras_effvit.layers.activations import HardSwish, gelu, hard_swish, hard_swish_lowering
from keras_effvit.layers.conv import (
    ConditionalPositionEncoding,
    ConvNormAct,
    OverlapPatchEmbedding,
    PaddedConv2D,
    PaddedDepthwiseConv2D,
)
from keras_effvit.layers.drop_path import DropPath
from keras_effvit.layers.mlp import Mlp
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.layers.window_attention import (
    DepthwiseSelfAttention,
    GroupedSelfAttention,
    PointwiseSelfAttention,
    SeparableSelfAttention,
)
from keras_effvit.layers.windows import window_merge, window_partition

__all__ = [
    "ConditionalPositionEncoding",
    "ConvNormAct",
    "DepthwiseSelfAttention",
    "DropPath",
    "GroupedSelfAttention",
    "HardSwish",
    "LayerNorm",
    "Mlp",
    "OverlapPatchEmbedding",
    "PaddedConv2D",
    "PaddedDepthwiseConv2D",
    "PointwiseSelfAttention",
    "SeparableSelfAttention",
    "gelu",
    "hard_swish",
    "hard_swish_lowering",
    "window_merge",
    "window_partition",
]
