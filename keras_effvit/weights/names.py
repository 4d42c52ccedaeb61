"""Tables of names: how the path of a weight in our models becomes its name in a checkpoint.

A rule maps a layer's path in our model to the module's name in the checkpoint. `{i}` stands for a number on the left;
on the right it may be shifted, `{i-1}`, because our stages and blocks count from 1. A rule whose left side is the path
of a weight, not of a layer, names the whole checkpoint entry.
"""

import functools
import re
from dataclasses import dataclass

#: A pattern that no name matches.
NOTHING = r"(?!)"
#: A layer's own variables, and what checkpoints call them.
LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class NameTable:
    """One family's names.

    Attributes:
        family: whose models they fit.
        code: whose code calls them so, if not the authors'.
        rules: our path -> checkpoint name, the first match counts.
        head: pattern of the entries that only a classifier needs, ignored by models built without the head.
        buffers: pattern of entries that hold no weight.
        classifiers: our paths of the layers with an output for every class.
        dense_norms: pattern of entries that every dense file has and no classification file.
        only_dense: pattern of all that a dense model has beyond a classification file; it stays at its initial values.
        only_classification: pattern of what a dense model drops of a classification file, beside the head.
        requires: pattern of our paths of which a model must have one to go by these names; `None` if any model does.
        unused: pattern of entries of layers that the authors' model has and does not use.
        attention_epsilon: what the code behind these names adds to the sum of linear attention's weights.
    """

    family: str
    rules: dict[str, str]
    code: str = "official"
    head: str = r"head\."
    buffers: str = r".*\.num_batches_tracked"
    classifiers: tuple[str, ...] = ("head",)
    dense_norms: str | None = None
    only_dense: str = NOTHING
    only_classification: str = NOTHING
    requires: str | None = None
    unused: str = NOTHING
    attention_epsilon: float | None = None

    @property
    def title(self) -> str:
        """Whose names they are."""
        return f"{self.family} ({self.code})"

    def checkpoint_name(self, path: str) -> str | None:
        """The checkpoint's name of the weight at `path`, or `None` where no rule applies."""
        layer, _, leaf = path.rpartition("/")
        for ours, theirs in self.rules.items():
            for candidate, suffix in ((path, ""), (layer, f".{LEAVES.get(leaf, leaf)}")):
                match = _pattern(ours).fullmatch(candidate)
                if match:
                    return _fill(theirs, match.groupdict()) + suffix
        return None

    def stage(self, name: str) -> int | None:
        """The stage, counted from 1, that a checkpoint's entry belongs to; `None` for the stem and the head."""
        for ours, theirs in self.rules.items():
            match = _inverse(theirs).match(name)
            if match and ours.startswith("stage"):
                number = re.match(r"stage(\d+)", ours)
                return int(number[1]) if number else int(match["s"]) - _shift(theirs)
        return None

    def knows(self, name: str) -> bool:
        """Whether `name` could be an entry of a checkpoint, or of what Keras saved of a model of ours."""
        return _any_name(tuple(self.rules.items())).fullmatch(name) is not None


#: A placeholder of a rule's right side: its name and its shift.
_PLACEHOLDER = r"\{(\w+?)([+-]\d+)?\}"


@functools.cache
def _inverse(template: str) -> re.Pattern[str]:
    """Matches the entries of a module named by a rule's right side."""
    parts = re.split(_PLACEHOLDER, template)
    pattern = "".join(
        f"(?P<{name}>\\d+)" + re.escape(after) for name, after in zip(parts[1::3], parts[3::3], strict=True)
    )
    return re.compile(re.escape(parts[0]) + pattern + r"(\.|$)")


@functools.cache
def _any_name(rules: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    theirs, ours = (
        "|".join(
            r"\d+".join(re.escape(part) for part in re.split(r"\{\w+?(?:[+-]\d+)?\}", rule[side])) for rule in rules
        )
        for side in (1, 0)
    )
    own_leaves = "|".join(LEAVES)
    return re.compile(rf"({theirs})(\.({'|'.join(set(LEAVES.values()))}))?|({ours})/(vars/\d+|{own_leaves})")


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    # Odd parts are the placeholders' names.
    return re.compile("".join(f"(?P<{p}>\\d+)" if i % 2 else re.escape(p) for i, p in enumerate(parts)))


def _shift(template: str) -> int:
    """What a rule's right side adds to the stage."""
    return next(int(shift or 0) for name, shift in re.findall(_PLACEHOLDER, template) if name == "s")


def _fill(template: str, numbers: dict[str, str]) -> str:
    def number(match: re.Match[str]) -> str:
        return str(int(numbers[match[1]]) + int(match[2] or 0))

    return re.sub(_PLACEHOLDER, number, template)
