import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from keras_effvit.training import drawing
from keras_effvit.training.drawing import drawn


def pixels(images):
    return np.stack([images.read(tf.constant(number, tf.int64)).numpy() for number in range(len(images))])


def corners(*lengths_and_turns):
    return [(length * np.sin(turn), length * np.cos(turn)) for length, turn in lengths_and_turns]


FIFTH = 2 * np.pi / 5
#: Corners (x, y) of the shapes that have some, from their definitions: no other program is asked what a star is.
POLYGONS = {
    "square": [(-0.886, -0.886), (0.886, -0.886), (0.886, 0.886), (-0.886, 0.886)],
    "star": corners(*[(1.25 if i % 2 == 0 else 0.5625, i * FIFTH / 2) for i in range(10)]),
    "cross": [
        *[(-0.3, 1.1), (0.3, 1.1), (0.3, 0.3), (1.1, 0.3), (1.1, -0.3), (0.3, -0.3)],
        *[(0.3, -1.1), (-0.3, -1.1), (-0.3, -0.3), (-1.1, -0.3), (-1.1, 0.3), (-0.3, 0.3)],
    ],
    "triangle": corners(*[(1.24, i * 2 * np.pi / 3) for i in range(3)]),
}


@pytest.mark.parametrize("name", POLYGONS)
def test_what_is_inside_a_shape_is_inside_its_polygon(name):
    side, reach = 400, 1.5
    place = lambda at: (np.asarray(at) / reach + 1) * side / 2 - 0.5  # noqa: E731
    canvas = Image.new("1", (side, side))
    ImageDraw.Draw(canvas).polygon([tuple(place(corner)) for corner in POLYGONS[name]], fill=1)
    along = ((np.arange(side) + 0.5) / side * 2 - 1) * reach
    distance = drawing.SHAPES[name](*np.meshgrid(along, along))
    clear = np.abs(distance) > 2 * 2 * reach / side  # PIL puts corners on whole pixels, and paints those of the edge
    np.testing.assert_array_equal((distance < 0)[clear], np.asarray(canvas)[clear])


@pytest.mark.parametrize("name", sorted(drawing.TEXTURES))
def test_textures_paint_a_part_of_everything(name):
    along = np.linspace(-20, 20, 1000)
    share = (drawing.TEXTURES[name](*np.meshgrid(along, along)) < 0).mean()
    expected = np.pi * 0.32**2 if name == "dots" else 0.5  # a disc of 0.32 of the pitch on every square of it
    assert share == pytest.approx(expected, abs=0.01)  # periods are cut at the border


def test_edges_are_smooth():
    """A white disc on black: its area to a thousandth, which whole pixels do not reach."""
    along = (np.arange(32) + 0.5) / 16 - 1
    x, y = np.meshgrid(along, along)
    image = drawing._over(np.zeros((32, 32, 3)), drawing.disc(x / 0.6, y / 0.6) * 0.6, np.ones(3))
    assert image[..., 0].mean() * 4 == pytest.approx(np.pi * 0.36, rel=1e-3)


def test_every_class_is_drawn_in_turn():
    images = drawn(25, size=16)
    assert images.classes == tuple(sorted(images.classes))
    assert len(images.classes) == 10
    np.testing.assert_array_equal(images.labels, np.arange(25) % 10)


def test_the_same_images_every_time():
    once, more = pixels(drawn(10, size=24)), pixels(drawn(20, size=24))
    np.testing.assert_array_equal(once, more[:10])
    assert (np.abs(once - more[10:].astype(int)).mean(axis=(1, 2, 3)) > 10).all()
    assert (pixels(drawn(10, size=24, seed=1)) != once).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [8, 33, 64])
def test_any_size(size):
    image = pixels(drawn(10, size=size))
    assert image.shape == (10, size, size, 3)
    assert image.dtype == np.uint8
    assert (image.reshape(10, -1).std(axis=1) > 5).all()  # something is in it


def test_without_clutter_a_thing_lies_on_a_ramp():
    """Both have no curvature but at the thing's edge, beyond what rounding to whole numbers makes."""
    discs = np.flatnonzero(drawn(40).labels == drawing.CLASSES.index("disc"))
    plain, busy = (pixels(drawn(40, size=128, clutter=clutter).subset(discs)).astype(int) for clutter in (0.0, 1.0))
    flat = [(np.abs(np.diff(images, 2, axis=2)) <= 2).mean() for images in (plain, busy)]
    assert flat[0] > 0.95 > flat[1]


@pytest.mark.parametrize("radius", [0.2, 0.3])
def test_things_are_as_large_as_they_are_asked_to_be(radius):
    """A disc's area, of one colour, but for half a pixel at its edge: stretching leaves it as it is."""
    side = 256
    images = drawn(20, size=side, clutter=0.0, radius=(radius, radius))
    discs = pixels(images.subset(np.flatnonzero(images.labels == drawing.CLASSES.index("disc"))))
    for image in discs:
        painted = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)[1].max() / side**2
        assert painted == pytest.approx(np.pi * (radius - 1 / side) ** 2 / 4, rel=0.02)


def test_what_is_not_turned_is_upright():
    """A stripe that is not turned is of one colour from its top to its bottom: most pixels equal those above."""
    stripes = np.flatnonzero(drawn(60).labels == drawing.CLASSES.index("stripes"))
    options = {"size": 128, "clutter": 0.0, "radius": (0.9, 0.9)}
    upright, turned = (pixels(drawn(60, turn=turn, **options).subset(stripes)) for turn in (0.0, 1.0))
    middle = slice(40, 88)  # where the thing is
    sideways = [np.abs(np.diff(x[:, middle, middle].astype(int), axis=2)).sum((1, 2, 3)) for x in (upright, turned)]
    down = [np.abs(np.diff(x[:, middle, middle].astype(int), axis=1)).sum((1, 2, 3)) for x in (upright, turned)]
    assert (down[0] == 0).all()
    assert (sideways[0] > 0).all()
    assert (down[1] > 0).all()


@pytest.mark.parametrize(
    "asked",
    [
        {"count": 0},
        {"count": 3, "size": 7},
        {"count": 3, "clutter": 1.5},
        {"count": 3, "radius": (0.0, 0.5)},
        {"count": 3, "radius": (0.5, 0.4)},
        {"count": 3, "radius": (0.5, 1.0)},
        {"count": 3, "turn": 2.0},
    ],
)
def test_nothing_to_draw(asked):
    with pytest.raises(ValueError, match="Received: "):
        drawn(**asked)
