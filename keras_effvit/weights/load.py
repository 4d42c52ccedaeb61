"""Putting weights from anywhere, as plain arrays, into a Keras model: all of them or none."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_effvit.layers.linear_attention import MultiScaleLinearAttention
from keras_effvit.models.registry import families
from keras_effvit.weights.accounting import check_complete, is_transfer, leftovers
from keras_effvit.weights.fitting import plan
from keras_effvit.weights.formats import Checkpoint, read_checkpoint
from keras_effvit.weights.guess import likely_family
from keras_effvit.weights.matching import find
from keras_effvit.weights.naming import namings
from keras_effvit.weights.pickle_machine import CheckpointError
from keras_effvit.weights.report import WeightReport

#: How many float32 values a processor's cache fetches and writes at once.
_LINE = 16


def load_weights(
    model: keras.Model, path: str | Path, *, strict: bool = True, skip_head: bool | None = None, ema: bool = False
) -> WeightReport:
    """Loads a file of weights: the authors' own checkpoints, other ports', or what Keras or numpy saved.

    PyTorch is not needed, and nothing in the file is run. The model's weights change when all checks have passed.

    Args:
        model: a model made by this package, whole or as a backbone.
        path: a `.pth`, `.pt`, `.ckpt`, `.bin`, `.safetensors`, `.npz`, `.keras` or `.weights.h5` file; its content
            decides, not its name.
        strict: refuse missing and unexpected entries, beyond the documented differences of dense models.
        skip_head: keep the model's own classifier. By default that is done when the file's has another number of
            classes; `False` refuses such a file.
        ema: take the moving average that some training scripts keep beside the weights.

    Returns:
        What became of every entry.

    Raises:
        CheckpointError: a ValueError, if the file cannot be read or does not hold what was asked for.
        ValueError: if the model is not of this package, if `strict` is violated, or if a shape does not fit.
        OSError: if the file cannot be opened.

    Example:
        >>> print(load_weights(LightViTTiny(), "lightvit_tiny_78.7.ckpt"))
        425 entries loaded from lightvit_tiny_78.7.ckpt under 'state_dict'
        licence of the authors' weights: Apache-2.0
    """
    return load_checkpoint(model, read_checkpoint(path), strict=strict, skip_head=skip_head, ema=ema)


def load_checkpoint(
    model: keras.Model,
    checkpoint: Checkpoint,
    *,
    strict: bool = True,
    skip_head: bool | None = None,
    ema: bool = False,
) -> WeightReport:
    """`load_weights` of a file that was read already.

    Args:
        model: as in `load_weights`.
        checkpoint: of `read_checkpoint`.
        strict: as in `load_weights`.
        skip_head: as in `load_weights`.
        ema: as in `load_weights`.
    """
    try:
        report = _load(model, checkpoint.content, strict=strict, skip_head=skip_head, ema=ema, transfers=True)
    except CheckpointError as error:
        family = likely_family(checkpoint.content)
        hint = f"those of {family}" if family else "unknown"
        raise CheckpointError(f"{error} The names in {checkpoint.path} are {hint}.") from error
    settings = report.settings or _set_attention_epsilon(model, _noted_epsilon(checkpoint.config))
    return replace(report, source=str(checkpoint.path), settings=settings)


def load_state_dict(
    model: keras.Model,
    state_dict: Mapping[str, np.ndarray],
    *,
    strict: bool = True,
    skip_head: bool | None = None,
) -> WeightReport:
    """Copies names and arrays into a model of this package, all of them or none.

    The exact counterpart of `load_weights`: with `strict` a dense model wants a dense model's entries.

    Args:
        model: a model made by this package, whole or as a backbone.
        state_dict: the authors' names and arrays, in the axis order of their framework.
        strict: as in `load_weights`.
        skip_head: as in `load_weights`.

    Returns:
        What became of every entry.

    Raises:
        ValueError: if the model is not of this package, if `strict` is violated, or if a shape does not fit.

    Example:
        >>> report = load_state_dict(model, dict(numpy.load("weights.npz")))
        >>> print(report)
        190 entries loaded
    """
    arrays = {name: np.asarray(value) for name, value in state_dict.items()}
    return _load(model, arrays, strict=strict, skip_head=skip_head, ema=False, transfers=False)


def _load(
    model: keras.Model, content: Mapping, *, strict: bool, skip_head: bool | None, ema: bool, transfers: bool
) -> WeightReport:
    match = find(content, namings(model), ema=ema, **({} if strict else {"least_share": 0.0}))
    transfer = transfers and is_transfer(match)
    targets, table = match.naming.targets, match.naming.table
    fitted = plan(match, skip_head)
    missing = tuple(name for name in targets if name not in fitted.values and name not in fitted.skipped)
    unexpected, ignored = leftovers(match, transfer=transfer)
    if strict:
        check_complete(model.name, match, missing, unexpected, transfer=transfer)
    for name, value in fitted.values.items():
        _assign(targets[name].variable, value)
    return WeightReport(
        matched=tuple(fitted.values),
        missing=missing,
        unexpected=unexpected,
        resized=fitted.resized,
        skipped=fitted.skipped,
        reshaped=fitted.reshaped,
        ignored=ignored,
        wrapper=match.wrapper,
        prefix=match.prefix,
        names=match.naming.title,
        settings=_set_attention_epsilon(model, table.attention_epsilon if table else None),
        licence=families()[table.family].licence if table else None,
    )


def _assign(variable: keras.Variable, value: np.ndarray) -> None:
    # A copy of its own, in one piece: a variable must not go on living in a mapped file.
    copy = np.empty(value.shape, keras.backend.standardize_dtype(variable.dtype))
    if value.ndim == 2 and value.strides[0] < value.strides[1]:
        # A transposed matrix goes five times faster when the copy is written a cache line a row at a time.
        for start in range(0, value.shape[1], _LINE):
            copy[:, start : start + _LINE] = value[:, start : start + _LINE]
    else:
        copy[...] = value
    variable.assign(copy)


def _noted_epsilon(config: Any) -> float | None:
    """The epsilon of linear attention that a model was saved with."""
    todo = [config]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            inner = item.get("config")
            if item.get("class_name") == MultiScaleLinearAttention.__name__ and isinstance(inner, dict):
                epsilon = inner.get("epsilon")
                return epsilon if isinstance(epsilon, float) and 0 <= epsilon < 1 else None
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return None


def _set_attention_epsilon(model: keras.Model, epsilon: float | None) -> tuple[str, ...]:
    """Sets what belongs to the weights but is no weight: the epsilon that they were trained with; says so."""
    if epsilon is None:
        return ()
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, MultiScaleLinearAttention)]
    changed = [layer for layer in layers if layer.epsilon != epsilon]
    if not changed:
        return ()
    for layer in changed:
        layer.epsilon = epsilon
    # Functions that were traced before have the old number in them; Keras makes new ones where there are none.
    model.predict_function = model.test_function = model.train_function = None
    return (f"attention epsilon {epsilon}, in {len(changed)} layers",)
