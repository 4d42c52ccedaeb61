"""Which part of an image speaks for a class: Grad-CAM, Grad-CAM++, Score-CAM and saliency."""

import difflib
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.explain.pictures import picture_for
from keras_effvit.explain.steps import Program, program_of
from keras_effvit.explain.vis import MAP, Symbols, model_around, tf_keras_vis
from keras_effvit.lite.exporting import in_float32

METHODS = ("gradcam", "gradcam++", "scorecam", "saliency", "smoothgrad")
#: Methods that ask the image's pixels, not a map.
OF_PIXELS = ("saliency", "smoothgrad")
#: How often SmoothGrad looks at the image with noise, and how much of it, over the range of the image.
SAMPLES, NOISE = 25, 0.2
#: Single pixels stand out by far: what this percentage of them stays under is as hot as can be.
HOTTEST = 99.5
#: Pixels that a map has on its shorter side, at least, if nobody asks for it by name.
FINE = 4
#: Images that go through a model at once.
BATCH = 5
#: The end of a branch of a block in all families, the last of which goes on to the next block.
_BLOCK = re.compile(r"(^|/)stage\d+_block\d+(_\w+)?_add(\.add)?$")


@dataclass(frozen=True)
class Heatmap:
    """Where in an image there is something that speaks for a class.

    Attributes:
        heat: (height, width) of the image as the model sees it, float32; 1 where it is hottest, 0 where there is none.
        raw: what the method gave, before it was scaled in size and value.
        target: number of the class.
        score: the class' logit.
        probability: the class' share of a softmax over all logits.
        method: one of `METHODS`.
        layer: the layer whose map was asked; `None` for methods that ask the pixels.
        pixels: the image, (height, width, 3), uint8.
    """

    heat: np.ndarray
    raw: np.ndarray
    target: int
    score: float
    probability: float
    method: str
    layer: str | None
    pixels: np.ndarray


def heatmap(
    model: keras.Model,
    image: np.ndarray | str | Path,
    method: str = "gradcam",
    *,
    target: int | None = None,
    layer: str | None = None,
    channels: int | None = None,
) -> Heatmap:
    """Which part of an image speaks for a class.

    Args:
        model: a functional classifier: any of the package's, or of yours, in any precision.
        image: a path, pixels (uint8, of any size), or floats as they go into the model.
        method: one of `METHODS`. The first two ask how the class' logit changes with a map, Score-CAM what the class
            becomes when only a channel's part of the image is shown, `"saliency"` how the logit changes with every
            pixel, `"smoothgrad"` the same in noise.
        target: number of the class; the most probable one by default.
        layer: whose map is asked; one of `map_layers`. By default that of the last block with at least 4 x 4 pixels: in
            an image of 224 pixels, the last of all.
        channels: how many of the map's channels Score-CAM tries, those that vary most; by default all of them.

    Raises:
        ValueError: for an image, a method, a class or a layer that does not exist, or a model that is no classifier.

    Example:
        >>> found = heatmap(model, sample_image(), "gradcam++", target=3)
        >>> found.heat.shape, found.layer
        ((224, 224), 'stage4_block2_mlp_add')
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")
    picture = picture_for(model, image)
    program = program_of(in_float32(model))
    logits, maps, symbols = _look(program, picture.given)
    target = _target(target, logits)
    cut = None if method in OF_PIXELS else _cut(maps, layer)
    around = model_around(program, symbols, None if cut is None else maps[cut].step)
    raw = _ASK[method](around, picture.given, target, channels)
    return Heatmap(
        heat=_scaled(raw, picture.given.shape[1:3], 100 if cut else HOTTEST),
        raw=raw,
        target=target,
        score=float(logits[target]),
        probability=float(np.exp(logits - logits.max())[target] / np.exp(logits - logits.max()).sum()),
        method=method,
        layer=cut,
        pixels=picture.pixels,
    )


def map_layers(model: keras.Model, image: np.ndarray | str | Path | None = None) -> dict[str, tuple[int, int, int]]:
    """The layers whose maps can be asked, in order, with (height, width, channels) of what they give.

    Args:
        model: as of `heatmap`.
        image: for a model of any size, one; a black one of 224 x 224 by default.

    Example:
        >>> list(map_layers(keras_effvit.SepViTLite()).items())[-2]
        ('stage4_block2_mlp_add', (7, 7, 256))
    """
    if image is None:
        *sides, channels = model.inputs[0].shape[1:]
        image = np.zeros((*(side or 224 for side in sides), channels), np.float32)
    _, maps, _ = _look(program_of(in_float32(model)), picture_for(model, image).given)
    return {name: found.shape for name, found in maps.items()}


@dataclass(frozen=True)
class _Map:
    step: int
    shape: tuple[int, int, int]


def _look(program: Program, image: np.ndarray) -> tuple[np.ndarray, dict[str, _Map], Symbols]:
    """The logits of an image, the maps on the way that have more than one pixel, and what all tensors are like."""
    values, maps, symbols = {program.image: keras.ops.convert_to_tensor(image)}, {}, {}
    symbols[program.image] = _like(values[program.image])
    for number, step in enumerate(program.run(values)):
        symbols |= {symbol: _like(values[symbol]) for symbol in step.writes}
        shape = symbols[step.writes[0]].shape
        if step.name and len(shape) == 4 and shape[1] * shape[2] > 1:
            maps[step.name] = _Map(number, shape[1:])
    return keras.ops.convert_to_numpy(values[program.logits])[0].astype(np.float32), maps, symbols


def _like(tensor: Any) -> keras.KerasTensor:
    return keras.KerasTensor((None, *tensor.shape[1:]), keras.backend.standardize_dtype(tensor.dtype))


def _target(target: int | None, logits: np.ndarray) -> int:
    if target is None:
        return int(logits.argmax())
    if not 0 <= target < len(logits):
        raise ValueError(f"`target` must be the number of one of {len(logits)} classes. Received: target={target}")
    return int(target)


def _cut(maps: dict[str, _Map], layer: str | None) -> str:
    if layer is None:
        return _last(maps)
    named = [name for name in maps if layer == name] or [name for name in maps if name.endswith(f"/{layer}")]
    if len(named) == 1:
        return named[0]
    near = difflib.get_close_matches(layer, maps, 8, 0.0)
    raise ValueError(
        f"`layer` must be one of the {len(maps)} that give a map of more than one pixel; the nearest names are "
        f"{', '.join(near)}; `explain.map_layers(model)` has all. Received: layer={layer!r}"
    )


def _last(maps: dict[str, _Map]) -> str:
    """The last block that can still say where something is, as the last of all can in an image of 224 pixels."""
    if not maps:
        raise ValueError("Expected a model with maps of more than one pixel. Received: one without")
    names = [name for name in maps if _BLOCK.search(name)] or list(maps)
    fine = [name for name in names if min(maps[name].shape[:2]) >= FINE]
    return fine[-1] if fine else max(names, key=lambda name: min(maps[name].shape[:2]))


def _scaled(raw: np.ndarray, size: tuple[int, int], hottest: float) -> np.ndarray:
    """Over the image, with a map's pixels where they are in it; nothing stays 0, the hottest becomes 1."""
    image = keras.ops.convert_to_tensor(raw[None, ..., None].astype(np.float32))
    heat = keras.ops.image.resize(image, size, interpolation="bilinear", data_format="channels_last")
    heat = keras.ops.convert_to_numpy(heat)[0, ..., 0]
    highest = np.percentile(heat, hottest)
    return np.clip(heat / highest, 0, 1) if highest > 0 else np.zeros(size, np.float32)


