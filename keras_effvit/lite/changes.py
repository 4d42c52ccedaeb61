"""What could be tried on a recipe for a model: other spellings, more operators in integers, fewer layers in them."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from keras_effvit.lite.inspection import Inspection
from keras_effvit.lite.quantization import assign
from keras_effvit.lite.recipe import Recipe, Rule

Spelling = Literal["fused", "reassociated"]
SPELLINGS: tuple[Spelling, Spelling] = ("fused", "reassociated")
#: Operators that only move numbers, and that the precisions of the package leave in float.
_MOVERS = {"slices": ("SLICE", "STRIDED_SLICE"), "concatenations": ("CONCATENATION", "MAX_POOL_2D")}
#: How many parts of a model, from its start, and how many single layers are tried in float.
_PARTS, _LAYERS = 2, 4


@dataclass(frozen=True)
class Change:
    """A change of a recipe.

    Attributes:
        name: what it does, in words.
        rules: to add.
        hard_swish: another spelling of the activation, or `None` for the recipe's own.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    hard_swish: Spelling | None = None


def changed(base: Recipe, changes: Sequence[Change]) -> Recipe:
    """A recipe with changes.

    Args:
        base: the recipe.
        changes: in any order.
    """
    if not changes:
        return base
    rules = [rule for change in changes for rule in change.rules]
    # What is to stay in float stays there whatever else is added: last rules win.
    end = len(base.rules)
    while end and base.rules[end - 1].mode == "keep":
        end -= 1
    added, kept = ([rule for rule in rules if (rule.mode == "keep") == keep] for keep in (False, True))
    spellings = [change.hard_swish for change in changes if change.hard_swish]
    return replace(
        base,
        name=f"{base.name.removesuffix('_tuned')}_tuned",
        description=f"{base.description} Changed: {', '.join(change.name for change in changes)}.",
        rules=(*base.rules[:end], *added, *base.rules[end:], *kept),
        hard_swish=spellings[-1] if spellings else base.hard_swish,
    )


def plan(found: Inspection, recipe: Recipe) -> frozenset[tuple[int, str, int, int]]:
    """What a recipe comes to; recipes with the same plan and the same spelling make the same file.

    Args:
        found: of the float file.
        recipe: the recipe.
    """
    return frozenset(
        (operator.index, rule.mode.replace("follow", "static"), rule.activation_bits, rule.weight_bits)
        for rule, operators in assign(found, recipe).items()
        for operator in operators
    )


def changes_for(files: Mapping[Spelling, Inspection], base: Recipe) -> list[Change]:
    """What is worth trying, as far as the model has what it is about.

    Args:
        files: what is in the float files; both spellings if the model has hard-swish, else that of the recipe.
        base: the recipe.
    """
    own = files[base.hard_swish]
    static = any(rule.mode == "static" for rule in base.rules)
    changes: list[Change] = []
    if len(files) > 1:
        other = SPELLINGS[base.hard_swish == "fused"]
        changes.append(Change(f"hard-swish {other}", hard_swish=other))
    if static:
        changes += _in_integers(files.get("fused", own), own)
    return changes + _islands(own, base)


def _in_integers(fused: Inspection, own: Inspection) -> list[Change]:
    """More operators in int8."""
    found, changes = own.counts(), []
    if layers := _activated(fused):
        activation = Change("hard-swish in int8", (Rule(("ADD", "MUL"), "static", _exactly(layers)),), "reassociated")
        changes.append(activation)
    if layers := _additions(own):
        additions = Change("additions in int8", (Rule(("ADD",), "static", _exactly(layers)),))
        # Together they leave no float between convolutions, which neither does alone.
        both = [
            Change("hard-swish and additions in int8", (*one.rules, *additions.rules), "reassociated")
            for one in changes
        ]
        changes += [additions, *both]
    if layers := _matmuls(own):
        changes.append(Change("matmuls in int8", (Rule(("BATCH_MATMUL",), "static", _exactly(layers)),)))
    for name, operators in _MOVERS.items():
        if any(found[operator] for operator in operators):
            changes.append(Change(f"{name} in int8", (Rule(operators, "follow"),)))
    return changes


def _activated(fused: Inspection) -> set[str]:
    """Layers with hard-swish and no other sum or product: re-associated, all of theirs are the activation's."""
    others = {operator.layer for operator in fused.operators if operator.name in ("ADD", "MUL")}
    return {operator.layer for operator in fused.operators if operator.name == "HARD_SWISH"} - others


def _additions(found: Inspection) -> set[str]:
    """Layers all of whose ADDs are of two maps of one shape, as those behind branches are."""
    layers: dict[str, bool] = {}
    for operator in found.operators:
        if operator.name == "ADD":
            one, other = (found.tensors[index] for index in operator.inputs)
            alike = one.shape == other.shape and not one.bytes and not other.bytes
            layers[operator.layer] = layers.get(operator.layer, True) and alike
    return {layer for layer, alike in layers.items() if alike}


def _matmuls(found: Inspection) -> set[str]:
    """Layers all of whose BATCH_MATMULs are of two activations: a constant gets scales that XNNPACK refuses there."""
    matmuls = [operator for operator in found.operators if operator.name == "BATCH_MATMUL"]
    constant = {o.layer for o in matmuls if any(found.tensors[index].bytes for index in o.inputs)}
    return {operator.layer for operator in matmuls} - constant


def _islands(found: Inspection, base: Recipe) -> list[Change]:
    """Parts and layers left in float: the first ones, and those that take and give the most numbers.

    Where maps are large and channels few, quantising them costs about what integers save.
    """
    sizes: Counter[str] = Counter()
    for operator in (operator for operators in assign(found, base).values() for operator in operators):
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            tensors = [found.tensors[index] for index in (operator.inputs[0], operator.outputs[0])]
            layer = "/".join(operator.layer.split("/")[:2])
            sizes[layer] += sum(math.prod(tensor.shape) for tensor in tensors)
    parts = dict.fromkeys(re.split("[_/]", layer)[0] for layer in sizes)
    # A model of one part, or of layers with names of another kind, would be in float altogether.
    patterns = {part: f"^{re.escape(part)}([_/]|$)" for part in list(parts)[: min(_PARTS, len(parts) - 1)]}
    patterns |= {layer: f"^{re.escape(layer)}(/|$)" for layer, _ in sizes.most_common(_LAYERS)}
    return [Change(f"{name} in float", (Rule(("*",), "keep", pattern),)) for name, pattern in patterns.items()]


def _exactly(layers: Iterable[str]) -> str:
    return f"^({'|'.join(map(re.escape, sorted(layers)))})$"
