import math

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from keras_effvit.training.rand_augment import RandAugment
from keras_effvit.training.streams import Stream, key

SIDE = 48


@pytest.fixture(scope="module")
def operations():
    return RandAugment().operations


@pytest.fixture(scope="module")
def picture():
    """Smooth, so that the way a program interpolates does not matter, with all channels at work."""
    small = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def applied(operation, picture, level=0.9, sign=1.0):
    batch = tf.constant(np.asarray(picture, np.float32)[None])
    return np.asarray(operation(batch, tf.constant(level), tf.constant(sign)))[0]


def furthest(found, picture):
    return np.abs(found - np.asarray(picture, float)).max()


#: What an operation is in PIL at a level and a sign, and the greatest rounding: PIL cuts to whole numbers, its grey is
#: a whole number below (colour), its smooth image is rounded and counts 0.9 times (sharpness).
COLOURS = {
    "auto_contrast": (lambda image, level, sign: ImageOps.autocontrast(image), 1.0),
    "invert": (lambda image, level, sign: ImageOps.invert(image), 0.0),
    "posterise": (lambda image, level, sign: ImageOps.posterize(image, 4 - int(level * 4)), 0.0),
    "solarise": (lambda image, level, sign: ImageOps.solarize(image, 256 - int(level * 256)), 0.0),
    "colour": (lambda image, level, sign: ImageEnhance.Color(image).enhance(1 + sign * level * 0.9), 1 + 0.9 * 1.1),
    "brightness": (lambda image, level, sign: ImageEnhance.Brightness(image).enhance(1 + sign * level * 0.9), 1.0),
}


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize(("level", "sign"), [(0.9, 1.0), (0.9, -1.0), (0.4, 1.0)])
def test_colours_change_as_in_pil(name, level, sign, operations, picture):
    expected, rounding = COLOURS[name]
    level = float(np.float32(level))
    assert furthest(applied(operations[name], picture, level, sign), expected(picture, level, sign)) <= rounding + 1e-3


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_contrast_changes_as_in_pil(sign, operations, picture):
    """PIL's mean is that of the grey image, rounded, Keras' that of the channel: the same where all channels are."""
    grey = picture.convert("L").convert("RGB")
    expected = ImageEnhance.Contrast(grey).enhance(1 + sign * 0.9 * 0.9)
    assert furthest(applied(operations["contrast"], grey, 0.9, sign), expected) <= 0.5 * 0.81 + 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sharpness_changes_as_in_pil(sign, operations, picture):
    """PIL leaves the border as it is."""
    expected = np.asarray(ImageEnhance.Sharpness(picture).enhance(1 + sign * 0.9 * 0.9), float)
    found = applied(operations["sharpness"], picture, 0.9, sign)
    assert np.abs(found - expected)[1:-1, 1:-1].max() <= 0.5 * 0.81 + 1


def test_equalising_makes_values_equally_frequent(operations):
    """64 levels, as many pixels of each: they go to 64 levels from 0 to 255, equally far apart, in every channel."""
    ramp = np.repeat(np.arange(64, 128, dtype=np.uint8), SIDE * SIDE // 64).reshape(SIDE, SIDE)
    found = applied(operations["equalise"], np.dstack([ramp, ramp[::-1], ramp.T]))
    for channel in range(3):
        np.testing.assert_array_equal(np.unique(found[..., channel]), np.round(np.arange(64) * 255 / 63))


def test_dark_pixels_get_lighter_by_solarise_add(operations):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.where(grey < 128, grey + 99, grey)  # 110 at the strongest
    np.testing.assert_array_equal(applied(operations["solarise_add"], np.dstack([grey] * 3))[..., 0], expected)


def mapped(picture, matrix):
    """PIL's affine map, which takes output to input and counts from the corner."""
    (a, b, right), (c, d, down) = matrix
    middle = SIDE / 2
    numbers = (a, b, middle - (a + b) * middle + right, c, d, middle - (c + d) * middle + down)
    return picture.transform(
        picture.size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR, fillcolor=(1, 1, 1)
    )


TURN = math.radians(27)
GEOMETRY = {
    "rotate": [(math.cos(TURN), -math.sin(TURN), 0), (math.sin(TURN), math.cos(TURN), 0)],
    "shear_x": [(1, 0.27, 0), (0, 1, 0)],
    "shear_y": [(1, 0, 0), (0.27, 1, 0)],
    "translate_x": [(1, 0, 0.405 * SIDE), (0, 1, 0)],
    "translate_y": [(1, 0, 0), (0, 1, 0.405 * SIDE)],
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_things_move_as_in_pil(name, operations, picture):
    """Level 0.9 is 27 degrees, a shear of 0.27, 0.405 of the side."""
    expected = np.asarray(mapped(picture, GEOMETRY[name]), float)
    found = applied(operations[name], picture)
    inside = scipy.ndimage.binary_erosion((expected != 1).all(axis=-1))  # the border is mixed with what is beyond
    assert inside.mean() > 0.4
    assert np.abs(found - expected)[inside].max() <= 1 + 1e-3


@pytest.mark.parametrize("name", GEOMETRY)
def test_the_sign_is_the_direction(name, operations, picture):
    found = applied(operations[name], picture, 0.5, -1.0)
    back = applied(operations[name], Image.fromarray(np.asarray(picture)[::-1]), 0.5, 1.0)[::-1]
    if name == "translate_x":
        assert (found[:, 0] == 128).all()
    elif name == "translate_y":
        assert (found[0] == 128).all()
    else:
        np.testing.assert_allclose(found, back, atol=0.01)


def test_strength_zero_is_no_change(operations, picture):
    kept = {
        "rotate",
        "shear_x",
        "shear_y",
        "translate_x",
        "translate_y",
        "colour",
        "contrast",
        "brightness",
        "sharpness",
    }
    for name in kept | {"solarise", "solarise_add"}:
        assert furthest(applied(operations[name], picture, 0.0), picture) < 1e-3, name


def test_operations_differ_by_image_and_are_the_same_for_a_key(picture):
    change = RandAugment(2, 9, 0.5)
    image = tf.constant(np.asarray(picture, np.float32))

    @tf.function
    def changed(number):
        return change(image, Stream(key(0, number)))

    found = [changed(tf.constant(number)).numpy() for number in range(60)]
    assert all(each.shape == (SIDE, SIDE, 3) for each in found)
    assert all(each.min() >= 0 and each.max() <= 255 for each in found)
    assert len({each.tobytes() for each in found}) > 30
    np.testing.assert_array_equal(changed(tf.constant(7)).numpy(), found[7])
    # Two operations, each applied with probability 1/2; some of them do little or nothing to a picture.
    unchanged = sum(np.abs(each - image.numpy()).max() < 1e-3 for each in found)
    assert 60 * 0.25 - 4 * math.sqrt(60 * 0.25 * 0.75) <= unchanged <= 60 * 0.4 + 4 * math.sqrt(60 * 0.4 * 0.6)


def test_a_models_precision_is_none_of_its_business(picture, operations):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        under = RandAugment().operations
    finally:
        keras.config.set_dtype_policy("float32")
    for name, operation in under.items():
        np.testing.assert_array_equal(applied(operation, picture), applied(operations[name], picture))


@pytest.mark.parametrize("wrong", [(0, 9, 0.5), (2, 11, 0.5), (2, -1, 0.5), (2, 9, -0.5)])
def test_figures_beyond_the_scale(wrong):
    with pytest.raises(ValueError, match="Received: "):
        RandAugment(*wrong)
