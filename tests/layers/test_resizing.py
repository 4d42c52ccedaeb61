"""Resizing against its definitions, pixel by pixel, and the published taps of the bicubic kernel."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.layers import (
    BicubicUpsampling,
    BilinearUpsampling,
    CellPooling,
    DoublingConv2D,
    NearestDoubling,
    ResizeLike,
    Subsampling,
)

side = st.integers(1, 9)


def image(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).standard_normal((2, height, width, channels)).astype("float32")


def at(x, row, column):
    """A pixel, or of those outside the nearest."""
    return x[:, min(max(row, 0), x.shape[1] - 1), min(max(column, 0), x.shape[2] - 1)].astype(float)


def bilinear(x, height, width):
    out = np.zeros((len(x), height, width, x.shape[-1]))
    for i in range(height):
        for j in range(width):
            r, c = (i + 0.5) * x.shape[1] / height - 0.5, (j + 0.5) * x.shape[2] / width - 0.5
            r0, c0 = int(np.floor(r)), int(np.floor(c))
            for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = (1 - abs(r - r0 - dr)) * (1 - abs(c - c0 - dc))
                out[:, i, j] += weight * at(x, r0 + dr, c0 + dc)
    return out


@settings(max_examples=15, deadline=None)
@given(side, side, side, side)
def test_bilinear(height, width, new_height, new_width):
    x = image(height, width)
    y = ResizeLike()(x, np.zeros((2, new_height, new_width, 1)))
    np.testing.assert_allclose(y, bilinear(x, new_height, new_width), atol=1e-5)


def test_bilinear_by_a_factor():
    np.testing.assert_allclose(BilinearUpsampling(3)(image(3, 4)), bilinear(image(3, 4), 9, 12), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_nearest_is_floor_of_the_scaled_index(height, width):
    x = image(-(-height // 2), -(-width // 2))
    rows, columns = ([i * n // m for i in range(m)] for n, m in zip(x.shape[1:3], (height, width), strict=True))
    y = NearestDoubling()(x, np.zeros((2, height, width, 1)))
    np.testing.assert_array_equal(y, x[:, rows][:, :, columns])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_every_second_pixel(height, width):
    np.testing.assert_array_equal(Subsampling()(image(height, width)), image(height, width)[:, ::2, ::2])


def test_maps_that_do_not_halve_are_refused():
    with pytest.raises(ValueError, match=r"half as large.*Received: maps of \(2, 3, 4, 3\) and \(2, 9, 8, 3\)"):
        NearestDoubling()(image(3, 4), image(9, 8))


#: Weights of the four pixels around, for places a fraction of a pixel past the second of them.
TAPS = {
    3 / 4: [-0.03515625, 0.26171875, 0.87890625, -0.10546875],
    5 / 8: [-0.0659180, 0.4262695, 0.7495117, -0.1098633],
    7 / 8: [-0.0102539, 0.1147461, 0.9672852, -0.0717773],
}
TAPS |= {1 - fraction: taps[::-1] for fraction, taps in TAPS.items()}


def keys(distance):
    """The cubic convolution kernel by its definition (Keys 1981, equation 4), with a free parameter of -3/4."""
    a, d = -0.75, abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def bicubic_matrix(size, factor):
    """(factor * size, size): a longer row out of a row, pixel by pixel."""
    matrix = np.zeros((factor * size, size))
    for i in range(factor * size):
        place = (i + 0.5) / factor - 0.5
        for pixel in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[i, min(max(pixel, 0), size - 1)] += keys(place - pixel)
    return matrix


@pytest.mark.parametrize("fraction", TAPS)
def test_the_definition_has_the_published_taps(fraction):
    np.testing.assert_allclose([keys(fraction - pixel) for pixel in (-1, 0, 1, 2)], TAPS[fraction], atol=1e-7)


@settings(max_examples=15, deadline=None)
@given(side, side, st.sampled_from([1, 2, 3, 4, 5, 8]), st.data())
def test_bicubic_is_the_kernel_over_rows_and_columns_cropped(height, width, factor, data):
    x = image(height, width)
    rows, columns = bicubic_matrix(height, factor), bicubic_matrix(width, factor)
    expected = np.einsum("ir,jc,brcd->bijd", rows, columns, x)
    wanted = [data.draw(st.integers(1, factor * n)) for n in (height, width)]
    y = BicubicUpsampling(factor)(x, np.zeros((2, *wanted, 1)))
    np.testing.assert_allclose(y, expected[:, : wanted[0], : wanted[1]], atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(side, side, st.sampled_from([1, 2, 3, 6]))
def test_means_of_cells(height, width, cells):
    x = image(height, width)
    y = np.asarray(CellPooling(cells)(x))
    for i in range(cells):
        for j in range(cells):
            top, bottom = int(np.floor(i * height / cells)), int(np.ceil((i + 1) * height / cells))
            left, right = int(np.floor(j * width / cells)), int(np.ceil((j + 1) * width / cells))
            np.testing.assert_allclose(y[:, i, j], x[:, top:bottom, left:right].mean(axis=(1, 2)), atol=1e-5)


def test_doubling_convolution_is_the_transposed_one():
    x, ours = image(3, 5), DoublingConv2D(4)
    ours.build(x.shape)
    kernel = np.random.default_rng(1).standard_normal((2, 2, 3, 4)).astype("float32")
    bias = np.arange(4, dtype="float32")
    ours.set_weights([kernel, bias])
    expected = tf.nn.conv2d_transpose(x, kernel.transpose(0, 1, 3, 2), np.array((2, 6, 10, 4)), 2, "VALID") + bias
    np.testing.assert_allclose(ours(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "like"),
    [
        (BilinearUpsampling(2), ()),
        (DoublingConv2D(4), ()),
        (CellPooling(3), ()),
        (Subsampling(), ()),
        (ResizeLike(), (11, 9)),
        (NearestDoubling(), (9, 8)),
        (BicubicUpsampling(2), (9, 8)),
    ],
)
def test_sizes_that_are_only_known_when_it_runs(layer, like):
    """As in a function that Keras traced for batches of images of several sizes."""
    inputs = [image(5, 4), *([image(*like)] if like else [])]
    expected = layer(*inputs)
    function = tf.function(lambda *xs: layer(*xs), input_signature=[tf.TensorSpec((None, None, None, 3))] * len(inputs))
    np.testing.assert_allclose(function(*inputs), expected, atol=1e-6)
