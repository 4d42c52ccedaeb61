import json

import numpy as np
import pytest
import tensorflow as tf

from keras_effvit.lite import LiteError
from keras_effvit.training import Augment, Images, cached, drawn, training_batches


def of_sizes(count=5):
    """Images of several sizes, and how often each of them has been read."""
    pixels = [
        np.random.default_rng(number).integers(0, 256, (4 + number, 9 - number, 3), np.uint8) for number in range(count)
    ]
    reads = np.zeros(count, int)

    def look(number):
        reads[number] += 1
        return pixels[int(number)]

    def read(number):
        return tf.ensure_shape(tf.numpy_function(look, [number], tf.uint8), (None, None, 3))

    return Images(("a", "b"), np.arange(count) % 2, read, fingerprint="some images"), pixels, reads


def assert_reads(images, pixels):
    for _ in range(2):
        found = tf.data.Dataset.range(len(images)).map(images.read, num_parallel_calls=2).as_numpy_iterator()
        for image, expected in zip(found, pixels, strict=True):
            np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_images_are_decoded_once(where, tmp_path):
    images, pixels, reads = of_sizes()
    again = cached(images, where if where == "memory" else tmp_path / "images", verbose=False)
    assert_reads(again, pixels)
    assert reads.tolist() == [1] * 5
    assert again.classes == images.classes
    np.testing.assert_array_equal(again.subset([3, 1]).read(tf.constant(0)), pixels[3])


def test_a_file_is_used_again(tmp_path):
    images, pixels, reads = of_sizes()
    cached(images, tmp_path / "images", verbose=False)
    assert_reads(cached(images, tmp_path / "images", verbose=False), pixels)
    assert reads.tolist() == [1] * 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "images.json"]


def other_images(path):
    cached(of_sizes(3)[0], path, verbose=False)


def shortened(path):
    path.write_bytes(path.read_bytes()[:-1])


def removed(path):
    path.unlink()


def other_json(path):
    path.with_name("images.json").write_text(json.dumps({"fingerprint": "some images", "sizes": [[1, 1, 3]]}))


@pytest.mark.parametrize("spoil", [other_images, shortened, removed, other_json])
def test_a_file_of_something_else_is_made_anew(spoil, tmp_path):
    images, pixels, reads = of_sizes()
    cached(images, tmp_path / "images", verbose=False)
    spoil(tmp_path / "images")
    assert_reads(cached(images, tmp_path / "images", verbose=False), pixels)
    assert reads.tolist() == [2] * 5


@pytest.mark.parametrize("name", ["images", "images.json"])
def test_a_file_that_is_no_cache_is_left_alone(name, tmp_path):
    (tmp_path / name).write_text('{"a": "user\'s"}')
    with pytest.raises(LiteError, match=r"Received: .*images.json: "):
        cached(of_sizes()[0], tmp_path / "images", verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"a": "user\'s"}'


def test_an_image_that_cannot_be_read(tmp_path):
    images = Images(("a",), np.zeros(2, np.int64), lambda number: tf.io.decode_png("hello"), fingerprint="none")
    for where in ("memory", tmp_path / "images"):
        with pytest.raises(LiteError, match="number 0: "):
            cached(images, where, verbose=False)
    assert not (tmp_path / "images").exists()


def test_images_without_a_name_are_not_known_again(tmp_path):
    images, _, _ = of_sizes()
    with pytest.raises(ValueError, match="fingerprint"):
        cached(Images(images.classes, images.labels, images.read), tmp_path / "images")


def test_batches_are_the_same():
    images = drawn(8, size=12)
    options = {"size": 8, "batch_size": 4, "augment": Augment(crop_scale=(0.5, 1)), "epochs": 2}
    both = zip(
        training_batches(images, **options), training_batches(cached(images, verbose=False), **options), strict=True
    )
    for (x, _), (again, _) in both:
        np.testing.assert_array_equal(x, again)
