"""Mask R-CNN and Panoptic FPN on a few layers, which learn four scenes by heart."""

from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from keras_effvit.tasks import drawn_scenes, fit_two_stage, measure_detector, measure_panoptic, pyramid_of
from keras_effvit.tasks.changes import Change
from keras_effvit.tasks.decoding import decode_detections
from keras_effvit.tasks.fusion import fuse
from keras_effvit.tasks.mask_rcnn import TwoStage, neck_of, two_stages
from keras_effvit.tasks.panoptic_fpn import PanopticFPN
from keras_effvit.tasks.samples import IGNORE
from keras_effvit.tasks.two_stage_losses import stuff_labels

SIDE, THINGS, STUFF = 64, 6, 4
SCENES = drawn_scenes(4, (SIDE, SIDE), things=(1, 2), radius=(0.22, 0.36)).in_memory()
STEPS = 160
PARTS = {"stage", "neck", "rpn_head", "box_head", "mask_head"}


def backbone():
    """Four maps, without normalisations, whose averages would take longer than four scenes."""
    x = image = keras.Input((SIDE, SIDE, 3))
    maps = {}
    for number, width in enumerate((16, 16, 32, 32, 32), start=1):
        options = {"strides": 2, "padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        x = keras.layers.Conv2D(width, 3, name=f"stage{number}", **options)(x)
        maps[f"P{number}"] = x
    del maps["P1"]
    return keras.Model(image, maps, name="few_layers")


def mask_rcnn(things=THINGS):
    features, parts = pyramid_of(backbone()), TwoStage(things, width=24, hidden=64, proposals=16, most=10)
    outputs = two_stages(neck_of(features, parts.width), features.image, parts)
    return keras.Model(features.image, outputs, name="tiny_mask_rcnn")


def panoptic_fpn():
    return PanopticFPN(backbone(), things=THINGS, stuff=STUFF, width=24, hidden=64, proposals=16, most=10)


def by_heart(model, change):
    """The run's history, and which variables have not moved; nothing but gradients moves them."""
    before = [np.array(variable) for variable in model.trainable_variables]
    sizes = {"epochs": STEPS, "batch_size": len(SCENES), "learning_rate": 5e-3, "weight_decay": 0.0}
    history = fit_two_stage(model, SCENES, change=change, verbose=0, **sizes).history
    pairs = zip(model.trainable_variables, before, strict=True)
    return history, [variable.path for variable, old in pairs if (np.array(variable) == old).all()]


def parts_of(model):
    return {part for part in (*PARTS, "semantic_head") for v in model.trainable_variables if v.path.startswith(part)}


@pytest.mark.slow
def test_mask_rcnn_learns_scenes_by_heart():
    """Mirrored, too: masks that were not would fit nothing."""
    keras.utils.set_random_seed(0)
    model = mask_rcnn()
    history, unmoved = by_heart(model, Change(flip=0.5))
    assert set(history) == {"loss", "rpn_object", "rpn_box", "class", "box", "mask"}
    assert history["loss"][-1] < history["loss"][0] / 3
    assert history["mask"][-1] < history["mask"][0] / 2
    assert parts_of(model) == PARTS
    assert unmoved == []
    assert measure_detector(model, SCENES, decode_detections).ap50 > 0.9
    # Which of the nine are still coarse in the end is chance: threads add up in any order.
    assert measure_detector(model, SCENES, decode_detections, kind="masks").ap50 > 0.5


@pytest.mark.slow
def test_panoptic_fpn_learns_scenes_by_heart():
    keras.utils.set_random_seed(0)
    model = panoptic_fpn()
    before = measure_panoptic(model, SCENES, partial(fuse, least_stuff=64)).mean
    history, unmoved = by_heart(model, Change())
    assert set(history) == {"loss", "rpn_object", "rpn_box", "class", "box", "mask", "semantic"}
    assert history["loss"][-1] < history["loss"][0] / 4
    assert history["semantic"][-1] < history["semantic"][0] / 4
    assert parts_of(model) == {*PARTS, "semantic_head"}
    assert unmoved == []
    assert measure_detector(model, SCENES, decode_detections).ap50 > 0.9
    found = measure_panoptic(model, SCENES, partial(fuse, least_stuff=64))
    assert min(found.mean_of_things, found.mean_of_stuff) > max(0.75, before)


def losses(seed, val=None, learning_rate=1e-3):
    """Of two epochs of one batch; the order of its scenes is nothing to them, but what is drawn of proposals is."""
    keras.utils.set_random_seed(0)
    model = mask_rcnn()
    # A new model says the same of all anchors; if it does not, it matters which of them are drawn.
    kernel = model.get_layer("rpn_head_object").kernel
    kernel.assign(100 * kernel)
    sizes = {"epochs": 2, "batch_size": len(SCENES), "learning_rate": learning_rate, "seed": seed}
    return fit_two_stage(model, SCENES, val, change=Change(), verbose=0, **sizes).history


@pytest.mark.slow
def test_the_seed_decides_and_validation_changes_nothing():
    one, other = losses(0), losses(1, SCENES, learning_rate=0.0)
    assert losses(0, SCENES)["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert other["loss"][0] != pytest.approx(one["loss"][0], rel=1e-4)
    # Where nothing is learnt, only the draw tells epochs apart; validation's is always the same.
    assert other["loss"][1] != pytest.approx(other["loss"][0], rel=1e-4)
    assert other["val_loss"][1] == pytest.approx(other["val_loss"][0], rel=1e-6)


def test_stuff_counts_from_0_and_things_are_all_the_last():
    semantic = np.array([[[0, 1, 2, 3, 4, IGNORE]]], np.int32)
    np.testing.assert_array_equal(stuff_labels(semantic, things=2, stuff=3), [[[3, 3, 0, 1, 2, IGNORE]]])


def test_what_does_not_fit_is_refused():
    image = keras.Input((SIDE, SIDE, 3))
    other = keras.Model(image, {"logits": keras.layers.Conv2D(3, 1)(image)}, name="segmenter")
    with pytest.raises(ValueError, match=r"Expected a two-stage model.*Received: segmenter with \['logits'\]"):
        fit_two_stage(other, SCENES, epochs=1)
    with pytest.raises(ValueError, match=r"of the scenes' 6 classes of things\. Received: tiny_mask_rcnn of 3"):
        fit_two_stage(mask_rcnn(3), SCENES, epochs=1)
    bare = replace(SCENES, read=lambda number: replace(SCENES[number], masks=None))
    for scenes in ((bare,), (SCENES, bare)):
        with pytest.raises(ValueError, match=r"Expected scenes with masks\. Received: one without"):
            fit_two_stage(mask_rcnn(), *scenes, epochs=1, batch_size=2)
    with pytest.raises(ValueError, match="Expected at least 8 scenes"):
        fit_two_stage(mask_rcnn(), SCENES, epochs=1)


def test_a_panoptic_model_wants_maps_of_its_classes():
    model = panoptic_fpn()
    for classes in ((), SCENES.semantic_classes[:-1], SCENES.semantic_classes[::-1]):
        with pytest.raises(ValueError, match=r"are the 6 of things and then the 4 of stuff of panoptic_fpn\. Received"):
            fit_two_stage(model, replace(SCENES, semantic_classes=classes), epochs=1, batch_size=2)
    unlabelled = replace(SCENES, read=lambda number: replace(SCENES[number], semantic=None))
    with pytest.raises(ValueError, match=r"Expected scenes with a semantic map\. Received: one without"):
        fit_two_stage(model, unlabelled, epochs=1, batch_size=2)
