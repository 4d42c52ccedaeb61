"""Recipes: which operators of which layers are quantised, and how. The same object drives conversion and training."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from keras_effvit.lite.child import LiteError

#: How an operator is quantised: activations and weights by calibration (`static`), the same wherever what it moves
#: comes from a static operator or goes to static ones only (`follow`), activations as they come (`dynamic`), weights
#: only (`weights`), weights in half precision (`float16`), everything it touches, refused where integers cannot hold it
#: (`integer`), or not at all (`keep`).
Mode = Literal["static", "follow", "dynamic", "weights", "float16", "integer", "keep"]
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int8_full", "int16x8")


@dataclass(frozen=True)
class Rule:
    """What to do with some operators of some layers; later rules win over earlier ones.

    Attributes:
        operators: their names in the file, such as `"CONV_2D"`; `"*"` for all.
        mode: how.
        layers: a regular expression that is searched for in the layer's path, such as `"stage4.*/qkv"`.
        activation_bits: of static and integer rules, 8 or 16. A quotient in 16 bits of an integer rule takes the sums
            and products it is made of with it.
        weight_bits: of the weights.
    """

    operators: tuple[str, ...]
    mode: Mode
    layers: str = ""
    activation_bits: int = 8
    weight_bits: int = 8

    def __post_init__(self):
        if self.mode not in get_args(Mode):
            raise LiteError(f"A rule's mode must be one of {get_args(Mode)}. Received: mode={self.mode!r}")
        if self.mode in ("static", "integer") and self.activation_bits not in (8, 16):
            raise LiteError(f"A rule's activation_bits must be 8 or 16. Received: {self.activation_bits}")
        if self.mode == "integer" and self.weight_bits != 8:
            raise LiteError(f"A rule of mode 'integer' has weights in 8 bits. Received: {self.weight_bits}")
        try:
            re.compile(self.layers)
        except re.error as error:
            raise LiteError(
                f"A rule's layers must be a regular expression. Received: {self.layers!r}: {error}"
            ) from error


@dataclass(frozen=True)
class Recipe:
    """A precision, spelled out.

    Attributes:
        name: what it is called.
        description: what it does and what it costs.
        rules: in order.
        hard_swish: the spelling of the activation that suits it, as in `keras_effvit.layers.lowering`.
        one_partition: whether its files run as one XNNPACK partition, so that anything outside is worth a warning.
    """

    name: str
    description: str
    rules: tuple[Rule, ...]
    hard_swish: Literal["fused", "reassociated"] = "fused"
    one_partition: bool = True

    def __post_init__(self):
        modes = {rule.mode for rule in self.rules} - {"keep"}
        if "integer" in modes and len(modes) > 1:
            raise LiteError(f"Rules of mode 'integer' go with 'keep' only. Received: {sorted(modes)} in {self.name}")

    @property
    def needs_calibration(self) -> bool:
        """Whether images decide the ranges of activations."""
        return self.in_integers or any(rule.mode == "static" for rule in self.rules)

    @property
    def in_integers(self) -> bool:
        """Whether its operators hold nothing but integers."""
        return any(rule.mode == "integer" for rule in self.rules)

    def rule_for(self, operator: str, layer: str) -> Rule | None:
        """What happens to an operator: the last rule that fits it, unless that keeps it as it is.

        Args:
            operator: its name in a file.
            layer: the path of its layer.
        """
        for rule in reversed(self.rules):
            if ("*" in rule.operators or operator in rule.operators) and re.search(rule.layers, layer):
                return None if rule.mode == "keep" else rule
        return None

    def with_islands(self, layers: Sequence[str]) -> "Recipe":
        """The recipe with more layers left in float.

        Args:
            layers: regular expressions of layers' paths.
        """
        return replace(self, rules=(*self.rules, *(Rule(("*",), "keep", pattern) for pattern in layers)))

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Recipe":
        """A recipe from plain data.

        Args:
            fields: of `to_json`.
        """
        rules = tuple(Rule(**{**rule, "operators": tuple(rule["operators"])}) for rule in fields["rules"])
        return cls(**{**fields, "rules": rules})


def load_recipe(recipe: str | Path | Recipe) -> Recipe:
    """A recipe by the name of its precision, or from a JSON file.

    Args:
        recipe: one of `PRECISIONS`, or a path.

    Raises:
        LiteError: if there is none, or the file is no recipe.

    Example:
        >>> load_recipe("int8").needs_calibration
        True
    """
    if isinstance(recipe, Recipe):
        return recipe
    if str(recipe) in PRECISIONS:
        source = resources.files("keras_effvit.lite.recipes") / f"{recipe}.json"
    else:
        source = Path(recipe)
        if not source.is_file():
            raise LiteError(
                f"`precision` must be one of {PRECISIONS} or the path of a recipe. Received: {str(recipe)!r}"
            )
    try:
        return Recipe.from_json(json.loads(source.read_text()))
    except (ValueError, TypeError, KeyError) as error:
        raise LiteError(f"Expected a recipe. Received: {recipe}: {error}") from error
