"""Detectors' heads that `benchmarks/papers/heads.py` counts in closed form, against the models of `keras_effvit.tasks`.

The segmenters' are held against the authors' counts on both sides, here in `test_counts.py`.
"""

import keras
import pytest

from benchmarks.papers import heads
from benchmarks.papers.rows import Counts
from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from keras_effvit.tasks.fpn import three_stage_pyramid
from keras_effvit.tasks.mask_rcnn import MaskRCNN
from keras_effvit.tasks.retinanet import RetinaNet
from keras_effvit.tasks.yolox import EfficientViTDet

SIDE = 64
SIZES = heads.pyramid_sizes(SIDE, SIDE)
CHANNELS = (8, 16, 24, 32)


def counts(model) -> Counts:
    return Counts(count_params(model.trainable_weights), count_macs(model))


@pytest.fixture(scope="module")
def backbone():
    """Maps of every stride, for one convolution each."""
    image = keras.Input((SIDE, SIDE, 3))
    maps = {f"P{n}": keras.layers.Conv2D(c, 1, strides=2**n)(image) for n, c in enumerate(CHANNELS, start=2)}
    return keras.Model(image, maps)


RETINA = [*SIZES[1:], *heads.pyramid_sizes(*SIZES[-1], strides=(2, 4))]
COARSER = CHANNELS[1:]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x: RetinaNet(x, classes=5),
         heads.fpn(SIZES[1:], COARSER) + heads.extra_levels(SIZES[-1], 32) + heads.retinanet(RETINA, 5)),
        (lambda x: EfficientViTDet(x, classes=5), heads.yolox(SIZES[1:], COARSER, 5)),
    ],
)  # fmt: skip
def test_closed_forms_are_what_the_heads_have(backbone, build, expected):
    model = build(backbone)
    below = keras.Model(backbone.inputs, {level: backbone.output[level] for level in ("P3", "P4", "P5")})
    assert counts(model) == counts(below) + expected


def test_parameters_of_both_stages(backbone):
    """How many boxes their MACs are for is a convention; the model runs on as many as it is told."""
    sizes = [*SIZES, (1, 1)]
    model = MaskRCNN(backbone, classes=80, proposals=10, most=5)
    head = heads.fpn(SIZES, CHANNELS) + heads.two_stages(sizes)
    assert count_params(model.trainable_weights) == count_params(backbone.trainable_weights) + head.params


def test_lightvits_pyramid():
    image = keras.Input((SIDE, SIDE, 3))
    maps = {f"P{n}": keras.layers.Conv2D(c, 1, strides=2**n)(image) for n, c in enumerate(COARSER, start=3)}
    model = keras.Model(image, three_stage_pyramid(maps))
    expected = counts(keras.Model(image, maps)) + heads.three_stage_fpn(SIZES[1:], COARSER)
    assert count_params(model.trainable_weights) == expected.params
    assert count_macs(model) == expected.macs
