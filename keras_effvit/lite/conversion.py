"""Keras -> `.tflite`, proven: exported, quantised by a recipe, held against the Keras model, then given out."""

import datetime
import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.atomic import replacing, write_json
from keras_effvit.lite.calibration import Calibration, Method, calibrate, images_of
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.choice import Choice
from keras_effvit.lite.comparison import Parity, file_outputs, keras_outputs, measure, walk
from keras_effvit.lite.delegates import HIGHEST_RANK
from keras_effvit.lite.exporting import export_float, in_float32, output_names
from keras_effvit.lite.graph import layer_names, scales_pixels
from keras_effvit.lite.inspection import Inspection, inspect
from keras_effvit.lite.markers import learnt_ranges, take_ranges
from keras_effvit.lite.metadata import attach_metadata
from keras_effvit.lite.number_types import NumberType, open_doors, set_number_types
from keras_effvit.lite.quantization import quantize
from keras_effvit.lite.quantize_aware import recipe_of
from keras_effvit.lite.recipe import Recipe, load_recipe
from keras_effvit.lite.rewriting import spread_scales

#: A float file that is further from Keras than this is wrong, not imprecise.
FLOAT_TOLERANCE = 1e-3
#: A quantised file that is noisier than this is of no use to anyone.
LEAST_SNR_DB = 10.0
#: Integers cannot stand for less: without training, EfficientViT's signal dies away to nothing.
LEAST_OUTPUT = 1e-9
#: Images of calibration that parity is measured on.
PARITY_IMAGES = 16


@dataclass(frozen=True)
class Converted:
    """A file that was measured against its Keras model.

    Attributes:
        content: the file.
        manifest: what it is, where it comes from, how it was made, what was measured.
        parity: how close it is to the Keras model.
        inspection: what is in it.
    """

    content: bytes
    manifest: dict[str, Any]
    parity: Parity
    inspection: Inspection

    def save(self, path: str | Path) -> Path:
        """Writes the file, and its manifest beside it as `<name>.manifest.json`; each whole or not at all.

        Args:
            path: of the `.tflite` file.

        Returns:
            The path.
        """
        path = Path(path)
        with replacing(path) as temporary:
            temporary.write_bytes(self.content)
        write_json(path.with_suffix(".manifest.json"), self.manifest)
        return path

    def save_artifacts(self, folder: str | Path) -> Path:
        """Writes `<folder>/<model>/<precision>/model.tflite` with `manifest.json` and `inspection.json` beside it.

        What measures the file adds to that place, and a report is made of it.

        Args:
            folder: of all artifacts.

        Returns:
            The path of the `.tflite` file.
        """
        place = Path(folder) / self.manifest["model"] / self.manifest["precision"]
        place.mkdir(parents=True, exist_ok=True)
        with replacing(place / "model.tflite") as temporary:
            temporary.write_bytes(self.content)
        write_json(place / "manifest.json", self.manifest)
        write_json(place / "inspection.json", self.inspection.to_json())
        return place / "model.tflite"


