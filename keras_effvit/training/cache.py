"""Decoded images, kept in memory or in a file, so that every epoch but the first spares itself the decoding."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_effvit.atomic import replacing, write_json
from keras_effvit.lite.child import LiteError
from keras_effvit.training.decoding import each_image
from keras_effvit.training.images import Images


def cached(images: Images, where: str | Path = "memory", *, verbose: bool = True) -> Images:
    """The same images, all decoded once, now.

    Args:
        images: of any sizes.
        where: `"memory"`, or the path of a file. The file is used again for the same images, and made anew for others;
            another one beside it, with `.json` after its name, says what is in it.
        verbose: whether to show a progress bar.

    Raises:
        LiteError: if an image cannot be read, or the file is there and no cache.
        ValueError: if a file is asked for, and the images have no fingerprint to know them by.

    Example:
        >>> images = cached(image_folder("flowers"), "flowers.cache")
    """
    look = _in_memory(images, verbose) if where == "memory" else _in_file(images, Path(where), verbose)

    def read(number: tf.Tensor | int) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(look, [number], tf.uint8, stateful=False), (None, None, 3))

    return replace(images, read=read)


def _in_memory(images: Images, verbose: bool) -> Callable[[np.ndarray], np.ndarray]:
    held = list(_decoded(images, verbose))
    return lambda number: held[int(number)]


def _in_file(images: Images, path: Path, verbose: bool) -> Callable[[np.ndarray], np.ndarray]:
    if not images.fingerprint:
        raise ValueError("`images` must have a fingerprint to be known again in a file. Received: none")
    about = path.with_name(f"{path.name}.json")
    facts = _facts(about) if about.exists() or path.exists() else {}
    sizes = _sizes(facts, path, images)
    if sizes is None:
        sizes = _write(images, path, about, verbose)
    ends = np.cumsum(sizes.prod(axis=1))
    pixels = np.memmap(path, np.uint8, "r")

    def look(number: np.ndarray) -> np.ndarray:
        size, end = sizes[int(number)], ends[int(number)]
        return np.array(pixels[end - size.prod() : end]).reshape(size)

    return look


def _facts(about: Path) -> dict[str, Any]:
    """What is said of a file that is there: a cache of ours, or a user's that is not to be written over."""
    try:
        facts = json.loads(about.read_text())
        return {"fingerprint": str(facts["fingerprint"]), "sizes": np.array(facts["sizes"], np.int64).reshape(-1, 3)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise LiteError(f"Expected a cache of images, or no file. Received: {about}: {error!r}") from error


def _sizes(facts: dict[str, Any], path: Path, images: Images) -> np.ndarray | None:
    """(images, 3) if the file has these images, and all of them."""
    if facts.get("fingerprint") != images.fingerprint or not path.exists():
        return None
    sizes = facts["sizes"]
    return sizes if len(sizes) == len(images) and sizes.prod(axis=1).sum() == path.stat().st_size else None


def _write(images: Images, path: Path, about: Path, verbose: bool) -> np.ndarray:
    sizes = []
    write_json(about, {"fingerprint": "", "sizes": []})  # no longer of what is there now
    with replacing(path) as temporary, temporary.open("wb") as file:
        for image in _decoded(images, verbose):
            file.write(image.data)
            sizes.append(image.shape)
    write_json(about, {"fingerprint": images.fingerprint, "sizes": sizes})
    return np.array(sizes, np.int64)


def _decoded(images: Images, verbose: bool) -> Iterator[np.ndarray]:
    for number, image in enumerate(each_image(images.read, len(images), verbose=verbose)):
        if isinstance(image, str):
            raise LiteError(f"Expected images that can be read. Received: number {number}: {image}")
        yield image
