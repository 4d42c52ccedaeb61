"""An image on its way into a model, and as people look at it."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_effvit.lite.graph import scales_pixels
from keras_effvit.preprocessing import IMAGENET_MEAN, IMAGENET_STD, preprocess_input


@dataclass(frozen=True)
class Picture:
    """An image twice.

    Attributes:
        given: as it goes into the model, (1, height, width, channels), float32.
        pixels: as people look at it, (height, width, 3), uint8.
    """

    given: np.ndarray
    pixels: np.ndarray


def picture_for(model: keras.Model, image: np.ndarray | str | Path) -> Picture:
    """Makes an image what a model takes.

    Args:
        model: with one input, of images.
        image: the path of an image file; or pixels, uint8, (height, width, 3) of any size: both are cut and scaled to
            the model's size, and scaled in value unless the model does that itself. Or floats, just as they go into the
            model.

    Raises:
        ValueError: if it is none of these, or does not fit.

    Example:
        >>> picture_for(keras_effvit.SepViTLite(), sample_image(480, 640)).given.shape
        (1, 224, 224, 3)
    """
    height, width, channels = _input(model).shape[1:]
    array = _read(Path(image)) if isinstance(image, (str, Path)) else np.asarray(image)
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    if array.ndim != 3 or array.shape[-1] != channels or array.dtype.kind not in "uif":
        raise ValueError(
            f"`image` must be a path, or one image (height, width, {channels}) of uint8 pixels or of floats. "
            f"Received: {array.dtype} of shape {array.shape}"
        )
    size = height or array.shape[0], width or array.shape[1]
    if array.dtype == np.uint8:
        pixels = _fit(array, size)
        given = pixels.astype("float32") if takes_pixels(model) or channels != 3 else preprocess_input(pixels)
    elif array.shape[:2] == size:
        given = array.astype("float32")
        pixels = _seen(given, scaled=not takes_pixels(model))
    else:
        raise ValueError(
            f"`image` of floats must be of the model's size {size}. Received: {array.shape[:2]}; "
            "pixels (uint8) are scaled to it"
        )
    return Picture(given[None], _in_colour(pixels))


def takes_pixels(model: keras.Model) -> bool:
    """Whether a model takes pixels in [0, 255] and scales them itself.

    Args:
        model: any model.
    """
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    layers = model._flatten_layers(include_self=False)
    return "int" in _input(model).dtype or scales_pixels(model) or any(isinstance(x, scaling) for x in layers)


def _input(model: keras.Model):
    inputs = getattr(model, "inputs", None)
    if not inputs or len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ValueError(
            f"Expected a model with one input, of images, that is known. Received: {model.name}, "
            f"a {type(model).__name__} with {[tuple(x.shape) for x in inputs or ()] or 'none'}"
        )
    return inputs[0]


def _read(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise ValueError(f"Expected an image file. Received: {path}: {error}") from error


def _fit(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cuts what sticks out in the middle of the other two sides, and scales the rest to (height, width)."""
    from PIL import Image, ImageOps

    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    planes = [
        np.asarray(ImageOps.fit(Image.fromarray(plane), (width, height), Image.Resampling.BICUBIC))
        for plane in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack(planes, axis=-1)


def _seen(given: np.ndarray, *, scaled: bool) -> np.ndarray:
    """What was given to the model, as pixels; of anything but three channels, its range is unknown."""
    if given.shape[-1] == 3 and scaled:
        given = 255 * (given * np.array(IMAGENET_STD) + IMAGENET_MEAN)
    elif given.shape[-1] != 3:
        low, high = given.min(), given.max()
        given = 255 * (given - low) / max(high - low, 1e-9)
    return np.clip(np.round(given), 0, 255).astype(np.uint8)


def _in_colour(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[-1] == 3:
        return pixels
    return np.repeat(pixels.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
