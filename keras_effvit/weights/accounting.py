"""Accounting for every entry: what a file lacks, what it holds beyond the model, what of that is right."""

import re

from keras_effvit.weights.matching import Match
from keras_effvit.weights.names import NameTable
from keras_effvit.weights.pickle_machine import CheckpointError
from keras_effvit.weights.report import some

#: Keras keeps the state of random generators and optimizers beside the weights.
_KERAS_STATE = re.compile(r"(^|/)(seed_generator|optimizer)/")
#: What every model of ours has without its head, in our own names.
_ENCODER = re.compile(r"stem|global_tokens|stage(\d+)")


def is_transfer(match: Match) -> bool:
    """Whether a classification file meets a dense model.

    Args:
        match: the entries.
    """
    table = match.naming.table
    if table is None or table.dense_norms is None:
        return False
    expected = [name for name in match.naming.targets if re.fullmatch(table.dense_norms, name)]
    return bool(expected) and not any(match.prefix + name in match.entries for name in expected)


def check_complete(
    title: str, match: Match, missing: tuple[str, ...], unexpected: tuple[str, ...], *, transfer: bool
) -> None:
    """Refuses what is missing or unexpected, but for the documented differences of dense models.

    Args:
        title: the model's name.
        match: the entries.
        missing: names of the model that are not in the file.
        unexpected: entries of the file that are not in the model.
        transfer: whether a classification file meets a dense model.

    Raises:
        CheckpointError: if anything is left.
    """
    table = match.naming.table
    if table and transfer:
        missing = tuple(name for name in missing if not re.fullmatch(table.only_dense, name))
    if missing or unexpected:
        raise CheckpointError(
            f"The checkpoint does not fit {title}. Expected {len(match.naming.targets)} entries. "
            f"Missing: {some(missing) or 'none'}. Unexpected: {some(unexpected) or 'none'}."
        )


def leftovers(match: Match, *, transfer: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries that no weight asked for: (unexpected, ignored)."""
    table, targets, prefix = match.naming.table, match.naming.targets, match.prefix
    has_head = any(target.layer_path.startswith("head") for target in targets.values())

    def is_ignored(entry: str, name: str) -> bool:
        if table is None:
            return bool(_KERAS_STATE.search(entry)) or (not has_head and _beyond_ours(entry, name, match))
        if re.fullmatch(table.buffers, name) or (transfer and re.fullmatch(table.only_classification, name)):
            return True
        if re.fullmatch(table.unused, name):
            return True
        return not has_head and _beyond(entry, name, table, match)

    unexpected, ignored = [], []
    for entry in match.entries:
        name = entry.removeprefix(prefix)
        if not (entry.startswith(prefix) and name in targets):
            (ignored if is_ignored(entry, name) else unexpected).append(entry)
    return tuple(unexpected), tuple(ignored)


def _beyond(entry: str, name: str, table: NameTable, match: Match) -> bool:
    """Whether an entry belongs to what a model without head leaves out: the head, later stages, other networks."""
    deepest = max((table.stage(known) or 0 for known in match.naming.targets), default=0)
    outside = not entry.startswith(match.prefix) or re.match(table.head, name)
    return bool(outside) or (table.stage(name) or 0) > deepest


def _beyond_ours(entry: str, name: str, match: Match) -> bool:
    """The same for our own names."""
    stages = [_ENCODER.match(target.path) for target in match.naming.targets.values()]
    deepest = max((int(stage[1] or 0) for stage in stages if stage), default=0)
    known = _ENCODER.match(name)
    return not entry.startswith(match.prefix) or not known or int(known[1] or 0) > deepest
