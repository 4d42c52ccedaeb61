"""What attention looked at while a model ran on an image, taken from that run.

Legend of `AttentionMap.weights` by kind:

    window        (windows, heads, queries, keys)  pixels of a window over each other; SepViT's window token is number 0
    pointwise     (heads, windows, windows)        SepViT's windows over each other, through their tokens
    global        (heads, pixels, pixels)          every pixel over every pixel
    aggregation   (heads, tokens, height, width)   LightViT's tokens over the pixels
    broadcast     (heads, height, width, tokens)   LightViT's pixels over the tokens
    linear        (heads, pixels, pixels)          EfficientViT's implicit weights; linear_5x5 of its second scale
    softmax       (heads, pixels, pixels)          EfficientViT's twin with softmax; softmax_5x5 of its second scale
    convolution   (rows, columns, heads, 9, 9)     LVT's 3x3 windows, around every second pixel
    atrous        (heads, pixels, keys)            LVT's pixels over the reduced map; atrous1, atrous2 where it recurs
    class         (heads, keys)                    LVT's class token over itself, number 0, and the pixels

Pixels, keys, windows and what is in them are counted row by row. A window that reaches over the map's border has pixels
there too, as the layer has.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.explain.pictures import picture_for
from keras_effvit.explain.places import SEEN, in_map
from keras_effvit.layers.recording import Record, recording

ALL = ("heads", "pixels", "pixels")
#: What the axes of `AttentionMap.weights` are, by kind; of the others, `ALL`.
AXES = {
    "window": ("windows", "heads", "queries", "keys"),
    "pointwise": ("heads", "windows", "windows"),
    "aggregation": ("heads", "tokens", "height", "width"),
    "broadcast": ("heads", "height", "width", "tokens"),
    "convolution": ("rows", "columns", "heads", "queries", "keys"),
    "atrous": ("heads", "pixels", "keys"),
    "class": ("heads", "keys"),
}


@dataclass(frozen=True)
class AttentionMap:
    """What one attention did with an image.

    Attributes:
        layer: its name in the model.
        kind: what attended to what.
        axes: what the axes of `weights` are.
        map: (height, width) of the map that went into the layer.
        grid: rows and columns of what is attended to, or of the windows.
        side: of a window in pixels, where there are windows.
        tokens: how many of the keys come before the pixels.
        pixels: the image, (height, width, 3), uint8.
        values: the weights or, of linear attention, queries and keys, (heads, channels, pixels).
        epsilon: of linear attention, what keeps its quotient from being one by zero.
    """

    layer: str
    kind: str
    axes: tuple[str, ...]
    map: tuple[int, int]
    grid: tuple[int, int]
    side: int | None
    tokens: int
    pixels: np.ndarray = field(repr=False)
    values: tuple[np.ndarray, ...] = field(repr=False)
    epsilon: float = 0.0

    @cached_property
    def weights(self) -> np.ndarray:
        """How much of everything was taken, float32.

        Linear attention never writes its weights down: they are calculated when they are first asked for.
        """
        if len(self.values) == 1:
            return self.values[0]
        q, k = self.values
        return implicit_weights(q, k, self.epsilon)

    def seen_by(self, row: int, column: int) -> np.ndarray:
        """What a pixel of the map took from where, the mean of all heads.

        Args:
            row: of the pixel; of windows over each other, of the window.
            column: of the pixel.

        Returns:
            As large as the map or, where that is another, the grid; 0 where nothing was looked at.

        Raises:
            ValueError: if there is no such pixel, or it is not pixels that look at each other.

        Example:
            >>> attention(model, image)["stage3_block1_attn/linear"].seen_by(7, 7).shape
            (14, 14)
        """
        seen = SEEN.get("global" if self.axes == ALL else self.kind)
        if seen is None:
            raise ValueError(f"Expected places that look at places. Received: {self.kind} over {self.axes}")
        height, width = self.grid if self.kind == "pointwise" else self.map
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"Expected a place in {height} x {width}. Received: row={row}, column={column}")
        if len(self.values) == 1:
            return seen(self, self.weights, row, column)
        q, k = self.values
        number = row * width + column
        [weights] = implicit_weights(q[..., number : number + 1], k, self.epsilon).mean(axis=0)
        return weights.reshape(self.grid)


def implicit_weights(q: np.ndarray, k: np.ndarray, epsilon: float) -> np.ndarray:
    """The weights that linear attention stands for: `relu(q) . relu(k)`, of every query a share of its sum.

    Args:
        q: queries, (heads, d, n).
        k: keys, (heads, d, m).
        epsilon: added to the sum.

    Returns:
        (heads, n, m); zeros for a query without positive channels.
    """
    products = np.maximum(q, 0).transpose(0, 2, 1) @ np.maximum(k, 0)
    return products / (products.sum(axis=-1, keepdims=True) + epsilon)


def attention(model: keras.Model, image: np.ndarray | str | Path, names: str = "*") -> dict[str, AttentionMap]:
    """What every attention of a model did with an image, in one run of the model.

    Args:
        model: with attention layers of the package, of whatever kind it is: subclassed models too.
        image: a path, pixels (uint8, of any size), or floats as they go into the model.
        names: a shell pattern such as `"stage3_*/pointwise"`; what it does not match is left out.

    Returns:
        By name, `<layer>/<kind>`, in the order in which it happened.

    Raises:
        ValueError: if nothing attends, or nothing of that name.

    Example:
        >>> maps = attention(keras_effvit.SepViTLite(), sample_image())
        >>> maps["stage3_block1_attn/pointwise"].weights.shape  # heads, windows, windows
        (4, 4, 4)
    """
    picture = picture_for(model, image)
    with recording() as records:
        model(picture.given, training=False)
    found = dict(_named([each for record in records for each in _maps(record, picture.pixels)]))
    if not found:
        raise ValueError(f"Expected a model with attention layers of keras_effvit. Received: {model.name}, without one")
    chosen = {name: each for name, each in found.items() if fnmatchcase(name, names)}
    if not chosen:
        raise ValueError(f"`names` must match any of {', '.join(found)}. Received: names={names!r}")
    return chosen


def _named(maps: list[AttentionMap]) -> Iterator[tuple[str, AttentionMap]]:
    """Numbers what a layer does more than once, as recursion does."""
    names = [f"{each.layer}/{each.kind}" for each in maps]
    often, seen = Counter(names), Counter()
    for name, each in zip(names, maps, strict=True):
        seen[name] += 1
        yield (f"{name}{seen[name]}" if often[name] > 1 else name), each


def _maps(record: Record, pixels: np.ndarray) -> Iterator[AttentionMap]:
    """A record as maps: two where heads are of two scales; none of a part used alone, which knows of no map."""
    layer, size = record.layer, record.map
    if layer is None or size is None:
        return
    side = getattr(layer, "window_size", None)
    kind = "global" if record.kind == "window" and side is None else record.kind
    values = [value.astype(np.float32) for value in record.values]
    if kind not in ("window", "convolution"):  # which have windows before heads, where the others have images
        values = [value[0] for value in values]
    for suffix, heads in _scales(layer, kind):
        chosen = [value[heads] for value in values]
        layout = _LAYOUTS.get(kind, _plain)(layer, size, *chosen)
        axes = AXES.get(kind, ALL)
        yield AttentionMap(layer.path, kind + suffix, axes, size, pixels=pixels, **layout)


def _scales(layer: Any, kind: str) -> list[tuple[str, slice]]:
    kernel = getattr(layer, "kernel_size", None)
    if kind not in ("linear", "softmax") or kernel is None:
        return [("", slice(None))]
    heads = layer.qkv.filters // (3 * layer.head_dim)
    return [("", slice(heads)), (f"_{kernel}x{kernel}", slice(heads, None))]


def _plain(layer: Any, size: tuple[int, int], *values: np.ndarray) -> dict[str, Any]:
    """What `AttentionMap` has to know beside size and kind: here, of pixels over pixels."""
    epsilon = layer.epsilon if len(values) > 1 else 0.0
    return {"values": values, "grid": size, "side": None, "tokens": 0, "epsilon": epsilon}


def _windows(layer: Any, size: tuple[int, int], weights: np.ndarray) -> dict[str, Any]:
    side = layer.window_size
    rows, columns = (-(-length // side) for length in size)
    tokens = weights.shape[-1] - side**2 if weights.ndim == 4 else 0
    return {"values": (weights,), "grid": (rows, columns), "side": side, "tokens": tokens}


def _convolution(layer: Any, size: tuple[int, int], weights: np.ndarray) -> dict[str, Any]:
    grid = (size[0] + 1) // 2, (size[1] + 1) // 2
    return {"values": (weights.reshape(*grid, *weights.shape[1:]),), "grid": grid, "side": 3, "tokens": 0}


def _atrous(layer: Any, size: tuple[int, int], weights: np.ndarray) -> dict[str, Any]:
    grid = size[0] // layer.reduction, size[1] // layer.reduction
    return {"values": (weights,), "grid": grid, "side": None, "tokens": 0}


def _class(layer: Any, size: tuple[int, int], weights: np.ndarray) -> dict[str, Any]:
    return {"values": (weights[:, 0],), "grid": size, "side": None, "tokens": 1}


def _tokens(layer: Any, size: tuple[int, int], weights: np.ndarray) -> dict[str, Any]:
    laid = in_map(weights, size, layer.window_size, padded=False)
    return {"values": (laid,), "grid": size, "side": None, "tokens": 0}


def _from_tokens(layer: Any, size: tuple[int, int], weights: np.ndarray) -> dict[str, Any]:
    laid = in_map(weights.transpose(0, 2, 1), size, layer.window_size, padded=True)
    return {"values": (laid.transpose(0, 2, 3, 1),), "grid": size, "side": None, "tokens": 0}


_LAYOUTS: dict[str, Callable[..., dict[str, Any]]] = {
    "window": _windows,
    "pointwise": _windows,
    "convolution": _convolution,
    "atrous": _atrous,
    "class": _class,
    "aggregation": _tokens,
    "broadcast": _from_tokens,
}
