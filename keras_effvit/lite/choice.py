"""Models that end in a choice, such as boxes out of a detector's heads.

Rounding may well change what is chosen first, so that a quantised file cannot be held to the Keras model's choice; it
is held to what the model chooses from, and its choice to what the Keras layer makes of the same rounded numbers. The
layer itself stays in float.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.comparison import file_outputs
from keras_effvit.lite.exporting import output_names
from keras_effvit.lite.recipe import Recipe

#: Numbers this close, of the largest, are the same; two of a choice's that are have no order.
SAME = 1e-3
#: Share of a choice that must be the same: equal scores let one box be kept in another's place.
LEAST_SHARED = 0.95


@dataclass(frozen=True)
class Choice:
    """A model taken apart before its choice.

    Attributes:
        before: the same model without it.
        layer: that chooses.
        outputs: names of what it chooses.
    """

    before: keras.Model
    layer: keras.layers.Layer
    outputs: list[str]

    @classmethod
    def of(cls, model: keras.Model) -> "Choice | None":
        """A model's choice, if it ends in one: all outputs are a layer's that has `chooses`.

        Args:
            model: a functional one.
        """
        histories = [x._keras_history for x in tree.flatten(model.output)]
        layer, node = histories[0].operation, histories[0].node_index
        if not getattr(layer, "chooses", False) or any(each.operation is not layer for each in histories):
            return None
        inputs = layer._inbound_nodes[node].arguments.args[0]
        return cls(keras.Model(model.inputs[0], inputs, name=model.name), layer, output_names(model))

    def in_float(self, recipe: Recipe, output_type: str) -> Recipe:
        """The recipe with the layer as an island; its last operators bear the outputs' names in a file.

        Args:
            recipe: of the whole model.
            output_type: of the file's outputs.

        Raises:
            LiteError: if there is to be no float.
        """
        if recipe.in_integers or output_type != "float32":
            received = recipe.name if recipe.in_integers else f"output_type={output_type!r}"
            raise LiteError(
                f"Expected results in float of {self.layer.name!r}, which chooses among what it is given. Received: "
                f"{received}; convert the model before that layer, or in another precision"
            )
        return recipe.with_islands([f"^{re.escape(name)}(/|$)" for name in (self.layer.name, *self.outputs)])

    def made_of(self, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the Keras layer chooses.

        Args:
            outputs: of `before`, by name.
        """
        structure = self.before.output
        given: Any = tree.pack_sequence_as(structure, [outputs[name] for name in output_names(self.before)])
        chosen = tree.flatten(self.layer(given))
        return {name: keras.ops.convert_to_numpy(x) for name, x in zip(self.outputs, chosen, strict=True)}

    def check(self, before: bytes, content: bytes, images: np.ndarray) -> None:
        """Holds what a file chooses to what the Keras layer makes of the same numbers.

        Args:
            before: a file of `before`.
            content: a file of the whole model, in the same precision.
            images: to run both on.

        Raises:
            LiteError: if it chooses something else.
        """
        share = shared(self.made_of(file_outputs(before, images)), file_outputs(content, images))
        if share < LEAST_SHARED:
            raise LiteError(
                f"The file does not choose what {self.layer.name!r} does: {share:.0%} are the same, expected at least "
                f"{LEAST_SHARED:.0%}. Nothing was written"
            )


def shared(expected: Mapping[str, np.ndarray], received: Mapping[str, np.ndarray]) -> float:
    """Share of the places of either choice that the other has, too, somewhere; empty places count once.

    Args:
        expected: by name, (images, places, ...).
        received: the same.

    Example:
        >>> shared({"scores": numpy.array([[0.9, 0.8]])}, {"scores": numpy.array([[0.8, 0.9]])})
        1.0
    """
    first, second = (_rows(each, expected) for each in (expected, received))
    found: list[Any] = []
    for ours, theirs in zip(first, second, strict=True):
        ours, theirs = np.unique(ours, axis=0), np.unique(theirs, axis=0)
        same = (np.abs(ours[:, None] - theirs[None]) <= SAME).all(axis=-1)
        found += [same.any(axis=-1), same.T.any(axis=-1)]
    return float(np.concatenate(found).mean())


def _rows(outputs: Mapping[str, np.ndarray], scales: Mapping[str, np.ndarray]) -> np.ndarray:
    """(images, places, numbers), the largest of every output about 1."""
    parts = []
    for name, scale in scales.items():
        x = np.asarray(outputs[name], np.float64)
        parts.append(x.reshape(*x.shape[:2], -1) / max(float(np.abs(scale).max(initial=0.0)), 1e-30))
    return np.concatenate(parts, axis=-1)
