"""Runs a model or a `.tflite` file over scenes, and measures what it says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.lite.graph import scales_pixels
from keras_effvit.lite.metadata import read_metadata, wants_scaled
from keras_effvit.lite.runtime import Runner
from keras_effvit.preprocessing import preprocess_input
from keras_effvit.tasks.changes import fitted
from keras_effvit.tasks.decoding import decode_detections, decode_yolox
from keras_effvit.tasks.fusion import fuse
from keras_effvit.tasks.metrics import (
    AveragePrecision,
    Overlap,
    PanopticQuality,
    average_precision,
    overlap,
    panoptic_quality,
)
from keras_effvit.tasks.metrics.coco_ap import Kind
from keras_effvit.tasks.samples import Detections, Scene, Scenes, Segments, panoptic

#: Images as a model takes them -> its outputs by name.
Predict = Callable[[np.ndarray], dict[str, np.ndarray]]
#: Outputs by name, (height, width) -> what was found in every image.
Decode = Callable[[dict[str, np.ndarray], tuple[int, int]], list[Detections]]
#: Things with masks, the semantic head's class of every pixel, `things=`, `stuff=` -> segments.
Fuse = Callable[..., Segments]
#: Scenes that go through a model at once.
BATCH = 16


class Predictor:
    """A model or a file as one function from pixels to outputs.

    Args:
        model: a Keras model of this package, or the content or path of a file made of one.
        scale: whether it wants pixels scaled; models and files of ours know, another file is taken to want it.

    Attributes:
        size: height and width of its images.

    Example:
        >>> Predictor("segmenter.tflite")(np.zeros((1, 128, 128, 3), np.uint8))["logits"].shape
        (1, 128, 128, 10)
    """

    def __init__(self, model: keras.Model | bytes | str | Path, *, scale: bool | None = None):
        if isinstance(model, (bytes, str, Path)):
            content = model if isinstance(model, bytes) else Path(model).read_bytes()
            self.scale = wants_scaled(read_metadata(content)) if scale is None else scale
            runner = Runner(content)
            shape = tuple(map(int, runner.inputs[0]["shape"]))
            self._predict = _of_file(runner)
        else:
            self.scale = not scales_pixels(model) if scale is None else scale
            shape = model.inputs[0].shape
            self._predict = _of_model(model)
        self.size: tuple[int, int] = (shape[1], shape[2])

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        images = pixels.astype(np.float32)
        return self._predict(preprocess_input(images) if self.scale else images)


def segmented(predictor: Predictor, scenes: Scenes) -> Iterator[tuple[Scene, np.ndarray]]:
    """Scenes in the model's size, and the class of every pixel, int32.

    Args:
        predictor: of a segmenter.
        scenes: of any size.
    """
    for batch in _fitted(scenes, predictor.size):
        outputs = predictor(np.stack([scene.image for scene in batch]))
        logits = outputs["logits"] if "logits" in outputs else next(iter(outputs.values()))
        yield from zip(batch, _classes(logits, predictor.size), strict=True)


def detected(predictor: Predictor, scenes: Scenes, decode: Decode = decode_yolox) -> Iterator[tuple[Scene, Detections]]:
    """Scenes in the model's size, and what was found in them.

    Args:
        predictor: of a detector.
        scenes: of any size.
        decode: from its raw heads to boxes.
    """
    for batch in _fitted(scenes, predictor.size):
        outputs = predictor(np.stack([scene.image for scene in batch]))
        yield from zip(batch, decode(outputs, predictor.size), strict=True)


def parted(predictor: Predictor, scenes: Scenes, fuse: Fuse = fuse) -> Iterator[tuple[Scene, Segments]]:
    """Scenes in the model's size, and the segments that they were parted into.

    Args:
        predictor: of a model of things and stuff.
        scenes: of any size, their semantic classes beginning with those of things.
        fuse: from things and stuff to segments.

    Raises:
        ValueError: if the model has no semantic head, or one for other classes.
    """
    things, stuff = len(scenes.classes), len(scenes.semantic_classes) - len(scenes.classes)
    for batch in _fitted(scenes, predictor.size):
        outputs = predictor(np.stack([scene.image for scene in batch]))
        logits = outputs.get("semantic")
        if logits is None or logits.shape[-1] != stuff + 1:
            received = sorted(outputs) if logits is None else f"{logits.shape[-1]} classes"
            raise ValueError(
                f"Expected an output 'semantic' of {stuff} classes of stuff and one of things. Received: {received}"
            )
        classes = _classes(logits, predictor.size)
        for scene, found, semantic in zip(batch, decode_detections(outputs, predictor.size), classes, strict=True):
            yield scene, fuse(found, semantic, things=things, stuff=stuff)


def measure_segmenter(model: keras.Model | bytes | str | Path, scenes: Scenes) -> Overlap:
    """How well a segmenter does, in the model's own size.

    Args:
        model: as of `Predictor`.
        scenes: with semantic maps.

    Raises:
        ValueError: if scenes have none.

    Example:
        >>> measure_segmenter("segmenter.tflite", drawn_scenes(200, seed=1)).mean
        0.91
    """
    if not scenes.semantic_classes:
        raise ValueError("Expected scenes with semantic maps. Received: scenes without")
    pairs = ((np.asarray(scene.semantic), found) for scene, found in segmented(Predictor(model), scenes))
    return overlap(pairs, len(scenes.semantic_classes))


def measure_detector(
    model: keras.Model | bytes | str | Path, scenes: Scenes, decode: Decode = decode_yolox, *, kind: Kind = "boxes"
) -> AveragePrecision:
    """How well a detector does; sizes of things are those in the model's own pixels.

    Args:
        model: as of `Predictor`.
        scenes: with boxes, or masks.
        decode: from its outputs to boxes; `decode_detections` where it ends in boxes, as a two-stage model does.
        kind: whether boxes or masks are to overlap.

    Raises:
        ValueError: if masks are to overlap where there are none.

    Example:
        >>> measure_detector("detector.tflite", drawn_scenes(200, seed=1)).ap50
        0.93
        >>> of_masks = measure_detector(mask_rcnn, drawn_scenes(200, seed=1), decode_detections, kind="masks")
    """
    return average_precision(detected(Predictor(model), scenes, decode), len(scenes.classes), kind=kind)


def measure_panoptic(model: keras.Model | bytes | str | Path, scenes: Scenes, fuse: Fuse = fuse) -> PanopticQuality:
    """How well a model parts scenes into things and stuff, in the model's own size.

    Args:
        model: as of `Predictor`, of `PanopticFPN`.
        scenes: with masks and semantic maps whose classes begin with those of things.
        fuse: from things and stuff to segments. Of small images less stuff is enough than `fusion.fuse` wants:
            `functools.partial(fuse, least_stuff=64)`.

    Raises:
        ValueError: if scenes have none, or the model does not fit them.

    Example:
        >>> quality = measure_panoptic(model, drawn_scenes(200, seed=1), partial(fuse, least_stuff=64))
        >>> quality.mean, quality.mean_of_things, quality.mean_of_stuff
    """
    things, classes = len(scenes.classes), len(scenes.semantic_classes)
    if not things or scenes.semantic_classes[:things] != scenes.classes:
        raise ValueError(
            f"Expected scenes whose semantic classes begin with those of things, {scenes.classes}. "
            f"Received: {scenes.semantic_classes}"
        )
    pairs = ((panoptic(scene, things), found) for scene, found in parted(Predictor(model), scenes, fuse))
    return panoptic_quality(pairs, classes, things)


def _fitted(scenes: Scenes, size: tuple[int, int]) -> Iterator[list[Scene]]:
    for start in range(0, len(scenes), BATCH):
        yield [fitted(scenes[place], size) for place in range(start, min(start + BATCH, len(scenes)))]


def _classes(logits: Any, size: tuple[int, int]) -> np.ndarray:
    """The likeliest class of every pixel, int32; logits of a coarser map are resized, bilinear."""
    if tuple(logits.shape[1:3]) != size:
        logits = keras.ops.image.resize(logits, size, interpolation="bilinear")
    return np.asarray(logits).argmax(axis=-1).astype(np.int32)


def _of_model(model: keras.Model) -> Predict:
    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        outputs: Any = model.predict_on_batch(images)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    return predict


def _of_file(runner: Runner) -> Predict:
    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        each = [runner(image[None]) for image in images]
        return {name: np.concatenate([outputs[name] for outputs in each]) for name in each[0]}

    return predict
