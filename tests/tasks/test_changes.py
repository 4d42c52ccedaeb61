from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.tasks.changes import BEYOND, Change, changed, cut, fitted, flipped, resized
from keras_effvit.tasks.samples import IGNORE
from keras_effvit.tasks.scenes import box_of, drawn_scenes

SCENE: Any = drawn_scenes(1, (40, 56), seed=4, things=(3, 3))[0]
PARTS = ("image", "boxes", "labels", "masks", "semantic", "crowd")


def same(one, other):
    for part in PARTS:
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_the_mirror_image_is_that_of_pil_and_twice_is_none():
    mirror: Any = flipped(SCENE)
    expected = Image.fromarray(SCENE.image).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    np.testing.assert_array_equal(mirror.image, np.asarray(expected))
    np.testing.assert_array_equal(mirror.boxes, [box_of(mask) for mask in mirror.masks])
    np.testing.assert_array_equal(mirror.semantic[mirror.masks[0]], mirror.labels[0])
    same(flipped(mirror), SCENE)


def clear(old, new):
    """Where the middle of a new pixel lies in an old one, not between two."""
    middles = (np.arange(new) + 0.5) * old / new
    return np.abs(middles - middles.round()) > 1e-6


@settings(max_examples=25, deadline=None)
@given(st.integers(20, 130), st.integers(20, 130))
def test_sizes_as_pil_has_them(height, width):
    scaled: Any = resized(SCENE, (height, width))
    size = (width, height)
    expected = Image.fromarray(SCENE.image).resize(size, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(scaled.image, np.asarray(expected))
    nearest = np.asarray(Image.fromarray(SCENE.semantic.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
    sure = np.ix_(clear(40, height), clear(56, width))
    np.testing.assert_array_equal(scaled.semantic[sure], nearest[sure])
    np.testing.assert_allclose(scaled.boxes, SCENE.boxes * ([width / 56, height / 40] * 2), rtol=1e-6)
    for box, mask in zip(scaled.boxes, scaled.masks, strict=True):
        x0, y0, x1, y1 = box_of(mask) if mask.any() else box
        assert min(x0 - box[0], y0 - box[1], box[2] - x1, box[3] - y1) > -1


@settings(max_examples=50, deadline=None)
@given(st.integers(-50, 50), st.integers(-70, 70), st.integers(1, 60), st.integers(1, 70))
def test_a_cut_is_a_slice_of_a_scene_with_a_wide_margin(top, left, height, width):
    part: Any = cut(SCENE, top, left, (height, width))
    margin = 90
    wide = np.pad(SCENE.semantic, ((margin, margin), (margin, margin)), constant_values=IGNORE)
    window = slice(margin + top, margin + top + height), slice(margin + left, margin + left + width)
    np.testing.assert_array_equal(part.semantic, wide[window])
    for channel in range(3):
        image = np.pad(SCENE.image[..., channel], margin, constant_values=BEYOND[channel])
        np.testing.assert_array_equal(part.image[..., channel], image[window])
    kept = 0
    for number, mask in enumerate(SCENE.masks):
        x0, y0, x1, y1 = map(int, SCENE.boxes[number])
        shared = max(0, min(x1, left + width) - max(x0, left)) * max(0, min(y1, top + height) - max(y0, top))
        if 5 * shared >= (x1 - x0) * (y1 - y0):
            np.testing.assert_array_equal(part.masks[kept], np.pad(mask, margin)[window])
            assert part.labels[kept] == SCENE.labels[number]
            kept += 1
    assert len(part.labels) == len(part.boxes) == len(part.crowd) == kept
    assert (part.boxes >= 0).all()
    assert (part.boxes <= [width, height, width, height]).all()


def test_what_fits_lies_in_the_corner():
    result: Any = fitted(SCENE, (80, 84))  # 56 to 84 pixels wide, 40 to 60 high
    same(cut(result, 0, 0, (60, 84)), resized(SCENE, (60, 84)))
    assert (result.semantic[60:] == IGNORE).all()
    assert (result.image[60:] == BEYOND).all()
    same(fitted(SCENE, (40, 56)), SCENE)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.3, 1), st.floats(1, 3))
def test_after_every_change_labels_lie_on_their_pixels(seed, low, high):
    change = Change(flip=0.5, scale=(low, high), brightness=0.3)
    result: Any = changed(SCENE, (48, 48), change, np.random.default_rng(seed))
    again: Any = changed(SCENE, (48, 48), change, np.random.default_rng(seed))
    same(result, again)
    assert result.image.shape == (48, 48, 3)
    for label, mask in zip(result.labels, result.masks, strict=True):
        assert (result.semantic[mask] == label).all()


def test_without_figures_nothing_changes():
    same(changed(SCENE, (40, 56), Change(), np.random.default_rng(0)), SCENE)
    bare = replace(SCENE, masks=None, semantic=None)
    bright = changed(bare, (40, 56), Change(brightness=0.5), np.random.default_rng(0))
    assert (bright.masks, bright.semantic) == (None, None)
    assert (bright.image != SCENE.image).any()


@pytest.mark.parametrize("figures", [{"flip": 2}, {"brightness": -0.1}, {"scale": (0, 1)}, {"scale": (2, 1)}])
def test_figures_out_of_range(figures):
    with pytest.raises(ValueError, match=f"`{next(iter(figures))}` must be"):
        Change(**figures)
