"""Mask R-CNN (He et al. 2017) on a feature pyramid: proposals, then classes, boxes and masks of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_effvit.tasks.assemble import Pyramid, Shape, check_classes, finish_model, pyramid_of
from keras_effvit.tasks.fpn import feature_pyramid, three_stage_pyramid
from keras_effvit.tasks.raw_heads import strides_of
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.roi_heads import (
    BOX_PATCH,
    MASK_PATCH,
    DetectInProposals,
    MasksOfClasses,
    RoiAlign,
    box_head,
    mask_head,
)
from keras_effvit.tasks.rpn import MOST, Propose, rpn_heads

#: Channels of the pyramid and the heads, and of the box head's linear layers.
WIDTH, HIDDEN = 256, 1024
#: The levels that patches are cut from.
PATCH_LEVELS = ("P2", "P3", "P4", "P5")


@dataclass(frozen=True)
class TwoStage:
    """What a two-stage detector is told beside its backbone.

    Attributes:
        classes: number of classes.
        width: channels of the pyramid and the heads.
        hidden: of the box head's linear layers.
        proposals: boxes of an image that the second stage looks at.
        most: boxes of an image that it gives.
    """

    classes: int
    width: int = WIDTH
    hidden: int = HIDDEN
    proposals: int = MOST
    most: int = 100


def neck_of(features: Pyramid, width: int) -> dict[str, Any]:
    """`P2` to `P6` of one width; LightViT's three stages get its own neck."""
    if "P2" in features.maps:
        return feature_pyramid(features.maps, width, extra_levels=1)
    return three_stage_pyramid(features.maps, width)


def two_stages(maps: Mapping[str, Any], image: Any, parts: TwoStage) -> dict[str, Any]:
    """Boxes, scores, labels and masks of the surest objects.

    Args:
        maps: of the neck.
        image: the graph's input.
        parts: sizes.

    Returns:
        `boxes` (b, most, 4), `scores` (b, most), `labels` (b, most) and `masks` (b, most, 28, 28), probabilities inside
        the box, which `decoding.paste_masks` spreads over the image.
    """
    size = _image_size(image)
    proposals = Propose(size, parts.proposals, name="proposals")(rpn_heads(maps))
    levels = [maps[level] for level in PATCH_LEVELS]
    strides = strides_of(PATCH_LEVELS)
    patches = RoiAlign(strides, BOX_PATCH, name="box_patches")([*levels, proposals])
    logits, deltas = box_head(patches, parts.classes, parts.hidden)
    found = DetectInProposals(size, most=parts.most, name="detections")([proposals, logits, deltas])
    patches = RoiAlign(strides, MASK_PATCH, name="mask_patches")([*levels, found["boxes"]])
    masks = mask_head(patches, parts.classes, parts.width)
    return {**found, "masks": MasksOfClasses(name="masks")([masks, found["labels"]])}


def _image_size(image: Any) -> tuple[int, int]:
    height, width = image.shape[1:3]
    if height is None or width is None:
        raise ValueError(f"Two-stage detectors need a fixed height and width. Received: input_shape={image.shape[1:]}")
    return height, width


def MaskRCNN(
    backbone: str | keras.Model = "sepvit_tiny",
    *,
    classes: int = 80,
    input_shape: Shape | None = None,
    proposals: int = MOST,
    most: int = 100,
    weights: str | Path | None = None,
    name: str = "mask_rcnn",
    **options: Any,
) -> keras.Model:
    """A two-stage detector with masks.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`. LightViT's three stages get its own neck.
        classes: number of classes; COCO has 80.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        proposals: boxes of an image that the second stage looks at.
        most: boxes of an image that come out.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, the family's own.

    Returns:
        A model that gives `boxes`, `scores`, `labels` and `masks`; `fit_two_stage` trains it.

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> MaskRCNN(input_shape=(256, 320, 3), proposals=100, most=20).output_shape["masks"]
        (None, 20, 28, 28)
    """
    check_classes(classes)
    features = pyramid_of(backbone, input_shape=input_shape, **options)
    parts = TwoStage(classes, proposals=proposals, most=most)
    outputs = two_stages(neck_of(features, WIDTH), features.image, parts)
    return finish_model(features, outputs, name=name, weights=weights)


register(
    TaskRow(
        id="sepvit_tiny_mask_rcnn", build=MaskRCNN, options={"backbone": "sepvit_tiny"},
        image=(800, 1280), params_m=54.7, gmacs=261,
    ),
    TaskRow(
        id="sepvit_small_mask_rcnn", build=MaskRCNN, options={"backbone": "sepvit_small"},
        image=(800, 1280), params_m=71.3, gmacs=321,
    ),
    TaskRow(
        id="lightvit_tiny_mask_rcnn", build=MaskRCNN, options={"backbone": "lightvit_tiny"},
        image=(800, 1280), params_m=28,
    ),
    TaskRow(
        id="lightvit_small_mask_rcnn", build=MaskRCNN, options={"backbone": "lightvit_small"},
        image=(800, 1280), params_m=38,
    ),
    TaskRow(
        id="lightvit_base_mask_rcnn", build=MaskRCNN, options={"backbone": "lightvit_base"},
        image=(800, 1280), params_m=54,
    ),
)  # fmt: skip
