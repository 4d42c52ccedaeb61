import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_effvit.training.augment import Augment, batch_change, image_change
from keras_effvit.training.streams import Stream, key

SIDE = 32


def changed(augment, image, count):
    """The image under `count` keys."""
    change = image_change(augment, SIDE)
    numbers = tf.data.Dataset.range(count).map(lambda number: change(tf.constant(image), Stream(key(0, number))))
    return np.stack(list(numbers.as_numpy_iterator()))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def expected_times(probability, count):
    """What four standard deviations allow."""
    deviation = 4 * np.sqrt(count * probability * (1 - probability))
    return range(int(count * probability - deviation), int(np.ceil(count * probability + deviation)) + 1)


def test_without_figures_an_image_is_left_alone(noise):
    np.testing.assert_array_equal(changed(Augment(), noise, 2), [noise, noise])


def test_without_a_crop_the_middle_is_taken(noise):
    wide = np.hstack([np.zeros((SIDE, 10, 3), np.uint8), noise, np.zeros((SIDE, 10, 3), np.uint8)])
    np.testing.assert_array_equal(changed(Augment(), wide, 1)[0], noise)


def test_some_images_are_mirrored(noise):
    found = changed(Augment(flip=0.3), noise, 200)
    mirrored = (found == noise[:, ::-1]).all(axis=(1, 2, 3))
    assert ((found == noise).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert mirrored.sum() in expected_times(0.3, 200)


def test_some_images_lose_a_box():
    """Of what is erased at least 0.02 of the area, at most a third; Keras' noise is black for half of its values."""
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)
    lost = (changed(Augment(erasing=0.25), grey, 200) != 100).any(axis=-1)
    erased = lost.any(axis=(1, 2))
    assert erased.sum() in expected_times(0.25, 200)
    for each in lost[erased]:
        rows, columns = np.flatnonzero(each.any(axis=1)), np.flatnonzero(each.any(axis=0))
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert each.sum() == tall * wide, "a box"
        assert (np.sqrt(0.02) * SIDE - 1) ** 2 <= tall * wide <= (np.sqrt(1 / 3) * SIDE + 1) ** 2


def test_colours_stay_colours_and_grey_stays_grey(noise):
    found = changed(Augment(color_jitter=0.4), noise, 20)
    assert found.min() >= 0
    assert found.max() <= 255
    assert len({each.tobytes() for each in found}) == 20
    grey = changed(Augment(color_jitter=0.4), np.dstack([noise[..., 0]] * 3), 20)
    np.testing.assert_allclose(grey, np.repeat(grey[..., :1], 3, axis=-1), atol=1e-3)


def test_colours_vary_by_the_share():
    """A grey area has neither contrast nor saturation: all that is left is the brightness, to 0.2 of the range."""
    shift = changed(Augment(color_jitter=0.2), np.full((SIDE, SIDE, 3), 128, np.uint8), 100)[:, 0, 0, 0] - 128
    assert np.abs(shift).max() <= 0.2 * 255 + 1e-3
    assert shift.min() < -0.15 * 255
    assert shift.max() > 0.15 * 255


def test_saturation_varies_by_the_share():
    """Saturation is 1 - least / greatest channel, and leaves the greatest as it is, from which brightness follows."""
    colour = np.broadcast_to(np.array([150, 100, 100], np.uint8), (SIDE, SIDE, 3))
    found = changed(Augment(color_jitter=0.2), colour, 100)[:, 0, 0]
    greatest, least = found.max(axis=1), found.min(axis=1)
    factor = (1 - least / greatest) / (50 / greatest)
    assert 0.8 - 1e-3 <= factor.min() < 0.85
    assert 1.15 < factor.max() <= 1.2 + 1e-3


def mixing(augment, batches, size=64):
    """Batches of plain images, each of its own value and class: what is in a pixel can be read off it."""
    mix = batch_change(augment)
    assert mix is not None
    values = np.arange(size, dtype=np.float32)
    images = tf.constant(np.broadcast_to(values[:, None, None, None], (size, SIDE, SIDE, 3)))
    labels = tf.one_hot(np.arange(size), size)
    data = tf.data.Dataset.range(batches).map(lambda number: mix(images, labels, Stream(key(0, number))))
    return values, list(data.as_numpy_iterator())


def test_mixup_blends_images_as_their_labels():
    values, batches = mixing(Augment(mixup=0.8), 3)
    for images, labels in batches:
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        assert ((labels > 0).sum(axis=1) <= 2).all()
        np.testing.assert_allclose(
            images, np.broadcast_to((labels @ values)[:, None, None, None], images.shape), rtol=1e-5
        )
    assert (batches[0][0] != batches[1][0]).any()


def test_mixup_blends_by_a_beta_distribution():
    """1 of 10^6 samples is further from it; and an image in 64 is its own partner, whose share looks like 1."""
    _, batches = mixing(Augment(mixup=0.2), 8)
    shares = np.sort(np.concatenate([np.diag(labels) for _, labels in batches]))
    count = len(shares)
    distance = np.abs(scipy.stats.beta(0.2, 0.2).cdf(shares) - (np.arange(count) + 0.5) / count).max()
    assert distance < np.sqrt(np.log(2e6) / (2 * count)) + 1 / 64


def test_cutmix_pastes_a_box_and_shares_the_label():
    """A box from x0 to x1 covers within one pixel of x1 - x0 in both directions."""
    _, batches = mixing(Augment(cutmix=1.0), 3)
    for images, labels in batches:
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
        own = np.arange(len(images))
        for number, image in enumerate(images[..., 0]):
            pasted = image != own[number]
            if not pasted.any():
                continue
            (other,) = np.unique(image[pasted]).astype(int)
            rows, columns = np.flatnonzero(pasted.any(axis=1)), np.flatnonzero(pasted.any(axis=0))
            tall, wide = len(rows), len(columns)
            assert pasted.sum() == tall * wide == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            area = labels[number, other] * SIDE**2
            assert (tall - 1) * (wide - 1) <= area + 1e-3
            assert area - 1e-3 <= (tall + 1) * (wide + 1)


@pytest.mark.parametrize("switch", [0.0, 0.5, 1.0])
def test_a_batch_has_one_of_both(switch):
    _, batches = mixing(Augment(mixup=0.8, cutmix=1.0, switch=switch), 40, size=16)
    cut = sum((images == np.round(images)).all() for images, _ in batches)
    assert cut in expected_times(switch, 40)


def test_no_mixing_is_no_function():
    assert batch_change(Augment(crop_scale=(0.5, 1), flip=0.5)) is None


def test_a_models_precision_is_none_of_its_business(noise):
    everything = Augment(crop_scale=(0.5, 1), color_jitter=0.3, erasing=1.0)
    expected = changed(everything, noise, 3)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = changed(everything, noise, 3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {name: value}
            for name in ("flip", "color_jitter", "erasing", "mixup", "cutmix", "switch")
            for value in (-0.1, 2)
        ),
        {"crop_scale": (0, 1)},
        {"crop_scale": (0.1, 1), "crop_ratio": (2, 1)},
        {"rand_augment": (2, 12, 0.5)},
    ],
)
def test_figures_out_of_range(wrong):
    with pytest.raises(ValueError, match="Received: "):
        Augment(**wrong)
