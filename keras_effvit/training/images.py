"""Labelled images known by number, wherever they lie."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Skipped:
    """An image that is left out.

    Attributes:
        path: where it lies.
        reason: why it cannot be used.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Images:
    """Labelled images known by number: only their labels are in memory, unless they came as arrays.

    Attributes:
        classes: names, sorted where they come from folders; a label counts in them.
        labels: (images,) int64.
        read: the pixels of an image, uint8 (height, width, 3), for its number: a scalar int64 tensor. It runs in a
            graph of TensorFlow.
        skipped: what was left out, and why.
        content: the file of an image, encoded, for its number; nothing where there are none.
        fingerprint: the same for the same images in the same order, and hardly ever for others.

    Example:
        >>> images = arrays(np.zeros((6, 32, 32, 3), "uint8"), [0, 0, 0, 1, 1, 1], classes=["cat", "dog"])
        >>> train, val = images.split(1 / 3)
        >>> len(train), len(val), val.labels
        (4, 2, array([0, 1]))
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    read: Callable[[tf.Tensor | int], tf.Tensor]
    skipped: tuple[Skipped, ...] = ()
    content: Callable[[tf.Tensor | int], tf.Tensor] | None = None
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, numbers: Sequence[int] | np.ndarray) -> "Images":
        """Some of the images, in the order given.

        Args:
            numbers: of the images to keep.

        Raises:
            ValueError: if an image of that number does not exist.
        """
        chosen = np.asarray(numbers, np.int64)
        if chosen.ndim != 1 or (chosen < 0).any() or (chosen >= len(self)).any():
            raise ValueError(f"`numbers` must be a list of numbers in [0, {len(self)}). Received: numbers={numbers}")

        def of_chosen(function: Callable[[tf.Tensor | int], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
            return lambda number: function(tf.constant(chosen)[number])

        return replace(
            self,
            labels=self.labels[chosen],
            read=of_chosen(self.read),
            content=of_chosen(self.content) if self.content else None,
            fingerprint=fingerprint(self.fingerprint, chosen),
        )

    def split(self, share: float, seed: int = 0) -> tuple["Images", "Images"]:
        """Divides the images so that every class is divided alike.

        Args:
            share: of every class that goes to the second part, rounded, but at least one image and never all.
            seed: decides which.

        Returns:
            The larger part for training, the `share` for validation; both in the images' order.

        Raises:
            ValueError: if the share is not between 0 and 1, or a class has only one image.
        """
        if not 0 < share < 1:
            raise ValueError(f"`share` must be between 0 and 1. Received: share={share}")
        generator = np.random.default_rng(seed)
        taken = np.zeros(len(self), bool)
        for label in np.unique(self.labels):
            numbers = np.flatnonzero(self.labels == label)
            if len(numbers) < 2:
                raise ValueError(
                    f"Expected two images or more of every class, to divide. Received: one of {self.classes[label]!r}"
                )
            count = min(max(round(share * len(numbers)), 1), len(numbers) - 1)
            taken[generator.permutation(numbers)[:count]] = True
        return self.subset(np.flatnonzero(~taken)), self.subset(np.flatnonzero(taken))


def arrays(images: np.ndarray, labels: Sequence[int] | np.ndarray, classes: Sequence[str] | None = None) -> Images:
    """Images that are in memory already.

    Args:
        images: uint8, (images, height, width, 3), or (images, height, width) or (images, height, width, 1) if grey.
        labels: a whole number for every image.
        classes: their names; the labels' own numbers if not given.

    Raises:
        ValueError: if shapes, types or numbers do not fit.

    Example:
        >>> arrays(np.zeros((2, 8, 8), "uint8"), [0, 1]).classes
        ('0', '1')
    """
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8:
        raise ValueError(f"`images` must be uint8, 0 to 255. Received: {pixels.dtype}")
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or 0 in pixels.shape:
        raise ValueError(f"`images` must be of shape (images, height, width, 3). Received: {np.shape(images)}")
    numbers = _labels(labels, len(pixels))
    names = tuple(classes) if classes is not None else tuple(map(str, range(int(numbers.max()) + 1)))
    if len(set(names)) < len(names) or numbers.max() >= len(names):
        raise ValueError(
            f"`classes` must have a name of its own for every label to {numbers.max()}. Received: classes={names}"
        )
    with tf.device("CPU:0"):  # where the pipeline runs; a GPU's memory is not for data sets
        held = tf.constant(pixels)

    def read(number: tf.Tensor | int) -> tf.Tensor:
        image = tf.gather(held, number)
        return tf.repeat(image, 3, axis=-1) if pixels.shape[-1] == 1 else image

    return Images(names, numbers, read, fingerprint=fingerprint(*names, numbers, pixels))


def fingerprint(*parts: str | np.ndarray) -> str:
    """A short name for some words and arrays.

    Args:
        parts: in their order.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0" if isinstance(part, str) else np.ascontiguousarray(part).data)
    return digest.hexdigest()[:16]


def _labels(labels: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    numbers = np.asarray(labels)
    if numbers.shape != (count,) or not np.issubdtype(numbers.dtype, np.integer) or (numbers < 0).any():
        raise ValueError(
            f"`labels` must be {count} whole numbers from 0 on, one for every image. "
            f"Received: shape {numbers.shape}, {numbers.dtype}"
        )
    return numbers.astype(np.int64)
