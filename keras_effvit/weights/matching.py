"""Which of the dicts in a file holds a model's weights, under which names, behind which prefix: the one that fits most.

Nothing is guessed from a file's origin. Training scripts wrap a model's weights in dicts (`state_dict`, `model`, `ema`)
and modules (`module.`, `backbone.`, `encoder.`); here every dict of the file is held against the names the model has.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_effvit.weights.naming import Naming, Target
from keras_effvit.weights.pickle_machine import CheckpointError

StateDict = Mapping[str, np.ndarray]

#: Modules that may stand around a model; a name with more is none of ours.
_DEEPEST_PREFIX = 8
_LONGEST_NAME = 1024
#: Fewer of a model's names are an accident: every network has a `norm.weight` somewhere.
LEAST_SHARE = 0.1
_MODULE_END = re.compile(r"[./]")
#: A key, or part of a prefix, that says "moving average".
_AVERAGE = re.compile(r"(^|[._/])(ema|swa|averaged?)([._/0-9]|$)")


@dataclass(frozen=True)
class Match:
    """A dict of the file that holds weights of the model.

    Attributes:
        naming: whose names they are.
        wrapper: the keys on the way to the dict.
        entries: the dict.
        prefix: what stands before every name.
        fitting: how many of the model's weights are there with as many values.
        named: how many are there at all.
    """

    naming: Naming
    wrapper: tuple[str, ...]
    entries: StateDict
    prefix: str
    fitting: int
    named: int

    @property
    def average(self) -> bool:
        """Whether the file calls these weights a moving average."""
        return any(_AVERAGE.search(word) for word in (*self.wrapper, self.prefix))

    @property
    def place(self) -> str:
        """Where in the file, for a message."""
        return "/".join([*self.wrapper, f"{self.prefix}*"])


def find(content: Mapping[Any, Any], candidates: list[Naming], *, ema: bool, least_share: float = LEAST_SHARE) -> Match:
    """The weights of a model in the content of a file.

    Args:
        content: dicts down to names and arrays.
        candidates: the names the model's weights may have.
        ema: the moving average, instead of the weights themselves.
        least_share: of the model's names that a dict must have to be taken for its weights.

    Raises:
        CheckpointError: if there are none, or several that fit as well.
    """
    found = [
        match
        for wrapper, entries in state_dicts(content)
        for naming in candidates
        for match in matches(naming, wrapper, entries)
        if match.named >= least_share * len(naming.targets)
    ]
    chosen = [match for match in found if match.average == ema]
    if not chosen:
        raise CheckpointError(_nothing_found(content, found, candidates[0], ema=ema))
    best = max((match.fitting, match.named) for match in chosen)
    winners = [match for match in chosen if (match.fitting, match.named) == best]
    if len(winners) > 1:
        places = ", ".join(sorted(match.place for match in winners)[:5])
        raise CheckpointError(
            f"Expected one set of weights. Received: {len(winners)} that fit as well: {places}; "
            "pick one out of `read_checkpoint(path).content` and give it to `load_state_dict`"
        )
    return winners[0]


def state_dicts(content: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], StateDict]]:
    """Every dict below `content` that holds arrays under names, with the keys on the way to it."""
    todo: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), content)]
    seen = set()
    while todo:
        wrapper, branch = todo.pop()
        if id(branch) in seen:  # shared, or holding itself
            continue
        seen.add(id(branch))
        arrays = {key: value for key, value in branch.items() if isinstance(key, str) and isinstance(value, np.ndarray)}
        if arrays:
            yield wrapper, arrays
        todo += [((*wrapper, str(key)), value) for key, value in branch.items() if isinstance(value, Mapping)]


def matches(naming: Naming, wrapper: tuple[str, ...], entries: StateDict) -> Iterator[Match]:
    """A match for every prefix behind which there are names of `naming`.

    Args:
        naming: the names.
        wrapper: the keys on the way to `entries`.
        entries: names and arrays.
    """
    named, fitting = Counter(), Counter()
    for entry, value in entries.items():
        for prefix, name in splits(entry):
            target = naming.targets.get(name)
            if target is not None:
                named[prefix] += 1
                fitting[prefix] += int(_same_size(value, target))
    for prefix, count in named.items():
        yield Match(naming, wrapper, entries, prefix, fitting[prefix], count)


def splits(entry: str) -> Iterator[tuple[str, str]]:
    """An entry as (prefix, name) in every way: `a.b.c` is `("", "a.b.c")`, `("a.", "b.c")` and `("a.b.", "c")`."""
    if len(entry) > _LONGEST_NAME:
        return
    start = 0
    for _ in range(_DEEPEST_PREFIX):
        yield entry[:start], entry[start:]
        end = _MODULE_END.search(entry, start)
        if end is None:
            return
        start = end.end()


def _same_size(value: np.ndarray, target: Target) -> bool:
    return value.size == math.prod(target.variable.shape)


def _nothing_found(content: Mapping[Any, Any], found: list[Match], naming: Naming, *, ema: bool) -> str:
    if found:
        places = ", ".join(sorted({match.place for match in found})[:5])
        if ema:
            return f"Expected a moving average, as `ema=True` asks. Received: a file with weights under {places} only"
        return f"Expected weights. Received: a file with a moving average only, under {places}; `ema=True` loads it"
    entries = [name for _, arrays in state_dicts(content) for name in arrays]
    received = f"{len(entries)} arrays, such as {entries[0][:80]!r}" if entries else "no arrays at all"
    return f"Expected entries such as {next(iter(naming.targets))!r}. Received: {received}"
