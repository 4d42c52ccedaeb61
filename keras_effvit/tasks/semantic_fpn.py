"""Semantic FPN (Kirillov et al. 2019, Panoptic Feature Pyramid Networks), as SepViT's authors segment with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.resizing import BilinearUpsampling, ResizeLike
from keras_effvit.tasks.assemble import Shape, check_classes, pyramid_of
from keras_effvit.tasks.fpn import feature_pyramid, three_stage_pyramid
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.segmenter import classifier, finish_segmenter, unit

WIDTH = 128


def decode(pyramid: Mapping[str, Any], width: int = WIDTH) -> Any:
    """The sum of all levels at the finest one's size, each after a convolution for every doubling.

    Args:
        pyramid: by level, from fine to coarse.
        width: channels of the sum.
    """
    finest = next(iter(pyramid.values()))
    scaled = []
    for number, x in enumerate(pyramid.values()):
        for step in range(max(1, number)):
            name = f"decoder_level{number + 1}_conv{step + 1}"
            x = unit(width, 3, name)(x)
            if number > 0:
                x = BilinearUpsampling(2, name=f"{name}_double")(x)
        # Nothing is left to do where every level is exactly half of the one before.
        scaled.append(ResizeLike(name=f"decoder_level{number + 1}_resize")(x, finest) if number > 0 else x)
    return keras.layers.Add(name="decoder_sum")(scaled) if len(scaled) > 1 else scaled[0]


def SemanticFPN(
    backbone: str | keras.Model = "sepvit_tiny",
    *,
    classes: int = 150,
    input_shape: Shape | None = None,
    resize: bool = True,
    weights: str | Path | None = None,
    name: str = "semantic_fpn",
    **options: Any,
) -> keras.Model:
    """A segmenter with a feature pyramid, every level of which is brought to stride 4 in steps.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`. LightViT's three stages get its own neck.
        classes: number of classes.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        resize: logits for every pixel of the image; otherwise at a quarter of its sides, for a phone to resize.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, the family's own.

    Returns:
        A model that gives logits, (batch, height, width, classes).

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> SemanticFPN("sepvit_tiny", classes=21, input_shape=(256, 320, 3)).output_shape
        (None, 256, 320, 21)
    """
    check_classes(classes)
    features = pyramid_of(backbone, input_shape=input_shape, **options)
    levels = feature_pyramid(features.maps) if "P2" in features.maps else three_stage_pyramid(features.maps)
    levels.pop("P6", None)
    logits = classifier(decode(levels), classes)
    return finish_segmenter(features, logits, resize=resize, name=name, weights=weights)


register(
    TaskRow(
        id="sepvit_tiny_semantic_fpn", build=SemanticFPN, options={"backbone": "sepvit_tiny"},
        image=(512, 2048), params_m=38.8, gmacs=181,
    ),
    TaskRow(
        id="sepvit_small_semantic_fpn", build=SemanticFPN, options={"backbone": "sepvit_small"},
        image=(512, 2048), params_m=55.4, gmacs=244,
    ),
    TaskRow(
        id="sepvit_base_semantic_fpn", build=SemanticFPN, options={"backbone": "sepvit_base"},
        image=(512, 2048), params_m=94.7, gmacs=367,
    ),
)  # fmt: skip
