"""EfficientViT-Seg, the segmenter of the paper's first version (Cai et al. 2022, arXiv 2205.14756v1, section 3.3).

The maps of stride 8 and 32 are added at stride 8, run through MBConvs and classified. No code was published.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.conv import ConvNormAct
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.mbconv import MBConv
from keras_effvit.layers.resizing import ResizeLike
from keras_effvit.models.assemble import residual
from keras_effvit.models.efficientvit_base import KERNEL
from keras_effvit.tasks.assemble import Shape, check_classes, pyramid_of
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.segmenter import classifier, finish_segmenter

WIDTH, DEPTH = 64, 2


def projection(x: Any, width: int, name: str) -> Any:
    """A pointwise convolution with batch normalisation and no activation."""
    return ConvNormAct(width, kernel_initializer=narrow_normal(), name=name)(x)


def blocks(x: Any, depth: int, kernel_size: int = 3) -> Any:
    """Residual MBConvs."""
    for block in range(1, depth + 1):
        name = f"decoder_block{block}"
        x = residual(x, MBConv(x.shape[-1], kernel_size, zero_norm=True, name=name)(x), 0.0, name)
    return x


def decode(maps: Mapping[str, Any]) -> Any:
    """The maps of stride 8 and 32, added at stride 8.

    Args:
        maps: `"P3"` and `"P5"`.
    """
    fine, coarse = (projection(maps[level], WIDTH, f"decoder_input_{level}") for level in ("P3", "P5"))
    coarse = ResizeLike(name="decoder_resize")(coarse, fine)
    return blocks(keras.layers.Add(name="decoder_sum")([fine, coarse]), DEPTH, KERNEL)


def EfficientViTSeg(
    backbone: str | keras.Model = "efficientvit_base",
    *,
    classes: int = 19,
    input_shape: Shape | None = None,
    resize: bool = True,
    weights: str | Path | None = None,
    name: str = "efficientvit_seg",
    **options: Any,
) -> keras.Model:
    """The segmenter of the paper's first version: two maps, one sum, two MBConvs.

    No code of it was published: it is our reading, which meets the paper's MACs within 1 %.

    Args:
        backbone: a name of `list_models()`, or a model of `create_backbone`.
        classes: number of classes; Cityscapes has 19.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        resize: logits for every pixel of the image; otherwise at an eighth of its sides, for a phone to resize.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, `width`.

    Returns:
        A model that gives logits, (batch, height, width, classes).

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> EfficientViTSeg(input_shape=(512, 1024, 3), resize=False).output_shape
        (None, 64, 128, 19)
    """
    check_classes(classes)
    features = pyramid_of(backbone, ("P3", "P5"), input_shape=input_shape, **options)
    logits = classifier(decode(features.maps), classes, dropout=0.0)
    return finish_segmenter(features, logits, resize=resize, name=name, weights=weights)


register(
    TaskRow(
        id="efficientvit_seg", build=EfficientViTSeg,
        image=(1024, 2048), params_m=6.5, gmacs=19.1,
    ),
)  # fmt: skip
