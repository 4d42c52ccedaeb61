"""What a file of weights holds, and which model it is of, without loading it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_effvit.models.registry import create_model, models_of
from keras_effvit.weights.formats import Checkpoint
from keras_effvit.weights.matching import Match, matches, splits, state_dicts
from keras_effvit.weights.naming import namings
from keras_effvit.weights.rules import TABLES
from keras_effvit.weights.task_rules import TASK_TABLES


@dataclass(frozen=True)
class ArraySet:
    """A dict of arrays in a file.

    Attributes:
        wrapper: the keys on the way to it.
        arrays: by name, (dtype, shape, bytes).
    """

    wrapper: tuple[str, ...]
    arrays: dict[str, tuple[str, tuple[int, ...], int]]

    @property
    def size(self) -> int:
        """All bytes."""
        return sum(size for _, _, size in self.arrays.values())


@dataclass(frozen=True)
class Guess:
    """The model of this package that fits a file best.

    Attributes:
        model: its name in the registry.
        classes: outputs of the classifier in the file; `None` where there is none.
        found: how many of the model's weights the file holds in their sizes.
        expected: how many weights the model has.
        names: whose names they are.
        place: where in the file.
        average: whether that is a moving average.
    """

    model: str
    classes: int | None
    found: int
    expected: int
    names: str
    place: str
    average: bool

    def __str__(self) -> str:
        classes = "without a classifier" if self.classes is None else f"{self.classes} classes"
        return (
            f"{self.model}, {classes}: {self.found} of {self.expected} weights, names of {self.names}, in {self.place}"
        )


def array_sets(checkpoint: Checkpoint) -> list[ArraySet]:
    """Every dict of arrays in a file, none of them touched.

    Args:
        checkpoint: of `read_checkpoint`.
    """
    return [
        ArraySet(wrapper, {name: (value.dtype.name, value.shape, value.nbytes) for name, value in arrays.items()})
        for wrapper, arrays in state_dicts(checkpoint.content)
    ]


def guess(checkpoint: Checkpoint) -> Guess | None:
    """The model that a file is of, by the names and the sizes of its arrays.

    Args:
        checkpoint: of `read_checkpoint`.

    Returns:
        The model that has most of its weights in the file; `None` if no name is known.

    Example:
        >>> print(guess(read_checkpoint("lightvit_tiny_78.7.ckpt")))
        lightvit_tiny, 1000 classes: 397 of 397 weights, names of lightvit (official), in state_dict/*
    """
    family = likely_family(checkpoint.content)
    if family is None:
        return None
    found = [
        (name, match)
        for name in models_of(family)
        for naming in namings(create_model(name))
        for wrapper, entries in state_dicts(checkpoint.content)
        for match in matches(naming, wrapper, entries)
    ]
    # The weights themselves before an average that fits as well.
    best = max(found, key=lambda pair: (pair[1].fitting, pair[1].named, not pair[1].average), default=None)
    return _describe(*best) if best else None


def _describe(name: str, match: Match) -> Guess:
    targets = match.naming.targets
    return Guess(
        model=name,
        classes=_classes(match),
        found=match.fitting,
        expected=len(targets),
        names=match.naming.title,
        place=match.place,
        average=match.average,
    )


def _classes(match: Match) -> int | None:
    """The length of the classifier's bias in the file."""
    for name, target in match.naming.targets.items():
        if target.path in ("head/bias", "heads/head/bias") and match.prefix + name in match.entries:
            return int(match.entries[match.prefix + name].size)
    return None


def likely_family(content: Mapping[Any, Any]) -> str | None:
    """The family whose rules know most of the names."""
    counts: Counter[str] = Counter()
    for _, entries in state_dicts(content):
        for table in (*TABLES, *TASK_TABLES):
            known = Counter(prefix for entry in entries for prefix, name in splits(entry) if table.knows(name))
            counts[table.family] = max(counts[table.family], *known.values(), 0)
    family, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return family if count else None
