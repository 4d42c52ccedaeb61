"""Ranges of activations, against numpy on the values themselves."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.lite import LiteError, inspect
from keras_effvit.lite.calibration import calibrate, images_of
from keras_effvit.lite.number_types import quantization_of
from keras_effvit.preprocessing import preprocess_input

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def doubling():
    """A file that doubles its input, and what is in it."""
    concrete = tf.function(lambda image: {"out": image * 2.0}, [tf.TensorSpec((1, *SHAPE), tf.float32)])
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete.get_concrete_function()]).convert()
    return content, inspect(content)


def outputs(doubling, images, method):
    content, found = doubling
    calibration = calibrate(content, found, images, method)
    return calibration, calibration.ranges[found.tensors[found.operators[0].outputs[0]].name]


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal((20, *SHAPE)).astype(np.float32)


def test_extremes(doubling, noise):
    calibration, (low, high) = outputs(doubling, noise, "min_max")
    assert (low, high) == (2 * noise.min(), 2 * noise.max())
    assert (calibration.images, calibration.method) == (20, "min_max")


def test_a_result_that_nothing_takes_has_the_range_of_what_it_was_made_of():
    """XNNPACK does not calculate it, and still its operator wants a scale."""

    def serve(image):
        return {"out": tf.nn.relu(tf.split(image * 2.0, 3, axis=-1)[2])}

    concrete = tf.function(serve, [tf.TensorSpec((1, *SHAPE), tf.float32)]).get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    found = inspect(content)
    [split] = [operator for operator in found.operators if operator.name == "SPLIT"]
    image = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
    ranges = calibrate(content, found, image).ranges
    whole, third = (2 * image.min(), 2 * image.max()), (2 * image[..., 2].min(), 2 * image[..., 2].max())
    assert [ranges[found.tensors[index].name] for index in split.outputs] == [whole, whole, third]


def test_moving_average(doubling, noise):
    low = 2 * noise[0].min()
    for image in noise[1:]:
        low = 0.95 * low + 0.05 * 2 * image.min()
    assert outputs(doubling, noise, "moving_average")[1][0] == pytest.approx(low, rel=1e-6)


@pytest.fixture(scope="module")
def wide():
    """The same for larger images, where a value can be rare."""
    concrete = tf.function(lambda image: {"out": image * 2.0}, [tf.TensorSpec((1, 100, 100, 3), tf.float32)])
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete.get_concrete_function()]).convert()
    return content, inspect(content)


def test_percentile_cuts_off_the_rarest(wide):
    """A single value among 30,000 does not count."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 100, 100, 3)).astype(np.float32)
    image[0, 0, 0, 0] = 1000
    _, (low, high) = outputs(wide, image, "percentile")
    assert -2 <= low < -1.99
    assert 1.99 < high <= 2
    assert outputs(wide, image, "min_max")[1][1] == 2000


def test_outliers_are_reported(wide):
    images = np.random.default_rng(0).standard_normal((3, 100, 100, 3)).astype(np.float32)
    assert outputs(wide, images, "min_max")[0].outliers == ()
    images[1, 0, 0, 0] = 500
    reported = outputs(wide, images, "min_max")[0].outliers
    _, highest, usual = max(reported, key=lambda entry: entry[1])
    assert highest == 1000
    assert usual == pytest.approx(np.mean([np.sqrt(np.mean((2.0 * image) ** 2)) for image in images]), rel=1e-5)


def test_the_fingerprint_is_of_the_numbers(doubling, noise):
    content, found = doubling
    first, same = (calibrate(content, found, noise.copy()).fingerprint for _ in range(2))
    assert first == same
    assert calibrate(content, found, noise + 1e-6).fingerprint != first


@given(count=st.integers(1, 6), batch=st.integers(1, 3), limit=st.integers(1, 8))
def test_images_from_anywhere_are_the_same(count, batch, limit):
    array = np.arange(count * batch * 12, dtype=np.float32).reshape(count * batch, 2, 2, 3)
    expected = array[:limit]
    stream = [array[start : start + batch] for start in range(0, count * batch, batch)]
    labelled = [(images, np.zeros(len(images))) for images in stream]
    for source in (array, list(array), stream, labelled, tf.data.Dataset.from_tensor_slices(array).batch(batch)):
        np.testing.assert_array_equal(images_of(source, (2, 2, 3), limit=limit), expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((0, 8, 8, 3)), "Expected images to calibrate with. Received: none"),
        ([], "Received: none"),
        (np.zeros((2, 8, 8, 1)), r"of shape \(8, 8, 3\). Received: float64 of \(8, 8, 1\)"),
        (np.full((2, 8, 8, 3), np.nan), "Received: image 0 with NaN or infinity"),
        (np.array([["a"]]), "Expected images of shape"),
        ([np.zeros((8, 8, 3)), np.zeros((9, 8, 3))], "of one shape"),
        ("/nowhere", "Expected a folder of images"),
    ],
)
def test_what_is_no_calibration(source, message):
    with pytest.raises(LiteError, match=message):
        images_of(source, SHAPE)


def test_a_folder(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    (tmp_path / "deep").mkdir()
    Image.fromarray(pixels).save(tmp_path / "deep" / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    np.testing.assert_allclose(images_of(tmp_path, SHAPE)[0], preprocess_input(pixels), atol=1e-6)
    np.testing.assert_array_equal(images_of(tmp_path, SHAPE, scale=False)[0], pixels)
    (tmp_path / "b.jpg").write_text("broken")
    with pytest.raises(LiteError, match=r"Expected an image. Received: .*b.jpg"):
        images_of(tmp_path, SHAPE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LiteError, match=r"Expected images \(.*\) in .*empty. Received: none"):
        images_of(tmp_path / "empty", SHAPE)


@given(
    low=st.floats(-1e4, 1e4),
    width=st.floats(1e-3, 1e4),
    kind=st.sampled_from([("int8", -128, 127), ("uint8", 0, 255)]),
)
def test_a_range_is_covered_and_zero_is_exact(low, width, kind):
    name, least, most = kind
    scale, zero = quantization_of((low, low + width), name)
    assert least <= zero <= most
    covered = (scale * (least - zero), scale * (most - zero))
    assert covered[0] <= min(low, 0) + scale / 2 + 1e-6
    assert covered[1] >= max(low + width, 0) - scale / 2 - 1e-6
