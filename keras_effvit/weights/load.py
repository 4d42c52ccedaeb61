"""Putting the authors' weights, as plain arrays, into a Keras model."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from keras_effvit.weights.rules import TABLES, NameTable

#: Checkpoint axes in the order Keras keeps them, by the kind of layer that owns the kernel.
_CONV_AXES = (2, 3, 1, 0)  # (out, in, rows, columns) -> (rows, columns, in, out)
_DEPTHWISE_AXES = (2, 3, 0, 1)  # (channels, 1, rows, columns) -> (rows, columns, channels, 1)


@dataclass(frozen=True)
class WeightReport:
    """What became of every entry.

    Attributes:
        matched: checkpoint entries that are now in the model.
        missing: entries the model needs and the checkpoint does not hold; these weights are unchanged.
        unexpected: entries the checkpoint holds and the model has no place for.
        reshaped: matched entries whose shape differs beyond the order of axes (1x1 convolutions become linear layers).
        ignored: counters, index tables, and what a model without head leaves out: the head, and stages after its last.
        prefix: what stood before every name.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]
    ignored: tuple[str, ...]
    prefix: str

    def __str__(self) -> str:
        lines = [f"{len(self.matched)} entries loaded" + (f" under {self.prefix!r}" if self.prefix else "")]
        for kind in ("missing", "unexpected", "reshaped", "ignored"):
            names = getattr(self, kind)
            if names:
                lines.append(f"{len(names)} {kind}: {_some(names)}")
        return "\n".join(lines)


def load_state_dict(model: keras.Model, state_dict: Mapping[str, np.ndarray], *, strict: bool = True) -> WeightReport:
    """Copies a checkpoint's arrays into a model of this package, all of them or none.

    Args:
        model: a model made by this package, whole or as a backbone.
        state_dict: the authors' names and arrays, in the axis order of their framework.
        strict: refuse missing and unexpected entries.

    Returns:
        What became of every entry.

    Raises:
        ValueError: if the model is not of this package, if `strict` is violated, or if a shape does not fit.

    Example:
        >>> report = load_state_dict(model, dict(numpy.load("weights.npz")))
        >>> print(report)
        190 entries loaded
    """
    table, targets = _targets(model)
    prefix = max(table.prefixes, key=lambda p: sum(p + name in state_dict for name in targets))
    values, reshaped = {}, []
    for name, target in targets.items():
        if prefix + name in state_dict:
            values[name] = _fit(name, np.asarray(state_dict[prefix + name]), target)
            if values[name].ndim != np.ndim(state_dict[prefix + name]):
                reshaped.append(name)
    missing = tuple(name for name in targets if name not in values)
    unexpected, ignored = _leftovers(state_dict, table, targets, prefix)
    if strict and (missing or unexpected):
        raise ValueError(
            f"The checkpoint does not fit {model.name}. Expected {len(targets)} entries. "
            f"Missing: {_some(missing) or 'none'}. Unexpected: {_some(unexpected) or 'none'}."
        )
    for name, value in values.items():
        targets[name].variable.assign(value)
    return WeightReport(tuple(values), missing, unexpected, tuple(reshaped), ignored, prefix)


@dataclass(frozen=True)
class _Target:
    variable: keras.Variable
    axes: tuple[int, ...] | None


def _targets(model: keras.Model) -> tuple[NameTable, dict[str, _Target]]:
    """The family's table and, by checkpoint name, every weight of the model."""
    weights = list(_weights(model, ""))
    for table in TABLES.values():
        names = [table.checkpoint_name(path) for path, _ in weights]
        if weights and all(names):
            return table, {name: target for name, (_, target) in zip(names, weights, strict=True) if name}
    raise ValueError(f"Expected a model made by keras_effvit. Received: {model.name!r}, whose layers have other names")


def _weights(layer: keras.layers.Layer, path: str) -> Iterator[tuple[str, _Target]]:
    """(path, target) of every weight below `layer`; models on the way add nothing to the path."""
    for variable in layer._trainable_variables + layer._non_trainable_variables:
        yield f"{path}/{variable.name}", _Target(variable, _axes(layer, variable))
    for child in layer._layers:
        below = "" if isinstance(child, keras.Model) else f"{path}/{child.name}".lstrip("/")
        yield from _weights(child, below)


def _axes(layer: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...] | None:
    if variable.name != "kernel":
        return None
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return _DEPTHWISE_AXES
    return _CONV_AXES if len(variable.shape) == 4 else (1, 0)


def _fit(name: str, value: np.ndarray, target: _Target) -> np.ndarray:
    """`value` with Keras' order of axes and the variable's shape, if it has as many values on the same axes."""
    shape = tuple(target.variable.shape)
    fitted = value
    if target.axes is not None:
        if fitted.ndim == 4 and len(target.axes) == 2 and fitted.shape[2:] == (1, 1):
            fitted = fitted[:, :, 0, 0]
        if fitted.ndim == len(target.axes):
            fitted = fitted.transpose(target.axes)
    elif _without_ones(fitted.shape) == _without_ones(shape):
        fitted = fitted.reshape(shape)
    if fitted.shape != shape:
        raise ValueError(
            f"Shape of {name} does not fit: expected {shape} in Keras' order of axes. "
            f"Received: {value.shape} in the checkpoint's."
        )
    return fitted


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def _leftovers(
    state_dict: Mapping[str, np.ndarray], table: NameTable, targets: Mapping[str, _Target], prefix: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries no weight asked for: (unexpected, ignored)."""
    has_head = any(name.startswith("head.") for name in targets)
    deepest = 0 if has_head else max((table.stage(name) or 0 for name in targets), default=0)

    def beyond_the_model(entry: str, name: str) -> bool:
        """Whether an entry belongs to what a model without head leaves out: the head, later stages, other networks."""
        other = not entry.startswith(prefix) or re.match(table.head, name)
        return not has_head and (bool(other) or (table.stage(name) or 0) > deepest)

    unexpected, ignored = [], []
    for entry in state_dict:
        name = entry.removeprefix(prefix)
        if entry.startswith(prefix) and name in targets:
            continue
        skip = re.fullmatch(table.buffers, name) or beyond_the_model(entry, name)
        (ignored if skip else unexpected).append(entry)
    return tuple(unexpected), tuple(ignored)


def _some(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