def _score(target: int) -> Callable:
    return lambda output: output[:, target]


def _of_gradients(kind: str) -> Callable[..., np.ndarray]:
    def ask(model: keras.Model, image: np.ndarray, target: int, channels: int | None) -> np.ndarray:
        return _ask_map(getattr(tf_keras_vis(), kind), model, image, target)

    return ask


def _scorecam(model: keras.Model, image: np.ndarray, target: int, channels: int | None) -> np.ndarray:
    most = model.get_layer(MAP).output.shape[-1]
    if channels is not None and channels < 1:
        raise ValueError(f"`channels` must be at least 1. Received: channels={channels}")
    with redirect_stdout(StringIO()):  # `predict` has a progress bar
        return _ask_map(tf_keras_vis().Scorecam, model, image, target, max_N=min(channels or most, most))


def _ask_map(kind: Any, model: keras.Model, image: np.ndarray, target: int, **options: Any) -> np.ndarray:
    found = kind(model)(
        _score(target),
        image,
        penultimate_layer=MAP,
        seek_penultimate_conv_layer=False,
        expand_cam=False,
        normalize_cam=False,
        **options,
    )
    return np.asarray(found, np.float32)[0]


def _saliency(model: keras.Model, image: np.ndarray, target: int, channels: int | None) -> np.ndarray:
    return _changes(model, image, target).max(axis=(0, -1))


def _smoothgrad(model: keras.Model, image: np.ndarray, target: int, channels: int | None) -> np.ndarray:
    # With noise drawn here, so that it is always the same, and many images go through the model at once.
    noise = np.random.default_rng(0).standard_normal((SAMPLES, *image.shape[1:]), np.float32)
    noisy = image + noise * NOISE * (image.max() - image.min())
    batches = [_changes(model, noisy[start : start + BATCH], target) for start in range(0, SAMPLES, BATCH)]
    return np.concatenate(batches).mean(axis=0).max(axis=-1)


def _changes(model: keras.Model, images: np.ndarray, target: int) -> np.ndarray:
    """How much the logit changes with every channel of every pixel, in either direction."""
    found = tf_keras_vis().Saliency(model)(_score(target), images, keepdims=True, normalize_map=False)
    return np.asarray(found, np.float32)


#: From a model of `vis`, an image, a class and a number of channels to what a method gives.
_ASK: dict[str, Callable[..., np.ndarray]] = {
    "gradcam": _of_gradients("Gradcam"),
    "gradcam++": _of_gradients("GradcamPlusPlus"),
    "scorecam": _scorecam,
    "saliency": _saliency,
    "smoothgrad": _smoothgrad,
}
