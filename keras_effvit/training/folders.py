"""Images from folders, a folder for every class."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.images import class_files
from keras_effvit.training.decoding import decode, each_image
from keras_effvit.training.images import Images, Skipped, fingerprint

#: Of the images that are left out, how many a warning names.
NAMED = 5


def image_folder(
    folder: str | Path, classes: Sequence[str] | None = None, *, check: bool = True, verbose: bool = True
) -> Images:
    """The images of a folder with a folder for every class.

    Args:
        folder: the folder of folders, each with images in any depth of folders; hidden ones are not looked at.
        classes: names in the order in which labels count, such as those of the images trained on, and some may lack a
            folder. By default the folders' names, sorted.
        check: whether to decode every image once. One that cannot be decoded is left out, and named in `skipped` and in
            a warning; without the check it ends the training.
        verbose: whether to show a progress bar.

    Raises:
        LiteError: if there is no image in the folder or in that of a class, there are images beside the folders, or
            fewer than two classes.

    Example:
        >>> images = image_folder("flowers", verbose=False)
        >>> images.classes, len(images), images.skipped
        (('daisy', 'rose'), 633, (Skipped(path='flowers/rose/7.jpg', reason='Input is empty.'),))
    """
    found = class_files(folder)
    if empty := [name for name, files in found.items() if not files]:
        raise LiteError(f"Expected images in the folder of every class in {folder}. Received: none in {empty}")
    names = tuple(classes) if classes is not None else tuple(found)
    if len(names) < 2 or len(set(names)) < len(names):
        raise LiteError(f"Expected two classes or more, each a folder in {folder}. Received: {list(names)}")
    if unknown := sorted(set(found) - set(names)):
        raise LiteError(f"Expected folders of the classes {list(names)} in {folder}. Received: {unknown}")
    files = [(name, path) for name in names for path in found.get(name, ())]
    images = _of_files([path for _, path in files], [names.index(name) for name, _ in files], names)
    return _readable(images, [path for _, path in files], verbose) if check else images


def _of_files(files: Sequence[Path], labels: Sequence[int], classes: tuple[str, ...]) -> Images:
    paths = tf.constant([str(path) for path in files])
    content = lambda number: tf.io.read_file(paths[number])  # noqa: E731
    facts = [f"{path.name}\0{_size_and_time(path)}" for path in files]
    return Images(
        classes,
        np.array(labels, np.int64),
        lambda number: decode(content(number)),
        content=content,
        fingerprint=fingerprint(*classes, np.array(labels, np.int64), *facts),
    )


def _size_and_time(path: Path) -> tuple[int, int]:
    """What changes when a file does; a link to nowhere has neither."""
    try:
        facts = path.stat()
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _readable(images: Images, files: Sequence[Path], verbose: bool) -> Images:
    """The images that can be decoded, the others named."""
    looks = enumerate(each_image(lambda number: tf.shape(images.read(number)), len(images), verbose=verbose))
    wrong = {number: Skipped(str(files[number]), look) for number, look in looks if isinstance(look, str)}
    if not wrong:
        return images
    named = [f"{each.path}: {each.reason}" for each in wrong.values()]
    more = [f"and {len(named) - NAMED} more"] if len(named) > NAMED else []
    warnings.warn("\n  ".join([f"Images left out: {len(named)}", *named[:NAMED], *more]), stacklevel=3)
    kept = images.subset([number for number in range(len(images)) if number not in wrong])
    for label in np.setdiff1d(images.labels, kept.labels):
        first = next(each for number, each in wrong.items() if images.labels[number] == label)
        raise LiteError(
            f"Expected an image of {images.classes[label]!r} that can be read. Received: {first.path}: {first.reason}"
        )
    return replace(kept, skipped=tuple(wrong.values()))
