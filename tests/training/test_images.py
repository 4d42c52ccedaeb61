import numpy as np
import pytest
import tensorflow as tf

from keras_effvit.training.images import arrays


def pixels(images):
    return [images.read(tf.constant(number, tf.int64)).numpy() for number in range(len(images))]


def numbered(labels, classes=None):
    """Images whose pixels are their number."""
    content = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), 4, 5, 3))
    return arrays(content, labels, classes)


def numbers(images):
    return [int(image[0, 0, 0]) for image in pixels(images)]


def test_arrays_are_read_in_a_graph():
    content = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    images = arrays(content, [0, 1, 1, 0, 2], classes=["a", "b", "c"])
    read = list(tf.data.Dataset.range(len(images)).map(images.read).as_numpy_iterator())
    np.testing.assert_array_equal(read, content)
    assert images.classes == ("a", "b", "c")
    assert images.labels.dtype == np.int64
    assert images.skipped == ()


@pytest.mark.parametrize("shape", [(3, 6, 7), (3, 6, 7, 1)])
def test_grey_arrays_get_three_channels(shape):
    content = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for image, grey in zip(pixels(arrays(content, [0, 0, 0])), content, strict=True):
        np.testing.assert_array_equal(image, np.dstack([grey] * 3))


def test_a_subset_is_in_the_order_asked_for():
    images = numbered([0, 1, 0, 1, 0])
    chosen = images.subset([4, 1, 1])
    assert numbers(chosen) == [4, 1, 1]
    assert chosen.labels.tolist() == [0, 1, 1]
    assert numbers(chosen.subset([2, 0])) == [1, 4]
    assert chosen.classes == images.classes


def test_a_split_loses_nothing_and_divides_every_class_alike():
    images = numbered(np.repeat([0, 1, 2], [50, 20, 7]))
    train, val = images.split(0.3)
    assert sorted(numbers(train) + numbers(val)) == list(range(77))
    assert np.bincount(val.labels).tolist() == [15, 6, 2]
    for part in (train, val):
        assert part.labels.tolist() == images.labels[numbers(part)].tolist()


def test_a_split_is_the_same_for_the_same_seed():
    images = numbered([0] * 20 + [1] * 20)
    assert numbers(images.split(0.5)[1]) == numbers(images.split(0.5)[1])
    assert numbers(images.split(0.5)[1]) != numbers(images.split(0.5, seed=1)[1])


@pytest.mark.parametrize(("share", "expected"), [(0.01, 1), (0.99, 2)])
def test_neither_part_of_a_split_lacks_a_class(share, expected):
    assert np.bincount(numbered([0] * 3 + [1] * 3).split(share)[1].labels).tolist() == [expected, expected]


def test_a_class_of_one_image_cannot_be_divided():
    with pytest.raises(ValueError, match="one of 'dog'"):
        numbered([0, 0, 1], ["cat", "dog"]).split(0.5)


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5])
def test_a_share_is_a_part(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        numbered([0, 0]).split(share)


@pytest.mark.parametrize("wrong", [[3], [-1], [[0]]])
def test_a_subset_of_what_is_not_there(wrong):
    with pytest.raises(ValueError, match="Received: numbers="):
        numbered([0, 1, 0]).subset(wrong)


IMAGE = np.zeros((2, 4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (IMAGE.astype("float32"), [0, 1], None, "uint8.*float32"),
        (IMAGE[..., :2], [0, 1], None, r"\(2, 4, 4, 2\)"),
        (IMAGE[0, 0], [0, 1], None, r"\(4, 3\)"),
        (IMAGE[:0], [], None, r"\(0, 4, 4, 3\)"),
        (IMAGE, [0], None, "2 whole numbers"),
        (IMAGE, [0.0, 1.0], None, "float64"),
        (IMAGE, [0, -1], None, "from 0 on"),
        (IMAGE, [0, 2], ["a", "b"], "label to 2"),
        (IMAGE, [0, 1], ["a", "a"], "of its own"),
    ],
)
def test_arrays_that_do_not_fit(images, labels, classes, message):
    with pytest.raises(ValueError, match=message):
        arrays(images, labels, classes)
