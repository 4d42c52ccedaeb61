"""Masks and segments of a model that always says the same, of a scene small enough to say what they are worth."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from keras_effvit.tasks import measure_detector, measure_panoptic
from keras_effvit.tasks.decoding import decode_detections
from keras_effvit.tasks.fusion import fuse
from keras_effvit.tasks.metrics import PanopticQuality
from keras_effvit.tasks.samples import Scene, Scenes
from tests.tasks.arrays import floats, ints

SIDE, BOX = 32, (2, 2, 30, 30)
#: Of the thing; its mask has as many rows as the model's masks, so that one is the other.
ROWS = 28
IMAGE_FUSE = partial(fuse, least_stuff=64)


def square_over_two_grounds():
    """A thing that leaves a rim of two pixels, 120 of them on either ground."""
    mask = np.zeros((1, SIDE, SIDE), bool)
    mask[0, 2:30, 2:30] = True
    semantic = np.where(np.arange(SIDE)[None] < SIDE // 2, 1, 2).repeat(SIDE, 0)
    semantic[mask[0]] = 0
    scene = Scene(np.zeros((SIDE, SIDE, 3), np.uint8), floats([BOX]), ints([0]), mask, semantic.astype(np.int32))
    return Scenes(("thing",), ("thing", "grass", "sea"), lambda number: scene, np.arange(2))


def sayer(rows=ROWS, semantic=True):
    """Says the box, the upper rows of its mask, and the grounds at a quarter of the sides."""
    masks, grounds = np.zeros((1, 1, ROWS, ROWS), "float32"), np.zeros((1, 8, 8, 3), "float32")
    masks[:, :, :rows] = 1
    grounds[:, :, :4, 0] = grounds[:, :, 4:, 1] = 1
    said = {"boxes": floats([[BOX]]), "scores": floats([[0.9]]), "masks": masks}
    said |= {"semantic": grounds} if semantic else {}
    image = keras.Input((SIDE, SIDE, 3))
    nothing = 0 * ops.mean(image, axis=(1, 2, 3))  # (b,), so that every image gets an answer
    outputs = {name: ops.reshape(nothing, (-1, *[1] * (x.ndim - 1))) + x for name, x in said.items()}
    return keras.Model(image, {**outputs, "labels": ops.cast(outputs["scores"] * 0, "int32")}, name="sayer")


def test_boxes_and_masks_are_measured_apart():
    """The box is right at every overlap; 18 of 28 rows are right up to 0.6, three overlaps of ten."""
    model, scenes = sayer(rows=18), square_over_two_grounds()
    assert measure_detector(model, scenes, decode_detections).ap == pytest.approx(1)
    assert measure_detector(model, scenes, decode_detections, kind="masks").ap == pytest.approx(0.3)
    assert measure_detector(sayer(), scenes, decode_detections, kind="masks").ap == pytest.approx(1)


def test_what_is_found_as_it_is_has_a_quality_of_1():
    found = measure_panoptic(sayer(), square_over_two_grounds(), IMAGE_FUSE)
    assert isinstance(found, PanopticQuality)
    np.testing.assert_allclose(found.per_class, 1)
    np.testing.assert_array_equal(found.matched, 2)  # both scenes


def test_what_a_thing_lacks_is_too_much_of_the_grounds():
    """Ten rows of it go to grounds that have 120 pixels each: 260 are no match."""
    found = measure_panoptic(sayer(rows=18), square_over_two_grounds(), IMAGE_FUSE)
    np.testing.assert_allclose(found.per_class, [18 / 28, 0, 0])
    assert found.mean_of_things == pytest.approx(18 / 28)


def test_how_segments_are_made_is_the_callers():
    """The 120 pixels of a ground are less than `fuse` wants of an image of COCO."""
    found = measure_panoptic(sayer(), square_over_two_grounds())
    np.testing.assert_allclose(found.per_class, [1, 0, 0])
    np.testing.assert_array_equal(found.missed, [0, 2, 2])


def test_what_cannot_be_measured():
    scenes = square_over_two_grounds()
    with pytest.raises(ValueError, match=r"begin with those of things, \('thing',\)\. Received: \('grass', 'sea'\)"):
        measure_panoptic(sayer(), replace(scenes, semantic_classes=("grass", "sea")))
    with pytest.raises(ValueError, match=r"of 1 classes of stuff and one of things\. Received: 3 classes"):
        measure_panoptic(sayer(), replace(scenes, semantic_classes=("thing", "grass")))
    with pytest.raises(ValueError, match=r"Expected an output 'semantic'.*Received: \['boxes', 'labels', 'masks'"):
        measure_panoptic(sayer(semantic=False), scenes)
    bare = replace(scenes, read=lambda number: replace(scenes[0], masks=None))
    with pytest.raises(ValueError, match="Expected a scene with masks"):
        measure_panoptic(sayer(), bare, IMAGE_FUSE)
    with pytest.raises(ValueError, match="Expected masks of scenes and detections"):
        measure_detector(sayer(), bare, decode_detections, kind="masks")
