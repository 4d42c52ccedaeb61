"""Calibration: what a model's activations really are on images, from which static quantisation takes its ranges."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.images import image_files, read_image
from keras_effvit.lite.inspection import Inspection, layer_of
from keras_effvit.lite.runtime import Runner

Method = Literal["min_max", "moving_average", "percentile"]
#: Of the moving average: what an image adds.
MOMENTUM = 0.05
#: Of the method "percentile": what of an image's values stays inside, in percent.
PERCENTILE = 99.99
#: A range this many times wider than the values' usual size is reported.
OUTLIER = 20.0


@dataclass(frozen=True)
class Calibration:
    """Ranges of activations, and where they come from.

    Attributes:
        ranges: by tensor, (lowest, highest).
        method: how an image's extremes became a range; `"learnt"` in training.
        images: how many there were.
        fingerprint: of the images as they went into the model, preprocessing included.
        outliers: layers with a few values far beyond the others, which cost all others their precision:
            (layer, highest magnitude, usual magnitude), worst first.
    """

    ranges: dict[str, tuple[float, float]]
    method: Method | Literal["learnt"]
    images: int
    fingerprint: str
    outliers: tuple[tuple[str, float, float], ...]


def images_of(
    source: Any, shape: tuple[int, ...], *, limit: int = 256, seed: int = 0, scale: bool = True
) -> np.ndarray:
    """Images for calibration, as they go into the model.

    Args:
        source: an array (n, height, width, channels), a folder of image files, or anything that gives images or
            batches of them one after the other, such as a `tf.data.Dataset` (of pairs, the first counts).
        shape: (height, width, channels) the model takes.
        limit: how many images at most; of a folder, drawn by `seed`.
        seed: of that draw.
        scale: whether the pixels of image files are scaled as the models expect; not where the model does it.

    Raises:
        LiteError: if there are none, or they are of another shape, or not finite.

    Example:
        >>> images_of(numpy.zeros((8, 224, 224, 3)), (224, 224, 3)).shape
        (8, 224, 224, 3)
    """
    if isinstance(source, (str, Path)):
        files = image_files(source)
        chosen = np.random.default_rng(seed).permutation(len(files))[:limit]
        images = np.stack([read_image(files[index], shape, scale=scale) for index in chosen])
    elif isinstance(source, np.ndarray):
        images = source[:limit] if source.ndim == len(shape) + 1 else source[None]
    else:
        images = _stream(source, len(shape), limit)
    if len(images) == 0:
        raise LiteError("Expected images to calibrate with. Received: none")
    images = np.asarray(images)
    if images.shape[1:] != tuple(shape) or images.dtype.kind not in "iuf":
        raise LiteError(f"Expected images of shape {tuple(shape)}. Received: {images.dtype} of {images.shape[1:]}")
    images = images.astype(np.float32)
    if not np.isfinite(images).all():
        broken = int(np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))[0])
        raise LiteError(f"Expected finite values. Received: image {broken} with NaN or infinity")
    return images


def _stream(source: Iterable[Any], rank: int, limit: int) -> np.ndarray:
    images: list[np.ndarray] = []
    for item in source:
        batch = np.asarray(item[0] if isinstance(item, (tuple, list)) else item)
        images += [batch] if batch.ndim == rank else list(batch)
        if len(images) >= limit:
            break
    if len({image.shape for image in images}) > 1:
        raise LiteError(f"Expected images of one shape. Received: {sorted({image.shape for image in images})[:4]}")
    return np.stack(images[:limit]) if images else np.zeros((0,))


def calibrate(content: bytes, found: Inspection, images: np.ndarray, method: Method = "min_max") -> Calibration:
    """Runs a float file on images and notes the range of every activation.

    Args:
        content: the float file.
        found: of `inspect`.
        images: of `images_of`.
        method: `"min_max"` keeps every value inside; `"moving_average"` lets extremes of single images fade;
            `"percentile"` cuts off the rarest values.

    Raises:
        LiteError: for another method.
    """
    if method not in get_args(Method):
        raise LiteError(f"`method` must be one of {get_args(Method)}. Received: method={method!r}")
    runner = Runner(content, threads=2, keep_all=True)
    # Of what a loop hands on unchanged the runtime keeps no value, and nothing takes it.
    made = {index for each in found.operators if each.name != "WHILE" for index in each.outputs}
    indices = sorted((found.taken | made) - {index for index, tensor in enumerate(found.tensors) if tensor.bytes})
    indices = [index for index in indices if found.tensors[index].type == "FLOAT32" and index not in found.idle]
    lows, highs, usual = ({} for _ in range(3))
    for number, image in enumerate(_batches(images, runner.inputs[0]["shape"][0])):
        runner(image)
        for index in indices:
            low, high, size = _extremes(runner.tensor(index), method)
            lows[index] = _merge(lows.get(index), low, method, min)
            highs[index] = _merge(highs.get(index), high, method, max)
            usual[index] = usual.get(index, 0.0) + (size - usual.get(index, 0.0)) / (number + 1)
    for index, source in found.idle.items():
        lows[index], highs[index] = lows[source], highs[source]
    outliers = [
        (layer_of(found.tensors[index].name), max(-lows[index], highs[index]), usual[index])
        for index in usual
        if max(-lows[index], highs[index]) > OUTLIER * usual[index] > 0
    ]
    return Calibration(
        ranges={found.tensors[index].name: (lows[index], highs[index]) for index in lows},
        method=method,
        images=len(images),
        fingerprint=hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:16],
        outliers=tuple(sorted(outliers, key=lambda entry: -entry[1] / entry[2])),
    )


def _batches(images: np.ndarray, size: int) -> Iterable[np.ndarray]:
    """Whole batches; the last is filled up with its own images."""
    for start in range(0, len(images), size):
        yield np.resize(images[start : start + size], (size, *images.shape[1:]))


def _extremes(values: np.ndarray, method: Method) -> tuple[float, float, float]:
    """Lowest and highest value that count, and the root of the mean square."""
    flat = values.reshape(-1)
    usual = float(np.sqrt(np.mean(np.square(flat, dtype=np.float64))))
    if method != "percentile" or flat.size < 1000:
        return float(flat.min()), float(flat.max()), usual
    cut = int(flat.size * (1 - PERCENTILE / 100))
    ordered = np.partition(flat, [cut, flat.size - 1 - cut])
    return float(ordered[cut]), float(ordered[flat.size - 1 - cut]), usual


def _merge(before: float | None, now: float, method: Method, extreme: Any) -> float:
    if before is None:
        return now
    return extreme(before, now) if method == "min_max" else (1 - MOMENTUM) * before + MOMENTUM * now
