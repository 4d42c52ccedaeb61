"""UperNet (Xiao et al. 2018, Unified Perceptual Parsing), as SepViT's authors segment with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.resizing import CellPooling, ResizeLike
from keras_effvit.tasks.assemble import Shape, check_classes, pyramid_of
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.segmenter import classifier, finish_segmenter, unit

WIDTH = 512
#: Grids of means that the coarsest map is seen through.
CELLS = (1, 2, 3, 6)
#: Of the head that only training looks at, on the map of stride 16.
AUXILIARY_WIDTH, AUXILIARY_LEVEL = 256, "P4"


def pool_pyramid(x: Any, width: int) -> Any:
    """The coarsest map with what means over larger and larger parts of it say (pyramid pooling, Zhao et al. 2017)."""
    seen = [x]
    for number, cells in enumerate(CELLS, start=1):
        name = f"decoder_pool{number}"
        means = unit(width, 1, name)(CellPooling(cells, name=f"{name}_cells")(x))
        seen.append(ResizeLike(name=f"{name}_resize")(means, x))
    return unit(width, 3, "decoder_bottleneck")(keras.layers.Concatenate(name="decoder_pools")(seen))


def decode(maps: Mapping[str, Any], width: int = WIDTH) -> Any:
    """All levels, the coarser ones added to the finer, beside each other at the finest one's size.

    Args:
        maps: by level, from fine to coarse.
        width: channels of the result.
    """
    *finer, coarsest = maps.values()
    merged = [pool_pyramid(coarsest, width)]
    for number in reversed(range(1, len(finer) + 1)):
        lateral = unit(width, 1, f"decoder_lateral{number}")(finer[number - 1])
        above = ResizeLike(name=f"decoder_resize{number}")(merged[0], lateral)
        merged.insert(0, keras.layers.Add(name=f"decoder_add{number}")([lateral, above]))
    # The coarsest level has had its convolution, the bottleneck.
    levels = [unit(width, 3, f"decoder_out{number}")(x) for number, x in enumerate(merged[:-1], start=1)] + merged[-1:]
    sized = [
        ResizeLike(name=f"decoder_out{number}_resize")(x, levels[0]) if number > 1 else x
        for number, x in enumerate(levels, start=1)
    ]
    return unit(width, 3, "decoder_fuse")(keras.layers.Concatenate(name="decoder_levels")(sized))


def UperNet(
    backbone: str | keras.Model = "sepvit_tiny",
    *,
    classes: int = 150,
    input_shape: Shape | None = None,
    resize: bool = True,
    auxiliary: bool = False,
    weights: str | Path | None = None,
    name: str = "upernet",
    **options: Any,
) -> keras.Model:
    """A segmenter with pyramid pooling and a feature pyramid, wide and slow: the papers' yardstick.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`.
        classes: number of classes.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        resize: logits for every pixel of the image; otherwise at the stride of the backbone's finest map.
        auxiliary: build the head on the map of stride 16 that training adds, its loss weighted 0.4; the output is
            then a dict of "logits" and "auxiliary".
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, the family's own.

    Returns:
        A model that gives logits, (batch, height, width, classes).

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> UperNet("sepvit_tiny", classes=21, input_shape=(256, 320, 3)).output_shape
        (None, 256, 320, 21)
    """
    check_classes(classes)
    features = pyramid_of(backbone, input_shape=input_shape, **options)
    logits, extra = classifier(decode(features.maps), classes), None
    if auxiliary:
        x = unit(AUXILIARY_WIDTH, 3, "auxiliary_conv")(features.maps[AUXILIARY_LEVEL])
        extra = classifier(x, classes, "auxiliary_classifier")
    return finish_segmenter(features, logits, extra, resize=resize, name=name, weights=weights)


register(
    TaskRow(
        id="sepvit_tiny_upernet", build=UperNet, options={"backbone": "sepvit_tiny"},
        image=(512, 2048), params_m=66.8, gmacs=940,
    ),
    TaskRow(
        id="sepvit_small_upernet", build=UperNet, options={"backbone": "sepvit_small"},
        image=(512, 2048), params_m=83.4, gmacs=1003,
    ),
    TaskRow(
        id="sepvit_base_upernet", build=UperNet, options={"backbone": "sepvit_base"},
        image=(512, 2048), params_m=124.8, gmacs=1128,
    ),
)  # fmt: skip
