"""Parameters and MACs of the papers' detectors, to the last digit."""

import pytest

from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from keras_effvit.tasks import create_task, task_row
from keras_effvit.tasks.two_stage_losses import Stages
from tests.tasks.test_counts import SEPVIT_UNUSED

#: Boxes that the papers count the box head for, and masks.
PROPOSALS, MASKS = 1000, 100


def params_of(model, *prefixes):
    return count_params([w for w in model.trainable_weights if w.path.startswith(prefixes)])


@pytest.mark.parametrize(
    ("name", "total", "convolutions", "linear", "attention"),
    [
        ("sepvit_tiny_retinanet", 45_364_028, 161_034_055_680, 81_347_198_976, 16_024_330_368),
        pytest.param(
            *("sepvit_small_retinanet", 61_931_324, 161_034_055_680, 140_815_613_952, 20_505_002_112),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_retinanet(name, total, convolutions, linear, attention):
    row = task_row(name)
    model = create_task(name, input_shape=(*row.image, 3))
    assert params_of(model, "neck_") == 4_474_880
    assert params_of(model, "bbox_head_") == 6_463_220
    assert count_params(model.trainable_weights) == total - SEPVIT_UNUSED
    assert round(total / 1e6, 1) == row.params_m
    assert count_macs(model) == convolutions + linear + attention
    assert (convolutions + linear) / 1e9 == pytest.approx(row.gmacs, rel=3e-3)


@pytest.mark.parametrize(
    ("name", "total", "macs"),
    [
        pytest.param("sepvit_tiny_mask_rcnn", 54_699_832, 165_655_280_640 + 95_651_454_976 + 16_024_330_368),
        pytest.param(
            *("sepvit_small_mask_rcnn", 71_267_128, 165_655_280_640 + 155_119_869_952 + 20_505_002_112),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_mask_rcnn(name, total, macs):
    row = task_row(name)
    model = create_task(name, input_shape=(*row.image, 3))
    assert params_of(model, "neck_") == 2_729_984
    assert params_of(model, "rpn_head_") == 593_935
    assert params_of(model, "box_head_") == 14_306_705
    assert params_of(model, "mask_head_") == 2_643_280
    assert count_params(model.trainable_weights) == total - SEPVIT_UNUSED
    assert round(total / 1e6, 1) == row.params_m
    assert macs_of(model) == macs


def macs_of(model):
    """Of the whole image, and of so many boxes and masks as the papers count; what is between them has none."""
    stages = Stages.of(model)
    return count_macs(stages.first) + PROPOSALS * count_macs(stages.box) + MASKS * count_macs(stages.mask)


@pytest.mark.parametrize(("name", "millions"), [("lightvit_tiny_mask_rcnn", 28.05), ("lightvit_base_mask_rcnn", 53.65)])
def test_lightvits_mask_rcnn(name, millions):
    model = create_task(name, input_shape=(64, 64, 3))
    assert count_params(model.trainable_weights) / 1e6 == pytest.approx(millions, abs=5e-3)
    assert task_row(name).params_m == round(millions)


def test_lvts_panoptic_fpn():
    row = task_row("lvt_panoptic_fpn")
    model = create_task("lvt_panoptic_fpn", input_shape=(*row.image, 3))
    parts = {"neck_": 384_768, "rpn_head_": 84_495, "box_head_": 843_121, "mask_head_": 376_880}
    parts["semantic_head_"] = 231_414
    assert {prefix: params_of(model, prefix) for prefix in parts} == parts
    assert count_params(model.trainable_weights) == 5_349_770
    assert macs_of(model) == 34_659_183_648 + 8_138_400_000 + 14_019_993_600


@pytest.mark.parametrize(("side", "macs"), [(416, 2_081_376_960), (512, 3_152_855_040), (608, 4_446_018_240)])
def test_efficientvit_det(side, macs):
    model = create_task("efficientvit_det", input_shape=(side, side, 3))
    assert count_params(model.trainable_weights) == 4_081_903
    assert count_macs(model) == macs
