"""From pixels to the models' input, and from their output to class names."""

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from keras.applications import imagenet_utils

#: Mean and standard deviation of ImageNet's channels, for pixels in [0, 1]; all four papers use them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Evaluation:
    """How the authors prepare an image for evaluation.

    Attributes:
        size: side of the centre crop, the model's input.
        resize: what the short side is resized to before the crop.
        interpolation: of the resize.
    """

    size: int = 224
    resize: int = 256
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


def preprocess_input(x, data_format: str | None = None):
    """Scales pixels in [0, 255] to the zero mean and unit variance the models were trained with.

    Args:
        x: one image or a batch, RGB, uint8 or float.
        data_format: `"channels_last"` (the default; the models know no other) or `"channels_first"`.

    Returns:
        The scaled float32 pixels.

    Example:
        >>> preprocess_input(np.zeros((1, 224, 224, 3), "uint8"))[0, 0, 0].round(3)
        array([-2.118, -2.036, -1.804], dtype=float32)
    """
    if isinstance(x, np.ndarray):
        x = x.astype("float32")
    return imagenet_utils.preprocess_input(x, data_format=data_format or "channels_last", mode="torch")


def decode_predictions(preds, top: int = 5):
    """Names the `top` most probable ImageNet classes of every row of `preds`.

    The class names are Keras' own index file, downloaded on first use.

    Args:
        preds: probabilities, (batch, 1000).
        top: how many classes to return.

    Returns:
        For every image a list of (WordNet id, name, probability).
    """
    return imagenet_utils.decode_predictions(preds, top=top)


def preprocessing_layer() -> keras.layers.Layer:
    """`preprocess_input` as the first layer of a model, for pixels in [0, 255]."""
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset, name="preprocessing")
