"""SegFormer's decoder of linear layers (Xie et al. 2021), as LVT's authors segment with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.mlp import linear
from keras_effvit.layers.resizing import ResizeLike
from keras_effvit.tasks.assemble import Shape, check_classes, pyramid_of
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.segmenter import classifier, finish_segmenter, unit

WIDTH = 256


def decode(maps: Mapping[str, Any], width: int = WIDTH) -> Any:
    """All maps at the same channels and the finest one's size, coarsest first, through one convolution.

    Args:
        maps: by level, from fine to coarse.
        width: channels of every map and of the result.
    """
    finest = next(iter(maps.values()))
    seen = []
    for number, x in reversed(list(enumerate(maps.values(), start=1))):
        x = linear(width, f"decoder_linear{number}")(x)
        seen.append(ResizeLike(name=f"decoder_resize{number}")(x, finest) if number > 1 else x)
    return unit(width, 1, "decoder_merge")(keras.layers.Concatenate(name="decoder_levels")(seen))


def SegFormer(
    backbone: str | keras.Model = "lvt",
    *,
    classes: int = 150,
    input_shape: Shape | None = None,
    channels: int = WIDTH,
    resize: bool = True,
    weights: str | Path | None = None,
    name: str = "segformer",
    **options: Any,
) -> keras.Model:
    """A segmenter whose decoder is linear layers only, the lightest of the generic ones.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`.
        classes: number of classes.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        channels: of the decoder's maps.
        resize: logits for every pixel of the image; otherwise at the stride of the backbone's finest map.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, the family's own.

    Returns:
        A model that gives logits, (batch, height, width, classes).

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> SegFormer("lvt", classes=21, input_shape=(256, 320, 3), resize=False).output_shape
        (None, 64, 80, 21)
    """
    check_classes(classes)
    if channels < 1:
        raise ValueError(f"`channels` must be at least 1. Received: channels={channels}")
    features = pyramid_of(backbone, input_shape=input_shape, **options)
    logits = classifier(decode(features.maps, channels), classes, "linear_classifier")
    return finish_segmenter(features, logits, resize=resize, name=name, weights=weights)


register(
    TaskRow(id="lvt_segformer", build=SegFormer, options={"backbone": "lvt"}, params_m=3.9, gmacs=10.6),
)  # fmt: skip
