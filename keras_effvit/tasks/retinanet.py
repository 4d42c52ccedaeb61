"""RetinaNet (Lin et al. 2017): a feature pyramid, and two towers of convolutions that all its levels share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.conv import PaddedConv2D
from keras_effvit.tasks.anchors import RETINANET_ANCHORS
from keras_effvit.tasks.assemble import Shape, check_classes, finish_model, pyramid_of
from keras_effvit.tasks.detection_inits import head_initializer, prior_bias
from keras_effvit.tasks.fpn import feature_pyramid
from keras_effvit.tasks.registry import TaskRow, register

#: Convolutions of a tower.
DEPTH = 4


def head_conv(filters: int, kernel: int, name: str, *, bias: Any = "zeros", activation: Any = None) -> PaddedConv2D:
    """A convolution that starts as heads of detectors do."""
    return PaddedConv2D(
        filters,
        kernel,
        activation=activation,
        kernel_initializer=head_initializer(),
        bias_initializer=bias,
        name=name,
    )


def retinanet_heads(maps: Mapping[str, Any], classes: int, name: str = "bbox_head") -> dict[str, Any]:
    """The raw heads of a pyramid.

    Args:
        maps: by level, `P3` to `P7`, all of one width.
        classes: number of classes.
        name: what the layers' names begin with.

    Returns:
        For every level `class` (b, rows, columns, 9 * classes) and `box` (b, rows, columns, 36).
    """
    count = RETINANET_ANCHORS.count
    width = next(iter(maps.values())).shape[-1]
    towers = {
        part: [head_conv(width, 3, f"{name}_{part}_conv{i + 1}", activation="relu") for i in range(DEPTH)]
        for part in ("class", "box")
    }
    predictions = {
        "class": head_conv(count * classes, 3, f"{name}_class", bias=prior_bias()),
        "box": head_conv(count * 4, 3, f"{name}_box"),
    }
    outputs = {}
    for level, level_map in maps.items():
        for part, tower in towers.items():
            x = level_map
            for conv in tower:
                x = conv(x)
            outputs[f"{level}_{part}"] = predictions[part](x)
    return outputs


def RetinaNet(
    backbone: str | keras.Model = "sepvit_tiny",
    *,
    classes: int = 80,
    input_shape: Shape | None = None,
    weights: str | Path | None = None,
    name: str = "retinanet",
    **options: Any,
) -> keras.Model:
    """A one-stage detector with nine anchors for every cell of five maps, strides 8 to 128.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`.
        classes: number of classes; COCO has 80.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, the family's own.

    Returns:
        A model that gives raw heads by level, `P3_class` and `P3_box` to `P7_class` and `P7_box`; `with_detections` or
        `decoding.decode_retinanet` make boxes of them, `detection_losses.retinanet_loss` a loss.

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> RetinaNet(input_shape=(128, 160, 3)).output_shape["P3_box"]
        (None, 16, 20, 36)
    """
    check_classes(classes)
    features = pyramid_of(backbone, ("P3", "P4", "P5"), input_shape=input_shape, **options)
    levels = feature_pyramid(features.maps, extra="on_input", extra_levels=2)
    return finish_model(features, retinanet_heads(levels, classes), name=name, weights=weights)


register(
    TaskRow(
        id="sepvit_tiny_retinanet", build=RetinaNet, options={"backbone": "sepvit_tiny"},
        image=(800, 1280), params_m=45.4, gmacs=243,
    ),
    TaskRow(
        id="sepvit_small_retinanet", build=RetinaNet, options={"backbone": "sepvit_small"},
        image=(800, 1280), params_m=61.9, gmacs=302,
    ),
)  # fmt: skip
