"""Image files as a model takes them."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.preprocessing import preprocess_input

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})


def image_files(folder: str | Path) -> list[Path]:
    """The image files below a folder, in order.

    Args:
        folder: any depth of folders.

    Raises:
        LiteError: if it is no folder, or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LiteError(f"Expected a folder of images. Received: {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise LiteError(f"Expected images ({', '.join(sorted(SUFFIXES))}) in {folder}. Received: none")
    return files


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
    classes = sorted(path.name for path in Path(folder).iterdir() if path.is_dir()) if Path(folder).is_dir() else []
    for path in image_files(folder):
        name = path.relative_to(folder).parts[0]
        if name not in classes:
            raise LiteError(f"Expected a folder for every class in {folder}. Received: {path.name} beside them")
        yield read_image(path, shape, scale=scale), classes.index(name)