def convert(
    model: keras.Model,
    precision: str | Path | Recipe | None = None,
    *,
    calibration: Any = None,
    method: Method = "min_max",
    batch: int = 1,
    image_shape: tuple[int, int, int] | None = None,
    islands: Sequence[str] = (),
    labels: Sequence[str] | None = None,
    input_type: NumberType = "float32",
    output_type: NumberType = "float32",
) -> Converted:
    """Converts a model to a `.tflite` file that runs as one XNNPACK partition, and proves it.

    Args:
        model: a functional model with one input: of the zoo, or of your own made of our layers; or what
            `quantize_aware` made of one, whose ranges were learnt and need no images. What a detector ends in,
            `tasks.with_detections`, stays in float.
        precision: `"float32"` (the default), `"float16"`, `"dynamic"`, `"int8"`, `"int8_full"`, `"int16x8"`, or the
            path of a recipe; of what `quantize_aware` made it is settled already.
        calibration: images for the ranges of static quantisation: an array, a folder, or a `tf.data.Dataset`. A few
            hundred like those the app will see.
        method: `"min_max"`, `"moving_average"` or `"percentile"`.
        batch: images at a time.
        image_shape: (height, width, channels), where the model leaves them open.
        islands: regular expressions of layers' paths to leave in float, such as `"stage4"`.
        labels: names of the classes, to travel in the file.
        input_type: of the file's input: `"float32"`, or `"int8"` or `"uint8"` over the range of the images.
        output_type: the same of its outputs.

    Returns:
        The file, what it is, and how close it is.

    Raises:
        LiteError: a ValueError, if the model has what LiteRT has not, or the file does not do what the model does.

    Example:
        >>> converted = convert(SepViTLite(classifier_activation=None), "int8", calibration=images)
        >>> converted.save("sepvit_lite.tflite")
        >>> converted.inspection.partitions, len(converted.inspection.outside)
        (1, 0)
    """
    learnt = recipe_of(model)
    recipe = _choose(precision, learnt, model).with_islands(islands)
    exact = in_float32(model)
    choice, without = Choice.of(exact), recipe
    recipe = choice.in_float(recipe, output_type) if choice else recipe
    _check_labels(exact, labels)
    layers = layer_names(exact)
    content = export_float(exact, batch=batch, image_shape=image_shape, hard_swish=recipe.hard_swish)
    marked: dict[str, tuple[float, float]] = {}
    if learnt is not None:
        content, marked = take_ranges(content)
    found = inspect(content, layers=layers)
    check_structure(found, exact)
    images, given = images_for(calibration, recipe, exact, found)
    reference = _Reference(exact, images[:PARITY_IMAGES])
    if learnt is None:
        parity = reference.check(content, found, lambda parity: parity.relative_error <= FLOAT_TOLERANCE)
    ranges = None if learnt is None else learnt_ranges(found, marked)
    if recipe.in_integers:
        content = spread_scales(content, ranges and ranges.ranges)
        found = inspect(content, layers=layers)
    if recipe.needs_calibration and ranges is None:
        ranges = calibrate(content, found, images, method)
    content = quantize(content, found, recipe, ranges)
    content = _with_doors(content, recipe, reference, images, input_type, output_type)
    if recipe.rules or (input_type, output_type) != ("float32", "float32"):
        # Run it there first: a kernel that does not like its operands takes the process down.
        found = inspect(content, layers=layers, invoke=recipe.in_integers)
        if choice is None:
            parity = reference.check(content, found, lambda parity: parity.snr_db >= LEAST_SNR_DB)
        else:
            before = convert(choice.before, without, calibration=images, method=method, input_type=input_type)
            choice.check(before.content, content, reference.images)
            parity = before.parity
    if recipe.one_partition:
        _warn_of_what_is_outside(found, exact)
    facts = _manifest(exact, recipe, found, parity, labels, ranges, calibrated=given)
    content = attach_metadata(content, facts)
    manifest = {**facts, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return Converted(content, manifest, parity, found)


def _with_doors(
    content: bytes,
    recipe: Recipe,
    reference: "_Reference",
    images: np.ndarray,
    input_type: NumberType,
    output_type: NumberType,
) -> bytes:
    content = set_number_types(
        content,
        input_type=input_type,
        output_type=output_type,
        input_range=(0.0, 255.0) if scales_pixels(reference.model) else (float(images.min()), float(images.max())),
        output_ranges={name: (float(x.min()), float(x.max())) for name, x in reference.outputs.items()},
    )
    return open_doors(content) if recipe.in_integers else content


def _choose(precision: str | Path | Recipe | None, learnt: Recipe | None, model: keras.Model) -> Recipe:
    if learnt is None:
        return load_recipe("float32" if precision is None else precision)
    if precision is not None and load_recipe(precision).name != learnt.name:
        raise LiteError(
            f"{model.name} was trained for {learnt.name}. Received: precision={str(precision)!r}; `restore_weights` "
            "brings its weights into a model that can become anything"
        )
    return learnt


class _Reference:
    """What the Keras model gives for some images, to hold files against."""

    def __init__(self, model: keras.Model, images: np.ndarray):
        self.model, self.images = model, images
        self.outputs = keras_outputs(model, images, output_names(model))

    def check(self, content: bytes, found: Inspection, good_enough: Callable[[Parity], bool]) -> Parity:
        """The file's parity; refuses the file when that is not good enough, naming the first layer that diverges."""
        parity = measure(self.outputs, file_outputs(content, self.images))
        if good_enough(parity):
            return parity
        largest = max(float(np.abs(value).max()) for value in self.outputs.values())
        if largest < LEAST_OUTPUT:
            warnings.warn(
                f"The outputs of {self.model.name} are all but zero (at most {largest:.1g}), as those of an untrained "
                "model can be; how close the file is to it means nothing.",
                stacklevel=4,
            )
            return parity
        errors = walk(self.model, content, self.images[0], found)
        first = next((error for error in errors if error.snr_db < LEAST_SNR_DB), None)
        where = f" The first layer to diverge is {first.layer!r} ({first.snr_db:.1f} dB)." if first else ""
        raise LiteError(
            f"The file does not do what {self.model.name} does: {parity.snr_db:.1f} dB, relative error "
            f"{parity.relative_error:.2g}. Nothing was written.{where} `islands` leaves layers in float"
        )


def _check_labels(model: keras.Model, labels: Sequence[str] | None) -> None:
    if labels is None:
        return
    classes = keras.tree.flatten(model.output)[0].shape[-1]
    if len(labels) != classes:
        raise LiteError(f"Expected {classes} labels, one for every class. Received: {len(labels)}")


def check_structure(found: Inspection, model: keras.Model) -> None:
    """Refuses what no partition can hold.

    Args:
        found: of the float file.
        model: it was made of.

    Raises:
        LiteError: naming the operator, the tensor or the layer.
    """
    if found.custom:
        raise LiteError(
            f"Expected builtin operators. Received: {', '.join(f'{o.name} in {o.layer!r}' for o in found.custom[:5])}"
        )
    if found.dynamic:
        raise LiteError(f"Expected sizes that are known. Received: {found.dynamic[0].name} of {model.name}")
    if found.highest_rank > HIGHEST_RANK:
        layer = next(
            operator.layer
            for operator in found.operators
            if any(len(found.tensors[index].shape) > HIGHEST_RANK for index in operator.outputs)
        )
        raise LiteError(
            f"Expected at most {HIGHEST_RANK} dimensions. Received: {found.highest_rank} in layer {layer!r}"
        )


def images_for(source: Any, recipe: Recipe, model: keras.Model, found: Inspection) -> tuple[np.ndarray, bool]:
    """The images to calibrate and to compare with, and whether the caller gave any.

    Args:
        source: of `images_of`, or `None` for noise.
        recipe: that may need ranges, of which noise is a poor source; the caller's caller is warned.
        model: whose input they are.
        found: of its float file.
    """
    shape = found.tensors[next(iter(found.inputs.values()))].shape[1:]
    if source is not None:
        return images_of(source, shape, scale=not scales_pixels(model)), True
    if recipe.needs_calibration and recipe_of(model) is None:
        warnings.warn(
            f"{recipe.name} without calibration: the ranges of activations are taken from noise, and images outside of "
            "them will be clipped. Give `calibration` a few hundred images like those the app will see.",
            stacklevel=3,
        )
    noise = np.random.default_rng(0).standard_normal((PARITY_IMAGES, *shape)).astype(np.float32)
    if scales_pixels(model):
        noise = np.clip(128 + 64 * noise, 0, 255)
    return noise, False


def _warn_of_what_is_outside(found: Inspection, model: keras.Model) -> None:
    if found.partitions != 1 or found.outside:
        outside = ", ".join(f"{operator.name} in {operator.layer!r}" for operator in found.outside[:5])
        warnings.warn(
            f"{model.name} runs in {found.partitions} XNNPACK partitions with {len(found.outside)} operators outside"
            + (f": {outside}" if outside else ""),
            stacklevel=3,
        )


def _manifest(
    model: keras.Model,
    recipe: Recipe,
    found: Inspection,
    parity: Parity,
    labels: Sequence[str] | None,
    ranges: Calibration | None,
    *,
    calibrated: bool,
) -> dict[str, Any]:
    from keras_effvit.preprocessing import IMAGENET_MEAN, IMAGENET_STD

    inside = scales_pixels(model)
    image = found.tensors[next(iter(found.inputs.values()))]
    return {
        "model": model.name,
        "precision": recipe.name,
        "recipe": recipe.to_json(),
        "input": {"name": "image", "shape": image.shape, "type": image.type},
        "outputs": {
            name: {"shape": found.tensors[index].shape, "type": found.tensors[index].type}
            for name, index in found.outputs.items()
        },
        "preprocessing": {
            "channels": "RGB",
            "pixels": [0, 255],
            "mean": None if inside else [255 * mean for mean in IMAGENET_MEAN],
            "std": None if inside else [255 * std for std in IMAGENET_STD],
        },
        "labels": None if labels is None else list(labels),
        "parity": asdict(parity),
        "calibration": ranges
        and {
            "images": ranges.images if calibrated else 0,
            "method": ranges.method,
            "fingerprint": ranges.fingerprint,
            "outliers": ranges.outliers[:10],
        },
        "xnnpack": {"partitions": found.partitions, "outside": [operator.name for operator in found.outside]},
        "islands": dict(Counter(operator.name for operator in found.islands)),
        "number_types": dict(Counter(found.tensors[operator.outputs[0]].type for operator in found.operators)),
        "made_with": {
            name: version(name)
            for name in ("keras_effvit", "keras", "tensorflow", "ai-edge-litert", "ai-edge-quantizer")
        },
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
