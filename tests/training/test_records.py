import json
import resource
import shutil
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.lite import LiteError
from keras_effvit.training import Augment, Images, drawn, image_folder, records, training_batches, write_records


def pixels(images):
    return [image.numpy() for image in map(images.read, tf.range(len(images), dtype=tf.int64))]


@pytest.fixture(scope="module")
def images():
    return drawn(11, size=8)


@pytest.fixture(scope="module")
def written(images, tmp_path_factory):
    return write_records(images, tmp_path_factory.mktemp("records"), shards=3, verbose=False)


@pytest.fixture(scope="module")
def ends(written):
    """Where every record of the first shard ends, counted by TensorFlow's own reader."""
    lengths = [len(record) for record in tf.data.TFRecordDataset(str(shards(written)[0])).as_numpy_iterator()]
    return np.cumsum(np.array(lengths) + 16)


def shards(folder):
    return sorted(folder.glob("*.tfrecord"))


def copied(written, folder):
    shutil.copytree(written, folder, dirs_exist_ok=True)
    return shards(folder)[0]


def test_what_was_written_is_read(images, written):
    again = records(written, verbose=False)
    assert again.classes == images.classes
    np.testing.assert_array_equal(again.labels, images.labels)
    np.testing.assert_array_equal(pixels(again), pixels(images))
    assert sorted(path.name for path in written.iterdir()) == [
        *(f"images-0000{shard}-of-00003.tfrecord" for shard in range(3)),
        "records.json",
    ]


def test_tensorflow_reads_the_same(images, written):
    """Three shards of 4, 4 and 3 examples."""
    shape = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        "image/class/text": tf.io.FixedLenFeature([], tf.string),
    }
    found = []
    for shard, count in zip(shards(written), [4, 4, 3], strict=True):
        examples = list(tf.data.TFRecordDataset(str(shard)).map(lambda each: tf.io.parse_single_example(each, shape)))
        assert len(examples) == count
        found += examples
    for number, (example, image) in enumerate(zip(found, pixels(images), strict=True)):
        np.testing.assert_array_equal(tf.io.decode_png(example["image/encoded"]), image)
        assert example["image/class/label"] == images.labels[number]
        assert example["image/class/text"].numpy().decode() == images.classes[images.labels[number]]


def test_files_go_in_as_they_are(tmp_path):
    """Not decoded and encoded again, which JPEG does not survive."""
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / "folder" / name).mkdir(parents=True)
        Image.new("RGB", (9, 7), colour).save(tmp_path / "folder" / name / "1.jpg", quality=40)
    images = image_folder(tmp_path / "folder", verbose=False)
    again = records(write_records(images, tmp_path / "records", verbose=False), verbose=False)
    assert again.content is not None
    for number, name in enumerate(["cat", "dog"]):
        assert again.content(tf.constant(number)).numpy() == (tmp_path / "folder" / name / "1.jpg").read_bytes()
    np.testing.assert_array_equal(pixels(again), pixels(images))
    once_more = write_records(again, tmp_path / "again", verbose=False)
    assert shards(once_more)[0].read_bytes() == shards(tmp_path / "records")[0].read_bytes()


def test_batches_of_records_are_those_of_the_images(images, written):
    augment = Augment(crop_scale=(0.5, 1))
    options = {"size": 8, "batch_size": 4, "augment": augment, "epochs": 2}
    both = zip(
        training_batches(images, **options), training_batches(records(written, verbose=False), **options), strict=True
    )
    for (x, y), (again_x, again_y) in both:
        np.testing.assert_array_equal(x, again_x)
        np.testing.assert_array_equal(y, again_y)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_shard_that_is_cut_off(share, written, ends, tmp_path_factory):
    """Between two records nothing is cut but their number; else the first record that lacks a byte is named."""
    shard = copied(written, tmp_path_factory.mktemp("cut"))
    content = shard.read_bytes()
    kept = int(share * len(content))
    shard.write_bytes(content[:kept])
    whole = int((ends <= kept).sum())
    expected = f"Received: {whole}$" if kept in (0, *ends) else f"{shard.name}: record {whole} is cut off"
    with pytest.raises(LiteError, match=expected):
        records(shard.parent, check=False, verbose=False)


