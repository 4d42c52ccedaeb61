"""What attention layers look at, collected while a model runs: the weights that mix the values, and whose they are.

A layer's function says `record`; that costs a look at a variable, and nothing else, unless somebody is `recording`.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops


@dataclass(frozen=True)
class Record:
    """What one attention did.

    Attributes:
        kind: what attended to what, such as `"window"`.
        values: arrays that tell it: the weights or, where these are never written down, queries and keys.
        layer: whose it is, the outermost that attends.
        map: height and width of the map that went into it; `None` where no map is known.
    """

    kind: str
    values: tuple[np.ndarray, ...]
    layer: keras.layers.Layer | None
    map: tuple[int, int] | None


@dataclass
class _Collector:
    records: list[Record] = field(default_factory=list)
    layer: keras.layers.Layer | None = None
    map: tuple[int, int] | None = None


_collector: ContextVar[_Collector | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[list[Record]]:
    """Collects what every attention does inside the block, in order.

    Only what is calculated at once is collected: call the model itself, because `predict` calls a graph of it, in which
    there are no numbers yet.

    Example:
        >>> with recording() as records:
        ...     model(images, training=False)
        >>> records[0].layer.name, records[0].kind, records[0].values[0].shape
        ('stage1_block1_attn', 'window', (64, 1, 50, 50))
    """
    collector = _Collector()
    token = _collector.set(collector)
    try:
        yield collector.records
    finally:
        _collector.reset(token)


def record(kind: str, *values: Any) -> None:
    """Says what an attention does, to whom it may concern.

    Args:
        kind: what attends to what.
        *values: of a `Record`, as tensors.
    """
    collector = _collector.get()
    if collector is None:
        return
    arrays = tuple(array for array in map(_numbers, values) if array is not None)
    if len(arrays) == len(values):
        collector.records.append(Record(kind, arrays, collector.layer, collector.map))


def attending(call: Callable) -> Callable:
    """Decorator of `call`: what is recorded inside is of this layer, and of the map that is its first argument.

    A layer that is given tokens has the map of the layer before it: the tokens are that map's pixels.

    Args:
        call: a layer's.
    """
    first = list(inspect.signature(call).parameters)[1]

    @functools.wraps(call)
    def wrapped(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        collector = _collector.get()
        if collector is None or collector.layer is not None:
            return call(layer, *args, **kwargs)
        collector.layer = layer
        shape = (args[0] if args else kwargs[first]).shape
        if len(shape) == 4:
            collector.map = tuple(shape[1:3])
        try:
            return call(layer, *args, **kwargs)
        finally:
            collector.layer = None

    return wrapped


def _numbers(value: Any) -> np.ndarray | None:
    """A tensor's numbers; `None` of a symbol in a graph, which has none."""
    if isinstance(value, keras.KerasTensor):
        return None
    try:
        return ops.convert_to_numpy(value)
    except (NotImplementedError, TypeError):  # of TensorFlow's graphs, and of JAX's
        return None
