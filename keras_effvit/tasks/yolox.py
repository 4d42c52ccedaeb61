"""EfficientViT-Det: YOLOX's decoupled heads on the maps of EfficientViT (Cai et al. 2022v1, section 4; Ge et al. 2021).

There is no neck. A level is narrowed to its own width, and then two branches of residual MBConvs say the class, and the
box and whether there is one at all.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras

from keras_effvit.layers.activations import hard_swish
from keras_effvit.layers.conv import ConvNormAct, PaddedConv2D
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.mbconv import MBConv
from keras_effvit.models.assemble import residual

#: Of the branches' MBConvs: how many, and the side of their kernel.
DEPTH, KERNEL = 2, 5
#: How probable an object is before anything is learnt, so that the many empty points do not drown the few others.
PRIOR = 0.01


def prior_bias(probability: float = PRIOR) -> keras.initializers.Initializer:
    """A bias for which a sigmoid says this probability."""
    return keras.initializers.Constant(-math.log((1 - probability) / probability))


def prediction(outputs: int, name: str, bias: Any = "zeros") -> keras.layers.Layer:
    """A pointwise convolution that says something of every cell."""
    return PaddedConv2D(outputs, 1, kernel_initializer=narrow_normal(), bias_initializer=bias, name=name)


def _branch(x: Any, name: str) -> Any:
    for block in range(DEPTH):
        block_name = f"{name}_block{block + 1}"
        x = residual(x, MBConv(x.shape[-1], KERNEL, zero_norm=True, name=block_name)(x), 0.0, block_name)
    return x


def yolox_heads(maps: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The raw heads of a pyramid.

    Args:
        maps: by level, `P3` and so on.
        classes: number of classes.

    Returns:
        For every level `class` (b, rows, columns, classes), `box` (.., 4) and `object` (.., 1).
    """
    outputs = {}
    for level, x in maps.items():
        name = f"det_{level.lower()}"
        x = ConvNormAct(x.shape[-1], activation=hard_swish, kernel_initializer=narrow_normal(), name=f"{name}_stem")(x)
        of_class, of_box = _branch(x, f"{name}_class"), _branch(x, f"{name}_box")
        outputs[f"{level}_class"] = prediction(classes, f"{name}_class_prediction", prior_bias())(of_class)
        outputs[f"{level}_box"] = prediction(4, f"{name}_box_prediction")(of_box)
        outputs[f"{level}_object"] = prediction(1, f"{name}_object_prediction", prior_bias())(of_box)
    return outputs
