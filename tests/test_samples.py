"""The drawn image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.samples import sample_image


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_any_size_and_always_the_same(height, width):
    image = sample_image(height, width)
    assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)
    np.testing.assert_array_equal(image, sample_image(height, width))


def test_is_a_picture():
    """Contrast in every channel, and the sky is lighter than the lake."""
    image = sample_image().astype(float)
    assert (image.std(axis=(0, 1)) > 25).all()
    assert image[:40].mean() > image[-40:].mean() + 30
