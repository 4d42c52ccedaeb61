from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from keras_effvit.tasks.samples import IGNORE, Scene, Scenes, panoptic
from keras_effvit.tasks.scenes import LEFT, STUFF, THINGS, box_of, drawn_scenes
from tests.tasks.arrays import floats, ints

SIZE = (64, 80)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(32, 70), st.integers(32, 70), st.integers(1, 6))
def test_boxes_masks_and_maps_say_the_same(seed, height, width, most):
    scenes: Any = drawn_scenes(2, (height, width), seed, things=(1, most))
    for scene in scenes:
        assert scene.image.shape == (height, width, 3)
        assert 1 <= len(scene.labels) <= most
        assert scene.masks.sum(axis=0).max() == 1  # a pixel belongs to one thing at most
        assert (scene.masks.sum(axis=(1, 2)) >= LEFT).all()
        for box, label, mask in zip(scene.boxes, scene.labels, scene.masks, strict=True):
            [(rows, columns)] = ndimage.find_objects(mask.astype(int))
            np.testing.assert_array_equal(box, [columns.start, rows.start, columns.stop, rows.stop])
            assert (scene.semantic[mask] == label).all()
        beside = scene.semantic[~scene.masks.any(axis=0)]
        assert beside.min() >= len(THINGS)
        assert beside.max() < len(THINGS + STUFF)


def test_what_is_painted_is_where_the_mask_is():
    """Inside of its edge a thing has one colour, and its noise; across the edge there is another one."""
    scenes: Any = drawn_scenes(12, SIZE, seed=3)
    for scene in scenes:
        for mask in scene.masks:
            inside = ndimage.binary_erosion(mask, iterations=2)
            ring = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask, iterations=2)
            if inside.sum() < 10 or ring.sum() < 10:
                continue
            paint = scene.image[inside].mean(axis=0)
            assert scene.image[inside].std(axis=0).max() < 0.051 * 255 + 1
            assert np.median(np.abs(scene.image[ring] - paint).sum(axis=-1)) > 30


def test_the_same_scenes_every_time():
    few: Any = drawn_scenes(2, SIZE)
    many: Any = drawn_scenes(4, SIZE)
    other = drawn_scenes(2, SIZE, seed=1)
    for number in range(2):
        np.testing.assert_array_equal(few[number].image, many[number].image)
        np.testing.assert_array_equal(few[number].semantic, many[number].semantic)
        assert (few[number].image != other[number].image).any()


def test_every_class_turns_up():
    scenes: list[Any] = list(drawn_scenes(80, SIZE))
    things = np.bincount(np.concatenate([scene.labels for scene in scenes]), minlength=len(THINGS))
    assert (things > 15).all()  # of some 200
    stuff = {int(label) for scene in scenes for label in np.unique(scene.semantic)}
    assert stuff == set(range(len(THINGS + STUFF)))


def test_panoptic_labels():
    scene: Any = drawn_scenes(1, SIZE, seed=5)[0]
    segments = panoptic(scene, len(THINGS))
    assert (segments.numbers > 0).all()
    for number, label in enumerate(segments.labels):
        here = segments.numbers == number + 1
        assert (scene.semantic[here] == label).all()
        if number < len(scene.labels):
            np.testing.assert_array_equal(here, scene.masks[number])
    assert len(set(segments.labels[len(scene.labels) :])) == len(segments.labels) - len(scene.labels)


def test_panoptic_labels_by_hand():
    masks = np.array([[[True, False, False, False]], [[True, True, False, False]]])
    scene = Scene(
        np.zeros((1, 4, 3), np.uint8),
        floats([[0, 0, 1, 1], [0, 0, 2, 1]]),
        ints([1, 0]),
        masks,
        ints([[0, 0, 2, IGNORE]]),
        np.array([False, True]),
    )
    segments = panoptic(scene, things=2)
    np.testing.assert_array_equal(segments.numbers, [[1, 2, 3, 0]])
    np.testing.assert_array_equal(segments.labels, [1, 0, 2])
    np.testing.assert_array_equal(segments.crowd, [False, True, False])
    with pytest.raises(ValueError, match="with masks and a semantic map"):
        panoptic(Scene(scene.image), things=2)


def test_scenes_are_divided_and_kept():
    drawn = drawn_scenes(10, (32, 32))
    calls = []
    scenes = Scenes(drawn.classes, drawn.semantic_classes, lambda n: calls.append(n) or drawn.read(n), drawn.numbers)
    train, val = scenes.split(0.3)
    assert (len(train), len(val)) == (7, 3)
    assert sorted([*train.numbers, *val.numbers]) == list(range(10))
    held = val.in_memory()
    assert calls == list(val.numbers)
    np.testing.assert_array_equal(held.subset([2])[0].image, drawn[int(val.numbers[2])].image)
    assert len(calls) == 3
    wrong: Any
    for wrong in ([3], [-1], [[0]]):
        with pytest.raises(ValueError, match="Received: "):
            val.subset(wrong)
    with pytest.raises(ValueError, match="Received: 10, share=1"):
        scenes.split(1)


def test_boxes_of_masks():
    assert box_of(np.zeros((3, 3), bool)) == (0, 0, 0, 0)
    assert box_of(np.eye(4, 5, 1, dtype=bool)) == (1, 0, 5, 4)


@pytest.mark.parametrize(
    "parts",
    [
        {"boxes": floats([[0, 0, 1, 1]])},
        {"boxes": np.zeros((0, 4))},
        {"masks": np.zeros((0, 4, 5), bool)},
        {"semantic": np.zeros((4, 4), np.int64)},
        {"crowd": np.zeros(1, bool)},
    ],
)
def test_parts_that_do_not_fit_together(parts):
    with pytest.raises(ValueError, match=f"Expected `{next(iter(parts))}` of shape"):
        Scene(np.zeros((4, 4, 3), np.uint8), **parts)


@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_the_size_of_things(radius):
    """A disc of a radius has the area of one."""
    scenes: Any = drawn_scenes(30, (64, 64), things=(1, 1), radius=(radius, radius))
    areas = [scene.masks.sum() for scene in scenes if THINGS[scene.labels[0]] == "disc"]
    assert len(areas) > 1
    np.testing.assert_allclose(areas, np.pi * (64 * radius) ** 2, rtol=0.05)


@pytest.mark.parametrize(
    "asked",
    [
        {"count": 0},
        {"count": 2, "size": (31, 64)},
        {"count": 2, "things": (0, 3)},
        {"count": 2, "radius": (0.3, 0.2)},
        {"count": 2, "radius": (0.1, 0.5)},
    ],
)
def test_nothing_to_draw(asked):
    with pytest.raises(ValueError, match="Received: "):
        drawn_scenes(**asked)