@settings(max_examples=12, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_shard_with_a_wrong_byte(share, change, written, ends, tmp_path_factory):
    """Every byte is covered by one of a record's two checksums, or is of one."""
    shard = copied(written, tmp_path_factory.mktemp("damaged"))
    content = bytearray(shard.read_bytes())
    place = int(share * len(content))
    content[place] ^= change
    shard.write_bytes(content)
    number = int((ends <= place).sum())
    with pytest.raises(LiteError, match=f"{shard.name}: record {number}"):
        records(shard.parent, verbose=False)


def test_damage_that_was_not_looked_for_ends_the_training(written, tmp_path):
    shard = copied(written, tmp_path)
    content = bytearray(shard.read_bytes())
    content[60] ^= 1
    shard.write_bytes(content)
    images = records(tmp_path, check=False, verbose=False)
    with pytest.raises(tf.errors.DataLossError):
        images.read(tf.constant(0))
    assert images.read(tf.constant(1)).shape == (8, 8, 3)


def test_a_record_without_an_image(written, tmp_path):
    shard = copied(written, tmp_path)
    kept: list[Any] = [record.numpy() for record in tf.data.TFRecordDataset(str(shard))]
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in (*kept[:2], b"hello", kept[3]):
            writer.write(record)
    with pytest.raises(LiteError, match=f"{shard.name}: record 2: "):
        records(tmp_path, verbose=False)


def without(name):
    return lambda folder: (folder / name).unlink()


def saying(**facts):
    def change(folder):
        path = folder / "records.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("records.json"), "Expected records.json beside the shards"),
        (without("images-00001-of-00003.tfrecord"), "images-00001-of-00003.tfrecord: No such file"),
        (lambda folder: (folder / "records.json").write_text("{"), "records.json: JSONDecodeError"),
        (lambda folder: (folder / "records.json").write_text("[]"), "records.json: TypeError"),
        (lambda folder: (folder / "records.json").write_bytes(b"\xff"), "records.json: UnicodeDecodeError"),
        (saying(classes=None), "records.json: TypeError"),
        (saying(classes=["a", "b"]), "labels of 2 classes"),
        (saying(shards={}), r"records.json: \[\]"),
        (saying(shards={"images-00000-of-00003.tfrecord": "0 1 two"}), "records.json: ValueError"),
        (saying(shards={"images-00000-of-00003.tfrecord": [0, 1]}), "records.json: AttributeError"),
        (saying(shards={"images-00000-of-00003.tfrecord": "0 1 2"}), "Expected 3 records.*Received: 4"),
    ],
)
def test_folders_that_are_no_records(change, message, written, tmp_path):
    copied(written, tmp_path)
    change(tmp_path)
    with pytest.raises(LiteError, match=message):
        records(tmp_path, verbose=False)


def test_no_records_are_written_over(images, written):
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    with pytest.raises(LiteError, match="without records"):
        write_records(images, written, verbose=False)
    assert {path.name: path.read_bytes() for path in written.iterdir()} == before


@pytest.mark.parametrize("number", [0, 12])
def test_shards_have_images(number, images, tmp_path):
    with pytest.raises(ValueError, match=f"Received: shards={number}"):
        write_records(images, tmp_path, shards=number)


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_left(images, tmp_path):
    def broken(number):
        return tf.io.decode_png(tf.where(number == 7, b"hello", tf.io.encode_png(images.read(number))))

    with pytest.raises(LiteError, match="number 7: "):
        write_records(Images(images.classes, images.labels, broken), tmp_path, verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_records(images, tmp_path):
    """A limit on the size of files does to a writer what a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match="tfrecord"):
            write_records(images, tmp_path, shards=1, verbose=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
