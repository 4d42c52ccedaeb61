"""Every layer of the package, usable in anyone's own model."""

from keras_effvit.layers.activations import HardSwish, gelu, hard_swish
from keras_effvit.layers.atrous_attention import AtrousDepthwiseConv2D, RecursiveAtrousSelfAttention
from keras_effvit.layers.bidim_ffn import BiDimensionalAttention, BiDimensionalFFN
from keras_effvit.layers.class_attention import ClassAttention, ClassAttentionBlock, ClassToken, TokenHeads
from keras_effvit.layers.conv import (
    ConditionalPositionEncoding,
    ConvNormAct,
    OverlapPatchEmbedding,
    PaddedConv2D,
    PaddedDepthwiseConv2D,
)
from keras_effvit.layers.conv_attention import ConvolutionalSelfAttention, UnfoldedConv2D, fold, unfold
from keras_effvit.layers.doubling_conv import DoublingConv2D
from keras_effvit.layers.drop_path import DropPath
from keras_effvit.layers.global_attention import (
    GlobalAggregation,
    GlobalBroadcast,
    LocalGlobalAttention,
    LocalWindowAttention,
)
from keras_effvit.layers.global_tokens import GlobalTokens, JointAveragePooling, joint_mean
from keras_effvit.layers.grouped import GroupedLinear
from keras_effvit.layers.linear_attention import LinearAttention, MultiScaleLinearAttention, relu_linear_attention
from keras_effvit.layers.lowerings import lowering
from keras_effvit.layers.mbconv import DownsamplingShortcut, DSConv, MBConv
from keras_effvit.layers.mix_token import MixToken, UnmixTokens
from keras_effvit.layers.mlp import Mlp
from keras_effvit.layers.norm import BatchNorm, GroupNorm, LayerNorm
from keras_effvit.layers.patch_merging import ResidualPatchMerging
from keras_effvit.layers.resizing import (
    BicubicUpsampling,
    BilinearUpsampling,
    CellPooling,
    NearestDoubling,
    ResizeLike,
    Subsampling,
)
from keras_effvit.layers.window_attention import (
    DepthwiseSelfAttention,
    GroupedSelfAttention,
    PointwiseSelfAttention,
    SeparableSelfAttention,
)
from keras_effvit.layers.windows import window_merge, window_partition

__all__ = [
    "AtrousDepthwiseConv2D",
    "BatchNorm",
    "BiDimensionalAttention",
    "BiDimensionalFFN",
    "BicubicUpsampling",
    "BilinearUpsampling",
    "CellPooling",
    "ClassAttention",
    "ClassAttentionBlock",
    "ClassToken",
    "ConditionalPositionEncoding",
    "ConvNormAct",
    "ConvolutionalSelfAttention",
    "DSConv",
    "DepthwiseSelfAttention",
    "DoublingConv2D",
    "DownsamplingShortcut",
    "DropPath",
    "GlobalAggregation",
    "GlobalBroadcast",
    "GlobalTokens",
    "GroupNorm",
    "GroupedLinear",
    "GroupedSelfAttention",
    "HardSwish",
    "JointAveragePooling",
    "LayerNorm",
    "LinearAttention",
    "LocalGlobalAttention",
    "LocalWindowAttention",
    "MBConv",
    "MixToken",
    "Mlp",
    "MultiScaleLinearAttention",
    "NearestDoubling",
    "OverlapPatchEmbedding",
    "PaddedConv2D",
    "PaddedDepthwiseConv2D",
    "PointwiseSelfAttention",
    "RecursiveAtrousSelfAttention",
    "ResidualPatchMerging",
    "ResizeLike",
    "SeparableSelfAttention",
    "Subsampling",
    "TokenHeads",
    "UnfoldedConv2D",
    "UnmixTokens",
    "fold",
    "gelu",
    "hard_swish",
    "joint_mean",
    "relu_linear_attention",
    "unfold",
    "lowering",
    "window_merge",
    "window_partition",
]
