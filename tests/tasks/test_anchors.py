"""Anchors, against boxes written down from the papers' words."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.tasks.anchors import RETINANET_ANCHORS, RPN_ANCHORS, anchors, cells, map_sizes


def test_retinanets_anchors_have_the_papers_areas_and_ratios():
    """32 to 512 on a side over the levels, times 2^0, 2^(1/3), 2^(2/3); heights over widths 1:2, 1:1, 2:1."""
    strides = (8, 16, 32, 64, 128)
    boxes = anchors(RETINANET_ANCHORS, strides, [(1, 1)] * 5).astype(float)
    assert boxes.shape == (45, 4)
    number = 0
    for stride in strides:
        for ratio in (0.5, 1, 2):
            for third in range(3):
                x0, y0, x1, y1 = boxes[number]
                side = 4 * stride * 2 ** (third / 3)
                assert math.isclose((x1 - x0) * (y1 - y0), side**2, rel_tol=1e-5)
                assert math.isclose((y1 - y0) / (x1 - x0), ratio, rel_tol=1e-5)
                assert x0 + x1 == y0 + y1 == 0
                number += 1


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), stride=st.sampled_from([4, 8, 32]))
@settings(max_examples=20, deadline=None)
def test_cells_go_by_rows(rows, columns, stride):
    boxes = anchors(RPN_ANCHORS, (stride,), [(rows, columns)]).reshape(rows, columns, 3, 4)
    points = cells((stride,), [(rows, columns)]).reshape(rows, columns, 3)
    for row in range(rows):
        for column in range(columns):
            middles = (boxes[row, column, :, :2] + boxes[row, column, :, 2:]) / 2
            np.testing.assert_allclose(middles, np.tile([column * stride, row * stride], (3, 1)), atol=1e-3)
            np.testing.assert_array_equal(points[row, column], [column * stride, row * stride, stride])


def test_maps_round_up():
    """The sizes that the authors' pyramids have at 800 x 1280."""
    assert map_sizes(800, 1280, (8, 16, 32, 64, 128)) == [(100, 160), (50, 80), (25, 40), (13, 20), (7, 10)]
