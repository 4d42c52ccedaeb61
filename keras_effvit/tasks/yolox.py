"""EfficientViT-Det: YOLOX's decoupled heads on the maps of EfficientViT (Cai et al. 2022v1, section 4; Ge et al. 2021).

There is no neck. A level is narrowed to its own width, and then two branches of residual MBConvs say the class, and the
box and whether there is one at all.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.activations import hard_swish
from keras_effvit.layers.conv import ConvNormAct, PaddedConv2D
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.mbconv import MBConv
from keras_effvit.models.assemble import residual
from keras_effvit.tasks.assemble import Shape, check_classes, finish_model, pyramid_of
from keras_effvit.tasks.detection_inits import prior_bias
from keras_effvit.tasks.registry import TaskRow, register

#: Of the branches' MBConvs: how many, and the side of their kernel.
DEPTH, KERNEL = 2, 5


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


def EfficientViTDet(
    backbone: str | keras.Model = "efficientvit_base",
    *,
    classes: int = 80,
    input_shape: Shape | None = None,
    weights: str | Path | None = None,
    name: str = "efficientvit_det",
    **options: Any,
) -> keras.Model:
    """The detector of the paper's first version: three maps, and YOLOX's heads on each.

    No code of it was published: it is our reading, which meets the paper's MACs of all three input sizes.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`.
        classes: number of classes; COCO has 80.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, `width`.

    Returns:
        A model that gives raw heads by level, `P3_class`, `P3_box`, `P3_object` to `P5_..`; `with_detections` or
        `decoding.decode_yolox` make boxes of them, `detection_losses.yolox_loss` a loss.

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> EfficientViTDet(classes=3, input_shape=(416, 416, 3)).output_shape["P3_class"]
        (None, 52, 52, 3)
    """
    check_classes(classes)
    features = pyramid_of(backbone, ("P3", "P4", "P5"), input_shape=input_shape, **options)
    return finish_model(features, yolox_heads(features.maps, classes), name=name, weights=weights)


register(
    TaskRow(id="efficientvit_det", build=EfficientViTDet, image=(512, 512), params_m=10.6, gmacs=3.2),
)  # fmt: skip
