"""Segmenters as files: one XNNPACK partition up to the logits of the head, in every precision phones like."""

import functools

import numpy as np
import pytest

from keras_effvit import create_backbone, lite
from keras_effvit.lite.calibration import calibrate
from keras_effvit.lite.comparison import file_outputs, snr_db
from keras_effvit.lite.exporting import export_float
from keras_effvit.lite.inspection import inspect
from keras_effvit.lite.quantization import quantize
from keras_effvit.tasks import EfficientViTSeg, EfficientViTSegB, SegFormer, SemanticFPN, UperNet
from tests.lite.conftest import alive, images

#: Not square, and no multiple of 32: maps of odd sides are cropped in the neck.
SHAPE = (72, 104, 3)
MODELS = {
    "semantic_fpn": (SemanticFPN, "sepvit_lite", {}),
    "semantic_fpn_three_stages": (SemanticFPN, "lightvit_tiny", {}),
    "upernet": (UperNet, "efficientvit_b0", {}),
    "segformer": (SegFormer, "lvt", {}),
    "efficientvit_seg": (EfficientViTSeg, "efficientvit_base", {}),
    "efficientvit_seg_b": (EfficientViTSegB, "efficientvit_b0", {}),
}
#: Of which a conversion takes long; UperNet's widest kernel has 40 MB.
LARGE = ("semantic_fpn_three_stages", "upernet")


@functools.cache
def pixels():
    return np.random.default_rng(0).standard_normal((4, *SHAPE)).astype("float32")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in MODELS]
)
def test_one_partition_and_what_keras_calculates(name):
    build, backbone, options = MODELS[name]
    model = alive(build(backbone, classes=5, input_shape=SHAPE, resize=False, **options))
    expected = np.asarray(model(pixels()))
    content = export_float(model)
    found = inspect(content)
    assert (found.partitions, found.outside, found.highest_rank) == (1, (), 4)
    (logits,) = file_outputs(content, pixels()).values()
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    ranges = calibrate(content, found, pixels())
    for precision in ("dynamic", "int8"):
        recipe = lite.load_recipe(precision)
        file = quantize(content, found, recipe, ranges if recipe.needs_calibration else None)
        quantised = inspect(file)
        assert (precision, quantised.partitions, quantised.outside) == (precision, 1, ())
        (logits,) = file_outputs(file, pixels()).values()
        assert snr_db(expected, logits) > 15, precision


def test_logits_of_every_pixel_are_one_partition_too():
    backbone = create_backbone("efficientvit_b0", (64, 96, 3), levels=("P3", "P4", "P5"))
    # The bicubic one is convolutions whose results become longer rows by their order alone.
    for build, last in ((EfficientViTSegB, "RESHAPE"), (SegFormer, "RESIZE_BILINEAR")):
        model = alive(build(backbone, classes=3))
        found = inspect(export_float(model))
        assert (found.partitions, found.outside) == (1, ())
        assert found.operators[-1].name == last


def test_conversion_as_users_do_it():
    model = alive(EfficientViTSegB(classes=3, input_shape=(64, 64, 3), resize=False))
    converted = lite.convert(model, "int8", calibration=images(side=64), labels=["sky", "sea", "land"])
    assert converted.inspection.partitions == 1
    assert list(converted.manifest["outputs"]) == ["logits"]
    assert lite.read_metadata(converted.content)["labels"] == ["sky", "sea", "land"]
