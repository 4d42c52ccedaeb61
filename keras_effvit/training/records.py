"""TFRecord shards: many images in few files, for disks and networks that do not like many small ones."""

import json
import os
import struct
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_effvit.atomic import replacing, write_json
from keras_effvit.lite.child import LiteError
from keras_effvit.training.decoding import decode, each_image
from keras_effvit.training.images import Images, fingerprint

#: Names of the classes, and for every shard the labels of its images; written last, so it says that all is there.
SIDECAR = "records.json"
#: Images that go into a shard if it is not said how many shards there are to be.
IN_A_SHARD = 1000
#: What an example holds, under the names that TensorFlow's own ImageNet scripts gave.
IMAGE, LABEL, NAME = "image/encoded", "image/class/label", "image/class/text"
#: A record is its length, a checksum of that, the data, a checksum of those.
HEADER, FOOTER = struct.Struct("<QI"), 4


def write_records(images: Images, folder: str | Path, *, shards: int | None = None, verbose: bool = True) -> Path:
    """Writes images to TFRecord shards of `tf.train.Example`, in their order.

    An image that comes from a file goes in as the bytes of it, another one as PNG.

    Args:
        images: of any kind.
        folder: is made if it is not there.
        shards: how many files; one for every thousand images by default.
        verbose: whether to show a progress bar.

    Returns:
        The folder.

    Raises:
        LiteError: if there are records already, or an image cannot be read.
        OSError: if a file cannot be written. What is there then is not taken for records.

    Example:
        >>> len(records(write_records(drawn(50, size=32), "shapes", shards=2)))
        50
    """
    folder, count = Path(folder), len(images)
    shards = min(max(1, count // IN_A_SHARD), count) if shards is None else shards
    if not 1 <= shards <= count:
        raise ValueError(f"`shards` must be between 1 and the number of images, {count}. Received: shards={shards}")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / SIDECAR).exists():
        raise LiteError(f"Expected a folder without records. Received: {folder} with {SIDECAR}")
    content = images.content or (lambda number: tf.io.encode_png(images.read(number)))
    files = enumerate(each_image(content, count, verbose=verbose))
    written = {}
    for shard, numbers in enumerate(np.array_split(np.arange(count), shards)):
        name = f"images-{shard:05d}-of-{shards:05d}.tfrecord"
        with replacing(folder / name) as temporary:
            _write(temporary, images, islice(files, len(numbers)))
        written[name] = " ".join(map(str, images.labels[numbers]))
    write_json(folder / SIDECAR, {"classes": images.classes, "shards": written})
    return folder


def _write(path: Path, images: Images, files: Iterable[tuple[int, bytes | str]]) -> None:
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number, file in files:
                if isinstance(file, str):
                    raise LiteError(f"Expected images that can be read. Received: number {number}: {file}")
                writer.write(_example(file, int(images.labels[number]), images.classes).SerializeToString())
    except tf.errors.OpError as error:
        raise OSError(f"{path}: {error.message}") from error


def _example(file: bytes, label: int, classes: tuple[str, ...]) -> tf.train.Example:
    of_bytes = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))  # noqa: E731
    features = {
        IMAGE: of_bytes(file),
        LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        NAME: of_bytes(classes[label].encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def records(folder: str | Path, *, check: bool = True, verbose: bool = True) -> Images:
    """Images from TFRecord shards that `write_records` wrote, read by number: any of them at any time.

    Args:
        folder: of the shards and their `records.json`.
        check: whether to read and decode every image once; without it, a damaged one ends the training.
        verbose: whether to show a progress bar.

    Raises:
        LiteError: if there are no records, or a shard is missing, cut off or damaged, with the number of the record.
    """
    folder = Path(folder)
    classes, shards = _sidecar(folder)
    offsets = {name: _offsets(folder / name) for name in shards}
    for name, labels in shards.items():
        if len(labels) != len(offsets[name]):
            raise LiteError(f"Expected {len(labels)} records in {folder / name}. Received: {len(offsets[name])}")
    labels = np.concatenate(list(shards.values()))
    content = _content([str(folder / name) for name in shards], list(offsets.values()))
    sizes = [f"{name} {(folder / name).stat().st_size} {(folder / name).stat().st_mtime_ns}" for name in shards]
    images = Images(
        classes,
        labels,
        lambda number: decode(content(number)),
        content=content,
        fingerprint=fingerprint(*classes, labels, *sizes),
    )
    if check:
        _check(images, folder, {name: len(each) for name, each in offsets.items()}, verbose)
    return images


def _sidecar(folder: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Names of the classes, and the labels in every shard."""
    path = folder / SIDECAR
    try:
        facts = json.loads(path.read_text())
        classes = tuple(map(str, facts["classes"]))
        shards = {str(name): np.array(labels.split(), np.int64) for name, labels in facts["shards"].items()}
    except FileNotFoundError as error:
        raise LiteError(f"Expected {SIDECAR} beside the shards in {folder}. Received: none") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise LiteError(f"Expected names of classes and labels of shards. Received: {path}: {error!r}") from error
    labels = np.concatenate([*shards.values(), np.array([], np.int64)])
    if not len(labels) or labels.min() < 0 or labels.max() >= len(classes):
        raise LiteError(f"Expected labels of {len(classes)} classes. Received: {path}: {sorted(set(labels.tolist()))}")
    return classes, shards


def _offsets(path: Path) -> np.ndarray:
    """Where the records of a shard begin."""
    found, at = [], 0
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise LiteError(f"Expected a shard. Received: {path}: {error.strerror}") from error
    try:
        size = os.fstat(file).st_size
        while at < size:
            header = os.pread(file, HEADER.size, at)
            if len(header) == HEADER.size and HEADER.unpack(header)[1] != _checksum(header[:8]):
                raise LiteError(f"Expected whole records. Received: {path}: record {len(found)} is damaged")
            end = at + HEADER.size + HEADER.unpack(header)[0] + FOOTER if len(header) == HEADER.size else size + 1
            if end > size:
                raise LiteError(f"Expected whole records. Received: {path}: record {len(found)} is cut off")
            found.append(at)
            at = end
    finally:
        os.close(file)
    return np.array(found, np.int64)


def _table() -> list[int]:
    """Of CRC-32C, for a byte at a time."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def _checksum(content: bytes) -> int:
    """CRC-32C, turned by 15 bits and shifted, as TFRecord has it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _content(files: list[str], offsets: list[np.ndarray]) -> Callable[[tf.Tensor | int], tf.Tensor]:
    """The file of an image by number. TensorFlow compares the checksum of every record it reads."""
    paths, places = tf.constant(files), tf.constant(np.concatenate(offsets))
    shards = tf.constant(np.repeat(np.arange(len(files)), [len(each) for each in offsets]))
    kind = {"output_types": [tf.string], "output_shapes": [()]}

    def content(number: tf.Tensor | int) -> tf.Tensor:
        # `tf.data.TFRecordDataset` cannot begin in the middle of a file; the operation below it can.
        path, place = paths[shards[number]], places[number]
        data = tf.raw_ops.TFRecordDatasetV2(
            filenames=path[None], compression_type="", buffer_size=tf.constant(0, tf.int64), byte_offsets=place[None]
        )
        data = tf.raw_ops.TakeDataset(input_dataset=data, count=tf.constant(1, tf.int64), **kind)
        (record,) = tf.raw_ops.DatasetToSingleElement(dataset=data, **kind)
        return tf.io.parse_single_example(record, {IMAGE: tf.io.FixedLenFeature([], tf.string)})[IMAGE]

    return content


def _check(images: Images, folder: Path, shards: dict[str, int], verbose: bool) -> None:
    names = [(name, number) for name, count in shards.items() for number in range(count)]
    looks = each_image(lambda number: tf.shape(images.read(number)), len(images), verbose=verbose)
    for (name, number), look in zip(names, looks, strict=True):
        if isinstance(look, str):
            raise LiteError(f"Expected an image in every record. Received: {folder / name}: record {number}: {look}")
