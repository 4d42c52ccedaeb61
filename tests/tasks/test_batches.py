from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from keras_effvit.preprocessing import preprocess_input
from keras_effvit.tasks.batches import SceneBatches, targets_of
from keras_effvit.tasks.changes import Change
from keras_effvit.tasks.detection_losses import CROWD, NOTHING
from keras_effvit.tasks.scenes import drawn_scenes

SCENES = drawn_scenes(7, (32, 32)).in_memory()


def test_in_order_and_nothing_left_out():
    batches = SceneBatches(SCENES, (32, 32), 3)
    images, classes = zip(*(batches[number] for number in range(len(batches))), strict=True)
    assert [len(each) for each in images] == [3, 3, 1]
    expected = preprocess_input(np.stack([scene.image for scene in SCENES]).astype("float32"))
    np.testing.assert_array_equal(np.concatenate(images), expected)
    np.testing.assert_array_equal(np.concatenate(classes), np.stack([np.asarray(s.semantic) for s in SCENES]))
    raw, _ = SceneBatches(SCENES, (32, 32), 3, scale=False)[0]
    np.testing.assert_array_equal(raw[0], SCENES[0].image)


def test_an_epoch_shows_every_scene_once_and_the_next_one_in_another_order():
    batches = SceneBatches(SCENES.subset(range(6)), (32, 32), 3, change=Change(), scale=False)
    epochs = []
    for _ in range(2):
        images = np.concatenate([batches[number][0] for number in range(len(batches))])
        epochs.append([next(n for n, scene in enumerate(SCENES) if (scene.image == image).all()) for image in images])
        batches.on_epoch_end()
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(6))
    assert epochs[0] != epochs[1]


def test_the_same_seed_epoch_and_place_give_the_same_batch():
    change = Change(flip=0.5, scale=(0.5, 2), brightness=0.2)
    one, other = (SceneBatches(SCENES, (48, 40), 2, change=change, seed=5) for _ in range(2))
    later = one[2]
    for x, y in ((other[0], one[0]), (other[2], later)):
        np.testing.assert_array_equal(x[0], y[0])
        np.testing.assert_array_equal(x[1], y[1])
    other.on_epoch_end()
    assert (other[2][0] != later[0]).any()
    assert (SceneBatches(SCENES, (48, 40), 2, change=change, seed=6)[2][0] != later[0]).any()


def test_boxes_are_filled_up_and_crowds_marked():
    scenes: list[Any] = [SCENES[0], replace(SCENES[1], crowd=np.ones(len(SCENES[1].labels), bool))]
    targets = targets_of(scenes, "everything", most=6)
    for number, scene in enumerate(scenes):
        things = len(scene.labels)
        np.testing.assert_array_equal(targets["boxes"][number, :things], scene.boxes)
        np.testing.assert_array_equal(targets["masks"][number, :things], scene.masks)
        np.testing.assert_array_equal(targets["labels"][number, :things], CROWD if number else scene.labels)
        assert (targets["labels"][number, things:] == NOTHING).all()
        assert not targets["masks"][number, things:].any()
    np.testing.assert_array_equal(targets["semantic"][1], scenes[1].semantic)
    assert set(targets_of(scenes, "boxes", most=6)) == {"boxes", "labels"}
    assert set(targets_of(scenes, "masks", most=6)) == {"boxes", "labels", "masks"}


def test_of_too_many_things_the_largest_stay():
    scene = max(SCENES, key=lambda each: len(each.labels))
    areas = np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)
    targets = targets_of([scene], "boxes", most=2)
    kept = np.prod(targets["boxes"][0, :, 2:] - targets["boxes"][0, :, :2], axis=1)
    np.testing.assert_array_equal(np.sort(kept), np.sort(areas)[-2:])


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(ValueError, match="Expected at least 8 scenes"):
        SceneBatches(SCENES, (32, 32), 8, change=Change())
    with pytest.raises(ValueError, match="Expected scenes with labels of pixels"):
        SceneBatches(replace(SCENES, semantic_classes=()), (32, 32), 2)
    with pytest.raises(ValueError, match="Expected scenes with a semantic map"):
        targets_of([replace(SCENES[0], semantic=None)], "pixels", most=2)
    with pytest.raises(ValueError, match="Expected scenes with labels of everything"):
        SceneBatches(replace(SCENES, semantic_classes=()), (32, 32), 2, kind="everything")
    with pytest.raises(ValueError, match="Expected scenes with a semantic map"):
        targets_of([SCENES[0], replace(SCENES[1], semantic=None)], "everything", most=2)
    with pytest.raises(ValueError, match="Expected scenes with masks"):
        targets_of([SCENES[0], replace(SCENES[1], masks=None)], "masks", most=2)
