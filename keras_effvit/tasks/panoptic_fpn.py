"""Panoptic FPN (Kirillov et al. 2019): one pyramid for things, found and masked, and for stuff, pixel by pixel.

LVT's authors train it with everything 96 channels wide.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.conv import PaddedConv2D
from keras_effvit.layers.norm import GroupNorm
from keras_effvit.layers.resizing import BilinearUpsampling
from keras_effvit.tasks.assemble import Shape, check_classes, finish_model, pyramid_of
from keras_effvit.tasks.mask_rcnn import PATCH_LEVELS, TwoStage, neck_of, two_stages
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.rpn import MOST

#: LVT's channels of the pyramid and the heads, and of the box head's linear layers.
WIDTH, HIDDEN = 96, 160
#: Channels of the semantic head over those of the pyramid, and groups of its normalisation.
SEMANTIC_SHARE, GROUPS = 2, 12
#: Every side of the image must be a multiple of it, or the levels would not be of one size after their doublings.
LEAST_STRIDE = 32


def semantic_head(maps: Mapping[str, Any], classes: int, name: str = "semantic_head") -> Any:
    """Logits (b, rows, columns, classes) at the finest level's size: every level after a convolution for each doubling.

    Args:
        maps: `P2` to `P5` of the neck.
        classes: number of classes.
        name: what the layers' names begin with.
    """
    width = next(iter(maps.values())).shape[-1] // SEMANTIC_SHARE
    scaled = []
    for number, x in enumerate(maps.values()):
        for step in range(max(1, number)):
            step_name = f"{name}_level{number + 1}_conv{step + 1}"
            x = PaddedConv2D(width, 3, use_bias=False, name=step_name)(x)
            x = GroupNorm(GROUPS, name=f"{step_name}_norm")(x)
            x = keras.layers.ReLU(name=f"{step_name}_relu")(x)
            if number > 0:
                x = BilinearUpsampling(2, name=f"{step_name}_double")(x)
        scaled.append(x)
    return PaddedConv2D(classes, 1, name=f"{name}_class")(keras.layers.Add(name=f"{name}_sum")(scaled))


def PanopticFPN(
    backbone: str | keras.Model = "lvt",
    *,
    things: int = 80,
    stuff: int = 53,
    input_shape: Shape | None = None,
    width: int = WIDTH,
    hidden: int = HIDDEN,
    proposals: int = MOST,
    most: int = 100,
    weights: str | Path | None = None,
    name: str = "panoptic_fpn",
    **options: Any,
) -> keras.Model:
    """Mask R-CNN for the things, and a semantic head for the stuff behind them.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`.
        things: classes of what can be counted.
        stuff: classes of what cannot; the semantic head has one more, for all things together, the last.
        input_shape: (height, width, channels), sides multiples of 32; 512 x 512 x 3 by default.
        width: channels of the pyramid and the heads.
        hidden: of the box head's linear layers.
        proposals: boxes of an image that the second stage looks at.
        most: things of an image that come out.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, the family's own.

    Returns:
        A model that gives `boxes`, `scores`, `labels`, `masks` and `semantic`, the last at a quarter of the image's
        sides; `fusion.fuse` makes one labelling of them, `fit_two_stage` trains it.

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> PanopticFPN(input_shape=(256, 320, 3), proposals=100).output_shape["semantic"]
        (None, 64, 80, 54)
    """
    check_classes(things)
    check_classes(stuff)
    features = pyramid_of(backbone, input_shape=input_shape, **options)
    if any(side is None or side % LEAST_STRIDE for side in features.image.shape[1:3]):
        raise ValueError(
            f"`input_shape` must have sides that are multiples of {LEAST_STRIDE}. "
            f"Received: input_shape={tuple(features.image.shape[1:])}"
        )
    maps = neck_of(features, width)
    parts = TwoStage(things, width=width, hidden=hidden, proposals=proposals, most=most)
    outputs = two_stages(maps, features.image, parts)
    outputs["semantic"] = semantic_head({level: maps[level] for level in PATCH_LEVELS}, stuff + 1)
    return finish_model(features, outputs, name=name, weights=weights)


register(
    TaskRow(
        id="lvt_panoptic_fpn", build=PanopticFPN, options={"backbone": "lvt"},
        image=(800, 1216), params_m=5.4, gmacs=56.4,
    ),
)  # fmt: skip
