"""For every layer of the package: constructor options and input shapes to try it with."""

MAP = (2, 14, 21, 16)
TOKENS = (2, 10, 16)

EXAMPLES = {
    "AtrousDepthwiseConv2D": [({"dilations": (1, 2)}, [MAP])],
    "BatchNorm": [({"epsilon": 1e-3, "momentum": 0.5, "gamma_initializer": "zeros"}, [MAP])],
    "ClassAttention": [({"num_heads": 2}, [TOKENS])],
    "ClassAttentionBlock": [({"num_heads": 2, "expansion": 3}, [TOKENS])],
    "ClassToken": [({}, [MAP])],
    "BiDimensionalAttention": [
        ({}, [MAP, TOKENS]),
        ({"reduction": 2, "gates": ["channel", "local_spatial"]}, [MAP]),
    ],
    "BiDimensionalFFN": [
        ({"expansion": 2, "reduction": 8}, [MAP, TOKENS]),
        ({"gates": ["spatial"]}, [MAP]),
        ({"gates": []}, [MAP, TOKENS]),
    ],
    "BicubicUpsampling": [({"factor": 4}, [(2, 3, 5, 16), (2, 11, 20, 3)])],
    "BilinearUpsampling": [({"factor": 3}, [MAP])],
    "CellPooling": [({"cells": 6}, [MAP]), ({"cells": 1}, [MAP])],
    "ConditionalPositionEncoding": [({}, [MAP]), ({"kernel_size": 5}, [MAP])],
    "ConvNormAct": [
        (
            {"filters": 8, "kernel_size": 3, "strides": 2, "activation": "relu", "kernel_initializer": "he_normal"},
            [MAP],
        ),
        ({"filters": None, "kernel_size": 5, "use_bias": True, "use_norm": False}, [MAP]),
        ({"filters": 8, "zero_norm": True}, [MAP]),
    ],
    "ConvolutionalSelfAttention": [({"num_heads": 2}, [MAP])],
    "DepthwiseSelfAttention": [({"num_heads": 2}, [TOKENS])],
    "DSConv": [({"filters": 8}, [MAP]), ({"filters": 8, "kernel_size": 5, "strides": 2, "zero_norm": True}, [MAP])],
    "DownsamplingShortcut": [({"filters": 8}, [(2, 7, 9, 16)]), ({"filters": 8, "use_norm": False}, [MAP])],
    "DoublingConv2D": [({"filters": 8, "kernel_initializer": "he_normal"}, [MAP])],
    "DropPath": [({"rate": 0.2, "seed": 3}, [MAP])],
    "GlobalAggregation": [({"num_heads": 2}, [(2, 3, 16), TOKENS, TOKENS])],
    "GlobalBroadcast": [({"num_heads": 2}, [TOKENS, (2, 3, 16)])],
    "GlobalTokens": [({"count": 3}, [MAP])],
    "GroupNorm": [({"groups": 4, "epsilon": 1e-3}, [MAP])],
    "GroupedLinear": [({"group_size": 4, "kernel_initializer": "he_normal"}, [MAP])],
    "GroupedSelfAttention": [({"num_heads": 4}, [MAP])],
    "HardSwish": [({}, [MAP])],
    "JointAveragePooling": [({}, [MAP, TOKENS]), ({}, [MAP])],
    "LayerNorm": [({"epsilon": 1e-3}, [TOKENS])],
    "LinearAttention": [
        ({"num_heads": 3, "head_dim": 8}, [MAP]),
        ({"num_heads": 2, "attention": "softmax", "epsilon": 1e-3}, [MAP]),
    ],
    "LocalGlobalAttention": [
        ({"num_heads": 2}, [MAP, TOKENS]),
        ({"num_heads": 2, "window_size": 5}, [MAP, TOKENS]),
        ({"num_heads": 4, "window_size": 3}, [MAP]),
        ({"num_heads": 2, "window_size": None}, [MAP]),
    ],
    "LocalWindowAttention": [({"num_heads": 2, "window_size": 3}, [(8, 9, 16)] * 3)],
    "MBConv": [
        ({"filters": 8, "kernel_size": 5, "expansion": 3, "strides": 2}, [MAP]),
        ({"filters": 8, "norms": "last", "zero_norm": True}, [MAP]),
        ({"filters": 16, "norms": "none"}, [MAP]),
    ],
    "MultiScaleLinearAttention": [
        ({"head_dim": 8, "kernel_size": 3, "zero_norm": True}, [MAP]),
        ({"attention": "softmax", "epsilon": 1e-5}, [MAP]),
    ],
    "MixToken": [({"scale": 7, "seed": 3}, [MAP])],
    "Mlp": [({"expansion": 2}, [TOKENS]), ({"depthwise": True}, [MAP])],
    "NearestDoubling": [({}, [(2, 7, 11, 16), MAP])],
    "OverlapPatchEmbedding": [({"dim": 8, "kernel_size": 7, "strides": 4}, [MAP])],
    "PaddedConv2D": [({"filters": 8, "kernel_size": 3, "strides": 2}, [MAP])],
    "PaddedDepthwiseConv2D": [({"kernel_size": 3, "dilation_rate": 3, "use_bias": False}, [MAP])],
    "PointwiseSelfAttention": [({"num_heads": 2}, [(8, 9, 16), (2, 4, 16)])],
    "ResidualPatchMerging": [({"dim": 8}, [(2, 7, 9, 16), TOKENS]), ({"dim": 8, "shortcut": False}, [MAP])],
    "ResizeLike": [({}, [MAP, (2, 5, 30, 1)])],
    "RecursiveAtrousSelfAttention": [
        ({"num_heads": 2, "recursion": 3, "dilations": (1, 2), "reduction": 2}, [MAP]),
        ({"num_heads": 2, "recursion": 1, "dilations": None}, [MAP]),
    ],
    "SeparableSelfAttention": [
        ({"num_heads": 2, "window_token": token}, [MAP])
        for token in ("learnable", "zero", "avg_pool", "depthwise_conv")
    ],
    "Subsampling": [({}, [(2, 7, 12, 16)])],
    "TokenHeads": [({"classes": 5}, [TOKENS]), ({"classes": 5, "fused": False}, [TOKENS])],
    "UnfoldedConv2D": [({}, [MAP])],
    "UnmixTokens": [({}, [(2, 14 * 21, 16), (2, 4), MAP])],
}
