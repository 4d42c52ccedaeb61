"""Fitting a checkpoint's arrays to a model's weights: axes, window grids, classifiers of other sizes."""

import math
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from keras_effvit.weights.matching import Match
from keras_effvit.weights.naming import Target
from keras_effvit.weights.pickle_machine import CheckpointError
from keras_effvit.weights.task_rules import CLASSIFIERS

#: A window grid wider than this is no image's; a file may claim any.
_WIDEST_GRID = 64
#: Our paths of the layers with an output for every class, in files with our own names.
_CLASSIFIERS = ("head", "heads/head", "heads/aux_head", *CLASSIFIERS)


@dataclass(frozen=True)
class Plan:
    """What will be assigned once everything is checked.

    Attributes:
        values: by name, views in the shape of the weights.
        resized: names of window tokens on another grid.
        reshaped: names of entries of another rank.
        skipped: names of entries that stay out.
    """

    values: dict[str, np.ndarray]
    resized: tuple[str, ...]
    reshaped: tuple[str, ...]
    skipped: tuple[str, ...]


def plan(match: Match, skip_head: bool | None) -> Plan:
    """Fits every entry to its weight.

    Args:
        match: the entries.
        skip_head: whether to leave the classifier out; `None` where its number of classes differs.

    Raises:
        CheckpointError: if an entry does not fit.
    """
    skipped = _classifier(match, skip_head)
    values, resized, reshaped = {}, [], []
    for name, target in match.naming.targets.items():
        entry = match.prefix + name
        if entry not in match.entries or name in skipped:
            continue
        value = match.entries[entry]
        grid = getattr(target.layer, "grid", None) if target.variable.name == "token" else None
        fitted = _resize_grid(name, value, grid, target.variable.shape[-1]) if grid else value
        if fitted is not value:
            resized.append(name)
        values[name] = _fit(name, fitted, target, match)
        if values[name].ndim != value.ndim:
            reshaped.append(name)
    return Plan(values, tuple(resized), tuple(reshaped), skipped)


def _classifier(match: Match, skip_head: bool | None) -> tuple[str, ...]:
    """The classifier's entries, if they are to be skipped: all of them or none."""
    layers = match.naming.table.classifiers if match.naming.table else _CLASSIFIERS
    targets = {
        name: target
        for name, target in match.naming.targets.items()
        if target.layer_path in layers and match.prefix + name in match.entries
    }
    if skip_head is None:
        skip_head = any(
            _other_classes(match.entries[match.prefix + name], target, match) for name, target in targets.items()
        )
    return tuple(targets) if skip_head else ()


def _other_classes(value: np.ndarray, target: Target, match: Match) -> bool:
    """Whether an entry differs from its weight in the number of classes, and in nothing else."""
    ours, theirs = tuple(target.variable.shape), value.shape
    if match.naming.table:
        theirs = theirs[::-1]
    return ours != theirs and len(ours) == len(theirs) and ours[:-1] == theirs[:-1]


def _resize_grid(name: str, value: np.ndarray, grid: tuple[int, int], channels: int) -> np.ndarray:
    """Window tokens (.., n, .., c) of a square grid, resized to another: bilinear, the cells' centres aligned."""
    tokens, count = grid[0] * grid[1], value.size // channels
    if count == tokens or value.shape[-1:] != (channels,) or value.dtype.kind not in "fV":
        return value
    side = int(np.sqrt(count))
    if side * side != count or not 0 < side <= _WIDEST_GRID:
        raise CheckpointError(
            f"Window tokens {name} must belong to a square grid to be resized to {grid[0]}x{grid[1]}. "
            f"Received: {value.shape}"
        )
    rows, columns = (_bilinear(side, wanted) for wanted in grid)
    square = np.asarray(value, np.float32).reshape(side, side, channels)
    return np.einsum("ri,ck,ikd->rcd", rows, columns, square).reshape(tokens, channels)


def _bilinear(size: int, wanted: int) -> np.ndarray:
    """The matrix (wanted, size) of bilinear interpolation between the centres of cells."""
    centres = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size))).astype(np.float32)


def _fit(name: str, value: np.ndarray, target: Target, match: Match) -> np.ndarray:
    """A view of `value` with the variable's shape, if it has as many values on the same axes."""
    if value.dtype.kind != "f" and value.dtype != np.dtype(ml_dtypes.bfloat16):
        raise CheckpointError(f"Entry {name} must hold floating-point numbers. Received: {value.dtype}")
    shape, fitted = tuple(target.variable.shape), value
    axes = target.torch_axes if match.naming.table else None
    if axes is not None:
        if fitted.ndim == 4 and len(axes) == 2 and fitted.shape[2:] == (1, 1):
            fitted = fitted[:, :, 0, 0]
        if fitted.ndim == 2 and len(axes) == 4 and fitted.size == math.prod(shape):
            # A linear layer over a patch is a convolution of ours: (out, channels * rows * columns), channels first.
            rows, columns, channels, outputs = shape
            fitted = fitted.reshape(outputs, channels, rows, columns)
        if fitted.ndim == len(axes):
            fitted = fitted.transpose(axes)
    elif _without_ones(fitted.shape) == _without_ones(shape):
        fitted = fitted.reshape(shape)
    if fitted.shape != shape:
        raise CheckpointError(
            f"Shape of {name} does not fit: expected {shape} in Keras' order of axes. "
            f"Received: {value.shape} in the checkpoint's."
        )
    return fitted


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)
