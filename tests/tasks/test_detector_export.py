"""Detectors as files: raw heads as one XNNPACK partition, boxes in numpy outside, or inside the file."""

import keras
import numpy as np
import pytest

from keras_effvit import layers, lite
from keras_effvit.lite.choice import shared
from keras_effvit.tasks.decoding import decode_detections, decode_retinanet, decode_yolox
from keras_effvit.tasks.detecting import with_detections
from keras_effvit.tasks.fpn import feature_pyramid
from keras_effvit.tasks.mask_rcnn import TwoStage, two_stages
from keras_effvit.tasks.retinanet import retinanet_heads
from keras_effvit.tasks.rpn import rpn_heads
from keras_effvit.tasks.two_stage_losses import Stages
from keras_effvit.tasks.yolox import yolox_heads
from tests.lite.conftest import alive, images
from tests.lite.test_convert import run

SIDE = 64
KINDS = {"yolox": (yolox_heads, decode_yolox), "retinanet": (retinanet_heads, decode_retinanet)}

pytestmark = pytest.mark.xdist_group("efficientvit_b0")


def small_pyramid(finest):
    """An image, and the maps from a level to `P5` of five convolutions on it."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x, maps = image, {}
    for level in range(1, 6):
        x = layers.ConvNormAct(8, 3, strides=2, activation="relu", name=f"conv{level}")(x)
        if level >= finest:
            maps[f"P{level}"] = x
    return image, maps


def tiny(kind, classes=3):
    """A small pyramid with a detector's real heads; the logits are spread so that no two scores are alike."""
    image, maps = small_pyramid(3)
    return alive(keras.Model(image, KINDS[kind][0](maps, classes), name=f"tiny_{kind}"))


@pytest.mark.parametrize("precision", ["float32", "dynamic", "int8"])
@pytest.mark.parametrize("kind", KINDS)
def test_raw_heads_are_one_partition(kind, precision):
    model = tiny(kind)
    file = lite.convert(model, precision, calibration=images(4, SIDE))
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    outputs = run(file.content, images(4, SIDE)[:1])
    assert set(outputs) == set(model.output)
    # An app gets its boxes of these, with the function that is made to be ported.
    assert len(KINDS[kind][1](outputs, (SIDE, SIDE), least_score=0.01)[0].scores) > 0


@pytest.mark.parametrize("precision", ["float32", "dynamic", "int8"])
def test_the_first_of_two_stages_is_one_partition(precision):
    """Backbone, neck and the heads that propose; what cuts patches out of maps is no operator of XNNPACK."""
    image, maps = small_pyramid(2)
    outputs = rpn_heads(feature_pyramid(maps, 16, extra_levels=1))
    file = lite.convert(alive(keras.Model(image, outputs)), precision, calibration=images(4, SIDE))
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    assert set(run(file.content, images(4, SIDE)[:1])) == set(outputs)


@pytest.mark.parametrize("precision", ["float32", "dynamic", "int8"])
@pytest.mark.parametrize("part", ["box", "mask"])
def test_what_looks_into_boxes_is_one_partition(part, precision):
    """Of a two-stage model, by the batch of patches."""
    image, maps = small_pyramid(2)
    pyramid = feature_pyramid(maps, 16, extra_levels=1)
    parts = TwoStage(3, width=16, hidden=32, proposals=8, most=4)
    stages = Stages.of(alive(keras.Model(image, two_stages(pyramid, image, parts))))
    model = getattr(stages, part)
    patches = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:])).astype(np.float32)
    file = lite.convert(model, precision, calibration=patches, batch=4)
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


@pytest.mark.parametrize("precision", ["float32", pytest.param("dynamic", marks=pytest.mark.slow), "int8"])
@pytest.mark.parametrize("kind", ["yolox", pytest.param("retinanet", marks=pytest.mark.slow)])
def test_boxes_inside_the_file(kind, precision):
    """They are what numpy finds in what the file of raw heads of the same precision gives."""
    model = tiny(kind)
    options = {"least_score": 0.05, "threshold": 0.5, "most": 10}
    finder = with_detections(model, kind, **options)
    with pytest.warns(UserWarning, match="XNNPACK partitions"):
        file = lite.convert(finder, precision, calibration=images(4, SIDE))
    # Nothing of backbone and heads is outside.
    assert not {operator.name for operator in file.inspection.outside} & {"CONV_2D", "DEPTHWISE_CONV_2D"}
    heads = lite.convert(model, precision, calibration=images(4, SIDE))
    image = images(4, SIDE)[:1]
    received = run(file.content, image)
    (expected,) = KINDS[kind][1](run(heads.content, image), (SIDE, SIDE), **options)
    count = len(expected.scores)
    assert count > 0
    np.testing.assert_allclose(received["boxes"][0, :count], expected.boxes, atol=1e-2)
    np.testing.assert_allclose(received["scores"][0, :count], expected.scores, atol=1e-4)
    np.testing.assert_array_equal(received["labels"][0, :count], expected.labels)
    (found,) = decode_detections(received, (SIDE, SIDE))
    np.testing.assert_array_equal(found.boxes, received["boxes"][0, : len(found.scores)])
    assert found.labels.min() >= 0
    if precision != "float32":
        assert file.parity == heads.parity


@pytest.mark.parametrize(("precision", "types"), [("int8_full", {}), ("int8", {"output_type": "int8"})])
def test_boxes_are_not_rounded(precision, types):
    finder = with_detections(tiny("yolox"), "yolox")
    with pytest.raises(ValueError, match="results in float of 'detections'"):
        lite.convert(finder, precision, calibration=images(4, SIDE), **types)


def test_a_choice_has_no_order_but_each_of_its_places():
    best = {
        "scores": np.array([[0.9, 0.8, 0.0, 0.0]]),
        "boxes": np.array([[[0, 0, 4, 4], [9, 9, 12, 12], *[[0] * 4] * 2]]),
    }
    turned = {name: x[:, [1, 0, 2, 3]] for name, x in best.items()}
    assert shared(best, turned) == 1
    missing = {name: x * np.array([1, 0, 0, 0]).reshape(1, 4, *[1] * (x.ndim - 2)) for name, x in best.items()}
    # Of two boxes and the empty place one box is not there; the other choice has all of its two.
    assert shared(best, missing) == shared(missing, best) == 4 / 5
