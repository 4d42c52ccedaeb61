"""Windows: cutting and merging are inverses, and windows hold the pixels one expects."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.layers import window_merge, window_partition
from keras_effvit.layers.windows import pad_to_windows, window_grid

sides = st.integers(1, 5)
counts = st.integers(1, 4)


@settings(max_examples=40, deadline=None)
@given(batch=st.integers(1, 3), side=sides, rows=counts, columns=counts, channels=st.integers(1, 3))
def test_merge_undoes_partition(batch, side, rows, columns, channels):
    shape = (batch, rows * side, columns * side, channels)
    x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    windows = window_partition(x, side)
    assert windows.shape == (batch * rows * columns, side * side, channels)
    np.testing.assert_array_equal(window_merge(windows, side, *shape[1:3]), x)


@settings(max_examples=40, deadline=None)
@given(side=sides, rows=counts, columns=counts, data=st.data())
def test_a_window_holds_its_pixels_in_row_major_order(side, rows, columns, data):
    x = np.arange(2 * rows * side * columns * side, dtype="float32").reshape(2, rows * side, columns * side, 1)
    row = data.draw(st.integers(0, rows - 1))
    column = data.draw(st.integers(0, columns - 1))
    windows = np.asarray(window_partition(x, side)).reshape(2, rows, columns, side * side)
    expected = x[:, row * side : (row + 1) * side, column * side : (column + 1) * side, 0]
    np.testing.assert_array_equal(windows[:, row, column], expected.reshape(2, -1))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), side=sides)
def test_padding_adds_zeros_below_and_right_up_to_whole_windows(height, width, side):
    padded = np.asarray(pad_to_windows(np.ones((1, height, width, 2), "float32"), side))
    rows, columns = window_grid(height, width, side)
    assert padded.shape == (1, rows * side, columns * side, 2)
    assert (rows - 1) * side < height <= rows * side
    assert (columns - 1) * side < width <= columns * side
    assert padded[:, :height, :width].all()
    assert padded.sum() == height * width * 2
