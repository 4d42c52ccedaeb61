import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from keras_effvit.tasks import rle

masks = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def theirs():
    return pytest.importorskip("pycocotools.mask")


def coded(mask):
    return theirs().encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@settings(max_examples=100, deadline=None)
@given(masks)
def test_text_is_that_of_pycocotools_both_ways(mask):
    assert rle.text_of(rle.lengths_of(mask)) == coded(mask)
    np.testing.assert_array_equal(rle.mask_in({"size": list(mask.shape), "counts": coded(mask)}, mask.shape), mask)
    counts = {"size": list(mask.shape), "counts": rle.lengths_of(mask)}
    np.testing.assert_array_equal(rle.mask_in(counts, mask.shape), mask)


def test_long_runs():
    mask = np.zeros((700, 900), bool)
    mask[:, 300:] = True
    mask[650:, 310] = False
    assert rle.text_of(rle.lengths_of(mask)) == coded(mask)
    np.testing.assert_array_equal(rle.mask_in({"size": [700, 900], "counts": coded(mask)}, (700, 900)), mask)


def read(code, size):
    """The mask, or what is said against it; no other error."""
    try:
        return rle.mask_in(code, size)
    except ValueError as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=20))
def test_garbage_is_refused_or_a_mask(text):
    found = read({"size": [5, 7], "counts": text}, (5, 7))
    if isinstance(found, str):
        assert "Received: " in found
    else:
        assert found.shape == (5, 7)
        assert sum(rle.lengths_in(text)) == 35


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts"]), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_whatever_stands_in_a_file_is_refused_or_a_mask(code):
    found = read(code, (3, 4))
    assert "Received: " in found if isinstance(found, str) else found.shape == (3, 4)


@pytest.mark.parametrize(
    "code",
    [
        None,
        "abc",
        {},
        {"counts": [12]},
        {"size": [4, 3], "counts": [12]},
        {"size": [3, 4], "counts": [5, 6]},
        {"size": [3, 4], "counts": [5.0, 7.0]},
        {"size": [3, 4], "counts": [-5, 17]},
        {"size": [3, 4], "counts": None},
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5]],
        [[0, 0, 0, 9, 9, float("nan")]],
        [[0, 0, 0, 1e300, -1e300, 5]],
        [["a", 0, 0, 9, 9, 0]],
        [0, 0, 0, 9, 9, 0],
    ],
)
def test_what_is_no_mask(code):
    with pytest.raises(ValueError, match="Received: "):
        rle.mask_in(code, (3, 4))


corners = st.lists(st.tuples(st.floats(-5, 25, width=32), st.floats(-5, 25, width=32)), min_size=3, max_size=7)


@settings(max_examples=60, deadline=None)
@given(corners, st.integers(1, 20), st.integers(1, 20))
def test_triangles_hold_the_centres_that_matplotlib_says(points, height, width):
    """Centres that lie on an edge are nobody's question; those are left out."""
    triangle = np.array(points[:3], np.float64)
    y, x = np.mgrid[:height, :width] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    wide, narrow = (
        Outline(triangle).contains_points(centres, radius=radius).reshape(height, width) for radius in (1e-3, -1e-3)
    )
    mask = rle.filled([triangle], (height, width))
    same = wide == narrow
    np.testing.assert_array_equal(mask[same], wide[same])


@settings(max_examples=60, deadline=None)
@given(corners)
def test_polygons_are_those_of_pycocotools_but_for_their_edge(points):
    """COCO's program walks along the edge in fifths of a pixel; ours asks where centres lie."""
    polygon = np.clip(np.array(points, np.float64), 0, 20)
    [code] = theirs().frPyObjects([polygon.ravel().tolist()], 20, 20)
    theirs_mask, ours = theirs().decode(code).astype(bool), rle.filled([polygon], (20, 20))
    y, x = np.mgrid[:20, :20] + 0.5
    at = np.stack([x, y], axis=-1)[:, :, None]
    start, end = polygon, np.roll(polygon, -1, axis=0)
    along = end - start
    length = np.maximum((along**2).sum(-1), 1e-12)
    share = np.clip(((at - start) * along).sum(-1) / length, 0, 1)
    far = np.linalg.norm(at - start - share[..., None] * along, axis=-1).min(axis=-1) > 1
    np.testing.assert_array_equal(ours[far], theirs_mask[far])


def test_polygons_of_one_thing_are_added():
    mask = rle.mask_in([[0, 0, 2, 0, 2, 2, 0, 2], [3, 3, 4, 3, 4, 4, 3, 4], [1, 1, 2, 1, 2, 2, 1, 2]], (4, 5))
    expected = np.zeros((4, 5), bool)
    expected[:2, :2] = expected[3, 3] = True
    np.testing.assert_array_equal(mask, expected)


def test_what_crosses_itself_has_two_halves():
    """No centre lies on one of these edges."""
    mask = rle.filled([np.array([[0, 0], [8, 9], [8, 0], [0, 9]])], (9, 8))
    np.testing.assert_array_equal(mask[:, ::-1], mask)
    np.testing.assert_array_equal(np.flatnonzero(mask[:, 1]), [2, 3, 4, 5, 6])
    assert not mask[0].any()
