"""Image files as a model takes them."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.preprocessing import preprocess_input

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"})


def image_files(folder: str | Path) -> list[Path]:
    """The image files below a folder, in order.

    Args:
        folder: any depth of folders.

    Raises:
        LiteError: if it is no folder, or holds none.
    """
    files = _below(Path(folder))
    if not files:
        raise LiteError(f"Expected images ({', '.join(sorted(SUFFIXES))}) in {folder}. Received: none")
    return files


def class_files(folder: str | Path) -> dict[str, list[Path]]:
    """The image files of every class, in order; a class is a folder with its name, and may be empty.

    Args:
        folder: the folder of folders. What is hidden in it, whose name begins with a dot, is left out.

    Raises:
        LiteError: if it is no folder, or holds no folders, or images beside them.
    """
    folders, classes = Path(folder), {}
    for path in sorted(folders.glob("[!.]*")):
        if path.is_dir():
            classes[path.name] = [file for file in _below(path) if not _is_hidden(file.relative_to(path))]
        elif path.suffix.lower() in SUFFIXES:
            raise LiteError(f"Expected a folder for every class in {folder}. Received: {path.name} beside them")
    if not classes:
        raise LiteError(f"Expected a folder of images for every class in {folder}. Received: no folder")
    return classes


def _below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise LiteError(f"Expected a folder of images. Received: {folder}")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_image(path: Path, shape: tuple[int, ...], *, scale: bool = True) -> np.ndarray:
    """An image, cut to the model's shape without distortion.

    Args:
        path: the file.
        shape: (height, width, channels).
        scale: whether to scale pixels to the zero mean and unit variance the models expect.

    Raises:
        LiteError: if it cannot be decoded.
    """
    try:
        image = keras.utils.load_img(path, target_size=shape[:2], interpolation="bicubic", keep_aspect_ratio=True)
    except Exception as error:  # whatever the decoder raises
        raise LiteError(f"Expected an image. Received: {path}: {error}") from error
    pixels = np.asarray(image, np.float32)
    return preprocess_input(pixels) if scale else pixels


def labelled_images(
    folder: str | Path, shape: tuple[int, ...], *, scale: bool = True
) -> Iterator[tuple[np.ndarray, int]]:
    """Pairs of image and class, from a folder with a folder for every class; classes count in the order of names.

    Args:
        folder: the folder of folders.
        shape: (height, width, channels).
        scale: as in `read_image`.
    """
    for label, files in enumerate(class_files(folder).values()):
        for path in files:
            yield read_image(path, shape, scale=scale), label
