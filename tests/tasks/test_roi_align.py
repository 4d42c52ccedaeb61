"""RoIAlign, against its definition sample by sample."""

import numpy as np
import pytest

from keras_effvit.tasks.roi_align import levels_of, roi_align


def at(image, y, x):
    """A map's value between its pixels."""
    rows, columns, _ = image.shape
    if y < -1 or y > rows or x < -1 or x > columns:
        return np.zeros(image.shape[-1])
    y, x = min(max(y, 0), rows - 1), min(max(x, 0), columns - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    dy, dx = y - top, x - left
    upper = image[top, left] * (1 - dx) + image[top, right] * dx
    lower = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def aligned(image, box, stride, size, samples):
    """The mean of `samples` x `samples` values in every bin; of as many as the bin has pixels, where that is None."""
    x0, y0, x1, y1 = np.asarray(box, float) / stride
    high, wide = (y1 - y0) / size, (x1 - x0) / size
    down, across = (samples, samples) if samples else (int(np.ceil(high)), int(np.ceil(wide)))
    patch = np.zeros((size, size, image.shape[-1]))
    for row in range(size):
        for column in range(size):
            values = [
                at(image, y0 - 0.5 + high * (row + (i + 0.5) / down), x0 - 0.5 + wide * (column + (j + 0.5) / across))
                for i in range(down)
                for j in range(across)
            ]
            patch[row, column] = np.mean(values, axis=0)
    return patch


BOXES = np.array(
    [
        [[0, 0, 32, 32], [3.2, 5.7, 40.1, 21.3], [50, 40, 64, 64], [10, 10, 11, 12]],
        [[0, 0, 64, 64], [20, 1, 30, 63], [60.5, 60.5, 90, 90], [-20, -10, 30, 20]],  # some beyond the image
    ],
    "float32",
)


@pytest.mark.parametrize("samples", [None, 1, 2])
@pytest.mark.parametrize("size", [2, 7])
def test_one_level(samples, size):
    image = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    boxes = BOXES
    patches = np.asarray(roi_align([image], boxes, (8,), size, samples=samples)).reshape(2, 4, size, size, 3)
    for b in range(2):
        for r in range(4):
            expected = aligned(image[b], boxes[b, r], 8, size, samples)
            np.testing.assert_allclose(patches[b, r], expected, atol=1e-5, err_msg=f"{b} {r}")


def test_a_box_goes_to_the_level_of_its_size():
    """A box of an ImageNet image's size, 224, belongs to P4; half of that to P3; the ends take what is beyond."""
    sides = np.array([10, 111, 113, 223, 224, 447, 449, 5000], "float32")
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=-1)
    np.testing.assert_array_equal(levels_of(boxes, 4), [0, 0, 1, 1, 2, 2, 3, 3])


def test_several_levels():
    rng = np.random.default_rng(1)
    maps = [rng.standard_normal((1, 64 // 2**i, 80 // 2**i, 2)).astype("float32") for i in range(4)]
    boxes = np.array([[[0, 0, 100, 90], [30, 20, 180, 190], [0, 0, 256, 256], [5, 5, 300, 250]]], "float32")
    patches = np.asarray(roi_align(maps, boxes, (4, 8, 16, 32), 7))
    for r, level in enumerate([0, 1, 2, 2]):
        expected = aligned(maps[level][0], boxes[0, r], 4 * 2**level, 7, None)
        np.testing.assert_allclose(patches[r], expected, atol=1e-5)


@pytest.mark.parametrize("size", [7, 14])
def test_long_boxes(size):
    """Four times as long as wide, and as large as its level takes: 55 pixels of the map long."""
    image = np.random.default_rng(2).standard_normal((1, 60, 60, 2)).astype("float32")
    boxes = np.array([[[3, 5, 223, 60], [5, 3, 60, 223], [100, 1, 140, 221]]], "float32")
    patches = np.asarray(roi_align([image], boxes, (4,), size))
    for r in range(3):
        np.testing.assert_allclose(patches[r], aligned(image[0], boxes[0, r], 4, size, None), atol=1e-5)


def test_longer_boxes_are_sampled_all_over():
    """Of a map that grows evenly, the mean of a bin is what its middle has; a sample is at most half a pixel off."""
    image = np.broadcast_to(np.arange(200, dtype="float32")[None, None, :, None], (1, 30, 200, 1))
    boxes = np.array([[[8, 8, 780, 100]]], "float32")
    patches = np.asarray(roi_align([image], boxes, (4,), 7))
    np.testing.assert_allclose(patches[0], aligned(image[0], boxes[0, 0], 4, 7, None), atol=0.5)
