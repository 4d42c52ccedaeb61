"""Pixels in, class names out."""

import numpy as np
import pytest

from keras_effvit import decode_predictions, preprocess_input
from keras_effvit.preprocessing import preprocessing_layer


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_zero_mean_and_unit_variance_of_imagenet(dtype):
    pixels = np.array([[[[0, 128, 255]]]], dtype)
    expected = (np.array([0, 128, 255]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(preprocess_input(pixels)[0, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(preprocessing_layer()(pixels)[0, 0, 0], expected, rtol=1e-5)


def test_does_not_change_its_input():
    pixels = np.full((1, 2, 2, 3), 7, "float32")
    preprocess_input(pixels)
    assert (pixels == 7).all()


def test_a_single_image_and_channels_first():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype("uint8")
    last = preprocess_input(pixels)
    first = preprocess_input(pixels.transpose(2, 0, 1), data_format="channels_first")
    np.testing.assert_allclose(first.transpose(1, 2, 0), last, rtol=1e-5)


@pytest.fixture
def class_index(monkeypatch):
    """Keras' index of class names, without the network."""
    index = {str(i): [f"n{i:08d}", f"thing_{i}"] for i in range(1000)}
    from keras.src.applications import imagenet_utils

    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", index)


def test_names_the_most_probable_classes(class_index):
    probabilities = np.zeros((1, 1000), "float32")
    probabilities[0, [3, 997]] = 0.25, 0.75
    [[first, second]] = decode_predictions(probabilities, top=2)
    assert first == ("n00000997", "thing_997", 0.75)
    assert second == ("n00000003", "thing_3", 0.25)


def test_refuses_predictions_that_are_not_imagenets():
    with pytest.raises(ValueError, match=r"\(1, 10\)"):
        decode_predictions(np.zeros((1, 10)))
