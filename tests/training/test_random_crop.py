import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.training.random_crop import TRIES, RandomResizedCrop, crop_box
from keras_effvit.training.streams import Stream, key

sides = st.integers(1, 700)


@tf.function(input_signature=[tf.TensorSpec((), tf.int32)] * 2 + [tf.TensorSpec((4, TRIES))])
def imagenet_box(height, width, draws):
    return crop_box(height, width, draws, (0.08, 1.0), (3 / 4, 4 / 3))


def draws(number):
    return np.random.default_rng(number).random((4, TRIES), np.float32)


@settings(max_examples=150, deadline=None)
@given(height=sides, width=sides, number=st.integers(0, 2**32 - 1))
def test_a_box_is_in_the_image_and_as_large_and_wide_as_allowed(height, width, number):
    top, left, tall, wide = (int(each) for each in imagenet_box(height, width, draws(number)))
    assert min(top, left) >= 0
    assert min(tall, wide) >= 1
    assert top + tall <= height
    assert left + wide <= width
    # Sides are rounded: half a pixel more or less on each.
    low, high = (wide - 0.5) / (tall + 0.5), (wide + 0.5) / max(tall - 0.5, 1e-9)
    assert (high >= 3 / 4 - 1e-6 and low <= 4 / 3 + 1e-6) or min(height, width) == 1
    fits_somehow = 3 / 4 <= width / height <= 4 / 3
    assert (tall + 0.5) * (wide + 0.5) >= 0.08 * height * width * (1 - 1e-6) or not fits_somehow


def test_a_box_by_the_definition():
    """The first pair of a share of the area and a ratio whose box fits, somewhere in what room it leaves."""
    height, width, checked = 300, 400, 0
    for number in range(50):
        drawn = draws(number).astype(float)
        share, ratio = 0.08 + 0.92 * drawn[0], (3 / 4) * (16 / 9) ** drawn[1]
        wide, tall = np.sqrt(share * ratio * height * width), np.sqrt(share / ratio * height * width)
        if (np.abs(wide % 1 - 0.5) < 1e-3).any() or (np.abs(tall % 1 - 0.5) < 1e-3).any():
            continue  # another precision may round it to the other side
        wide, tall = np.round(wide), np.round(tall)
        first = np.flatnonzero((wide <= width) & (tall <= height))[0]
        expected = [drawn[2, 0] * (height - tall[first] + 1), drawn[3, 0] * (width - wide[first] + 1)]
        box = [int(each) for each in imagenet_box(height, width, draws(number))]
        assert box == [int(expected[0]), int(expected[1]), int(tall[first]), int(wide[first])]
        checked += 1
    assert checked > 40


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(10, 600, (0, 293, 10, 13)), (600, 10, (293, 0, 13, 10)), (1, 1, (0, 0, 1, 1))]
)
def test_an_image_no_box_fits_in_gives_its_middle(height, width, expected):
    """13 is the side that goes with 10 at the ratio 4/3. One pixel allows no other box than itself."""
    found = [tuple(int(each) for each in imagenet_box(height, width, draws(number))) for number in range(20)]
    assert max(set(found), key=found.count) == expected


def test_areas_are_uniform():
    """No more than 1 of 10^6 samples of a uniform distribution is as far from it (Dvoretzky, Kiefer, Wolfowitz)."""
    count, side = 600, 10_000
    drawn = np.stack([draws(number) for number in range(count)])
    boxes = tf.vectorized_map(lambda each: crop_box(side, side, each, (0.2, 0.6), (1.0, 1.0)), drawn)
    areas = np.sort(np.asarray(boxes[2], float) * np.asarray(boxes[3], float)) / side**2
    uniform = (areas - 0.2) / 0.4
    assert np.abs(uniform - (np.arange(count) + 0.5) / count).max() < np.sqrt(np.log(2e6) / (2 * count))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [17, 64, 90])
def test_resizes_like_pil(interpolation, side):
    """PIL rounds to whole numbers after each of two passes, and the second sums at most 1.25 of the first's errors."""
    pixels = np.random.default_rng(0).integers(60, 190, (64, 64, 3), np.uint8)  # so that nothing is cut at 0 or 255
    method = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[interpolation]
    expected = np.asarray(Image.fromarray(pixels).resize((side, side), method), float)
    crop = RandomResizedCrop(side, side, scale=(1, 1), ratio=(1, 1), interpolation=interpolation)
    assert np.abs(np.asarray(crop(pixels, training=True)) - expected).max() <= 0.5 * 1.25 + 0.5 + 1e-3


def test_overshoot_is_cut():
    edge = np.zeros((16, 16, 3), np.uint8)
    edge[:, 8:] = 255
    found = np.asarray(RandomResizedCrop(40, 40)(edge))
    assert found.min() == 0
    assert found.max() == 255
    within = np.asarray(RandomResizedCrop(40, 40, value_range=(0, 1))(edge / 255))
    np.testing.assert_allclose(within, found / 255, atol=1e-6)


def test_every_image_of_a_batch_is_cropped_by_itself():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    batch = np.stack([image, image])
    layer = RandomResizedCrop(16, 20)
    drawn = layer.get_random_transformation(batch, seed=Stream(key(3)))
    both = np.asarray(layer.transform_images(batch, drawn))
    assert both.shape == (2, 16, 20, 3)
    assert (both[0] != both[1]).any()
    np.testing.assert_array_equal(layer.transform_images(image, drawn[1]), both[1])


def test_without_training_it_is_the_middle():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    found = np.asarray(RandomResizedCrop(20, 20, ratio=(1, 1))(image))
    np.testing.assert_allclose(found, 200, rtol=1e-6)
    np.testing.assert_array_equal(RandomResizedCrop(20, 20, ratio=(1, 1))(image[None])[0], found)


def test_in_a_pipeline_and_in_a_model():
    layer = RandomResizedCrop(8, 12, seed=1)
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    data = tf.data.Dataset.from_tensor_slices(images).map(lambda image: layer(image, training=True))
    assert [crop.shape for crop in data.as_numpy_iterator()] == [(8, 12, 3)] * 3
    model = keras.Sequential([keras.Input((20, 30, 3)), layer])
    assert model.output_shape == (None, 8, 12, 3)
    assert model(images).shape == (3, 8, 12, 3)


def test_its_seed_decides():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    once, again, other = (np.asarray(RandomResizedCrop(8, 8, seed=seed)(image, training=True)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_it_comes_back_from_its_config():
    layer = RandomResizedCrop(8, 12, scale=(0.3, 0.9), ratio=(0.5, 2), interpolation="bilinear", seed=4, name="crop")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is RandomResizedCrop
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    "wrong", [{"height": 0}, {"scale": (0, 1)}, {"scale": (0.5, 0.1)}, {"scale": (0.5, 2)}, {"ratio": (0, 1)}]
)
def test_sizes_and_ranges_that_are_none(wrong):
    with pytest.raises(ValueError, match="Received: "):
        RandomResizedCrop(**{"height": 8, "width": 8, **wrong})
