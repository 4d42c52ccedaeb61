"""What the weights of a model are called: in every table that fits it, and in files that Keras saved."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from keras_effvit.layers.doubling_conv import DoublingConv2D
from keras_effvit.weights.names import NameTable
from keras_effvit.weights.rules import TABLES
from keras_effvit.weights.task_rules import TASK_TABLES

#: Checkpoint axes in the order Keras keeps them, by the kind of layer that owns the kernel.
_CONV_AXES = (2, 3, 1, 0)  # (out, in, rows, columns) -> (rows, columns, in, out)
_DEPTHWISE_AXES = (2, 3, 0, 1)  # (channels, 1, rows, columns) -> (rows, columns, channels, 1)
_TRANSPOSED_AXES = (2, 3, 0, 1)  # (in, out, rows, columns) -> (rows, columns, in, out)
_LINEAR_AXES = (1, 0)


@dataclass(frozen=True)
class Target:
    """A weight of a model and where it belongs.

    Attributes:
        variable: the weight.
        layer: the layer that owns it.
        path: the layers' names on the way to it, and its own.
        index: its place among the layer's own weights.
    """

    variable: keras.Variable
    layer: keras.layers.Layer
    path: str
    index: int

    @property
    def layer_path(self) -> str:
        """The layers' names on the way to it."""
        return self.path.rpartition("/")[0]

    @property
    def torch_axes(self) -> tuple[int, ...] | None:
        """The axes of a PyTorch array in the order of the variable's, where that differs."""
        if self.variable.name != "kernel":
            return None
        if isinstance(self.layer, keras.layers.DepthwiseConv2D):
            return _DEPTHWISE_AXES
        if isinstance(self.layer, DoublingConv2D):
            return _TRANSPOSED_AXES
        return _CONV_AXES if len(self.variable.shape) == 4 else _LINEAR_AXES


@dataclass(frozen=True)
class Naming:
    """One way to call the weights of a model.

    Attributes:
        title: whose names they are.
        table: the table they come from; `None` for Keras' own names.
        targets: by name, every weight.
    """

    title: str
    table: NameTable | None
    targets: dict[str, Target]


def namings(model: keras.Model) -> list[Naming]:
    """Every way to call the weights of a model.

    Args:
        model: a model made by this package, whole or as a backbone, or one that holds such a model and no more weights.

    Raises:
        ValueError: if no table names all its weights.
    """
    weights = list(_weights(model, ""))
    authors = []
    for table in (*TABLES, *TASK_TABLES):
        targets = _targets(table, weights)
        if targets:
            authors.append(Naming(table.title, table, targets))
    if not authors:
        raise ValueError(
            f"Expected a model made by keras_effvit. Received: {model.name!r}, whose layers have other names"
        )
    return [
        *authors,
        Naming("Keras", None, {f"{target.layer_path}/vars/{target.index}": target for target in weights}),
        Naming("Keras", None, {target.path: target for target in weights}),
    ]


def _targets(table: NameTable, weights: list[Target]) -> dict[str, Target] | None:
    """The weights by a table's names, if it has one for each."""
    if table.requires and not any(re.fullmatch(table.requires, target.path) for target in weights):
        return None
    targets = {}
    for target in weights:
        name = table.checkpoint_name(target.path)
        if name is None or name in targets:
            return None
        targets[name] = target
    return targets


def _weights(layer: keras.layers.Layer, path: str) -> Iterator[Target]:
    """Every weight below `layer`; models on the way add nothing to the path."""
    for index, variable in enumerate(layer._trainable_variables + layer._non_trainable_variables):
        yield Target(variable, layer, f"{path}/{variable.name}", index)
    for child in layer._layers:
        yield from _weights(child, path if isinstance(child, keras.Model) else f"{path}/{child.name}".lstrip("/"))
