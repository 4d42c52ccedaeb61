"""The released EfficientViT segmenters (Cai et al. 2023, arXiv 2205.14756, later versions).

The maps of stride 8, 16 and 32 are added at stride 8, run through MBConvs and classified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.activations import hard_swish
from keras_effvit.layers.conv import ConvNormAct
from keras_effvit.layers.initializers import narrow_normal
from keras_effvit.layers.resizing import BicubicUpsampling
from keras_effvit.tasks.assemble import Shape, check_classes, pyramid_of
from keras_effvit.tasks.efficientvit_seg import blocks, projection
from keras_effvit.tasks.registry import TaskRow, register
from keras_effvit.tasks.segmenter import classifier, finish_segmenter

#: Of the logits.
STRIDE = 8


@dataclass(frozen=True)
class HeadRow:
    """The head that was released with a backbone.

    Attributes:
        width: channels of the sum.
        depth: MBConvs that it runs through.
    """

    width: int
    depth: int


HEADS = {
    "efficientvit_b0": HeadRow(32, 1),
    "efficientvit_b1": HeadRow(64, 3),
    "efficientvit_b2": HeadRow(96, 3),
    "efficientvit_b3": HeadRow(128, 3),
}
#: Of the convolution before the classifier, which the models for Cityscapes have and those for ADE20K do not.
EXPANSION = 4


def decode(maps: Mapping[str, Any], head: HeadRow, *, expand: bool) -> Any:
    """The maps of stride 8, 16 and 32, added at stride 8.

    Args:
        maps: `"P3"` to `"P5"`.
        head: width and depth.
        expand: end in the wide convolution.
    """
    fine = projection(maps["P3"], head.width, "decoder_input3")
    seen = [fine]
    for number, (level, factor) in enumerate((("P5", 4), ("P4", 2)), start=1):
        x = projection(maps[level], head.width, f"decoder_input{number}")
        seen.insert(number - 1, BicubicUpsampling(factor, name=f"decoder_resize{number}")(x, fine))
    x = blocks(keras.layers.Add(name="decoder_sum")(seen), head.depth)
    if expand:
        wide = EXPANSION * head.width
        x = ConvNormAct(wide, activation=hard_swish, kernel_initializer=narrow_normal(), name="decoder_expand")(x)
    return x


def EfficientViTSegB(
    backbone: str | keras.Model = "efficientvit_b0",
    *,
    classes: int = 19,
    input_shape: Shape | None = None,
    resize: bool = True,
    expand: bool = True,
    head: HeadRow | None = None,
    weights: str | Path | None = None,
    name: str = "efficientvit_seg_b",
    **options: Any,
) -> keras.Model:
    """The released EfficientViT segmenters: three maps, one sum, one to three MBConvs.

    Maps of stride 16 and 32 are made larger with the authors' own bicubic kernel. The authors take images whose sides
    are multiples of 32; others are cropped here to the finest map.

    Args:
        backbone: `"efficientvit_b0"` to `"efficientvit_b3"`, any other name of `list_models()`, or a model of
            `create_backbone`.
        classes: number of classes; Cityscapes has 19.
        input_shape: (height, width, channels); 512 x 512 x 3 by default.
        resize: logits for every pixel of the image, bicubic as the authors evaluate, which costs more than the network;
            otherwise at an eighth of its sides, for a phone to resize.
        expand: a wide convolution before the classifier, as for Cityscapes; the models for ADE20K have none.
        head: width and depth; by default what was released with the backbone.
        weights: a file of weights, of this whole model.
        name: the model's name.
        **options: what `create_backbone` takes: `drop_path_rate`, `include_preprocessing`, `attention`.

    Returns:
        A model that gives logits, (batch, height, width, classes).

    Raises:
        ValueError: for an argument that makes no sense, with what was expected.

    Example:
        >>> EfficientViTSegB("efficientvit_b0", input_shape=(512, 1024, 3), resize=False).output_shape
        (None, 64, 128, 19)
    """
    check_classes(classes)
    features = pyramid_of(backbone, ("P3", "P4", "P5"), input_shape=input_shape, **options)
    row = head or HEADS.get(features.backbone)
    if row is None:
        raise ValueError(
            f"`head` is known of {list(HEADS)} only. Received: head=None, a backbone {features.backbone!r}"
        )
    x = decode(features.maps, row, expand=expand)
    logits = classifier(x, classes, "classifier" if expand else "direct_classifier", dropout=0.0)
    if resize:
        logits = BicubicUpsampling(STRIDE, dtype="float32", name="image_logits")(logits, features.image)
    return finish_segmenter(features, logits, resize=False, name=name, weights=weights)


register(
    TaskRow(
        id="efficientvit_seg_b0_cityscapes", build=EfficientViTSegB, options={"backbone": "efficientvit_b0"},
        image=(1024, 2048), params_m=0.7, gmacs=4.4,
    ),
    TaskRow(
        id="efficientvit_seg_b1_cityscapes", build=EfficientViTSegB, options={"backbone": "efficientvit_b1"},
        image=(1024, 2048), params_m=4.8, gmacs=25,
    ),
    TaskRow(
        id="efficientvit_seg_b2_cityscapes", build=EfficientViTSegB, options={"backbone": "efficientvit_b2"},
        image=(1024, 2048), params_m=15, gmacs=74,
    ),
    TaskRow(
        id="efficientvit_seg_b3_cityscapes", build=EfficientViTSegB, options={"backbone": "efficientvit_b3"},
        image=(1024, 2048), params_m=40, gmacs=179,
    ),
    TaskRow(
        id="efficientvit_seg_b1_ade20k", build=EfficientViTSegB, params_m=4.8, gmacs=3.1,
        options={"backbone": "efficientvit_b1", "classes": 150, "expand": False},
    ),
    TaskRow(
        id="efficientvit_seg_b2_ade20k", build=EfficientViTSegB, params_m=15, gmacs=9.1,
        options={"backbone": "efficientvit_b2", "classes": 150, "expand": False},
    ),
    TaskRow(
        id="efficientvit_seg_b3_ade20k", build=EfficientViTSegB, params_m=39, gmacs=22,
        options={"backbone": "efficientvit_b3", "classes": 150, "expand": False},
    ),
)  # fmt: skip
