"""One run beside another: what became faster, what slower, and what nobody can tell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from keras_effvit.report import text
from keras_effvit.report.records import Run, Series
from keras_effvit.report.statistics import FEWEST_ROUNDS, Estimate, Verdict, ratio_between
from keras_effvit.report.table import interval

if TYPE_CHECKING:
    from rich.table import Table

#: Settings that change no latency.
_HARMLESS = frozenset({"seed", "rounds", "threads"})
STYLES = {"faster": "green", "slower": "red", "undecided": "dim"}


@dataclass(frozen=True)
class Compared:
    """A file on a number of threads, in both runs.

    Attributes:
        file: its name.
        threads: that ran it.
        before: its median in the first run, in milliseconds.
        after: its median in the second.
        ratio: how many times as long the second took.
        verdict: whether that is surely less than once, or more.
        changed: whether the file's content is another one.
    """

    file: str
    threads: int
    before: float
    after: float
    ratio: Estimate
    verdict: Verdict
    changed: bool


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        lines: for what is in both, in the second one's order.
        warnings: why they may not be comparable.
        missing: what only one of them measured, in words.
    """

    lines: tuple[Compared, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]

    def markdown(self) -> str:
        """The lines as a Markdown table, with warnings below."""
        head = "| file | threads | before ms | after ms | ratio | 95 % interval | verdict |\n"
        head += "|:--|--:|--:|--:|--:|--:|:--|\n"
        rows = ("| " + " | ".join(text.cell(cell) for cell in cells) + " |\n" for cells in map(_cells, self.lines))
        notes = [*self.warnings, *self.missing]
        return head + "".join(rows) + "".join(f"\n* {text.cell(note)}" for note in notes) + ("\n" if notes else "")

    def rich_table(self) -> "Table":
        """The lines for a terminal."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for title in ("file", "threads", "before ms", "after ms", "ratio", "95 % interval", "verdict"):
            side, fold = ("left", title == "file") if title in ("file", "verdict") else ("right", False)
            table.add_column(title, justify=side, no_wrap=not fold, overflow="fold")
        for line in self.lines:
            *cells, verdict = _cells(line)
            table.add_row(*map(Text, cells), Text(verdict, STYLES[line.verdict]))
        return table


def compare(before: Run, after: Run, *, seed: int = 0) -> Comparison:
    """Holds a run against an earlier one.

    A verdict allows for the drift of both runs besides the interval: rounds cannot show what slowed all of them.

    Args:
        before: the earlier run.
        after: the later run.
        seed: of the bootstrap.

    Raises:
        ValueError: if they have no file on the same number of threads in common, or one is of a phone and the other
            of a computer.

    Example:
        >>> compare(Run.load("old/latency-pixel.json"), Run.load("new/latency-pixel.json")).lines[0].verdict
        'faster'
    """
    if before.device.kind != after.device.kind:
        raise ValueError(
            f"Expected two runs on the same kind of device. Received: {before.device.kind!r} and {after.device.kind!r}"
        )
    old, new = _by_key(before), _by_key(after)
    common = [key for key in new if key in old]
    if not common:
        raise ValueError(f"Expected files in common. Received: {_names(old) or 'none'}; and {_names(new) or 'none'}")
    margin = max(abs(run.drift or 0.0) for run in (before, after))
    lines = tuple(_compared(old[key], new[key], margin, seed) for key in common)
    missing = [f"only before: {_name(key)}" for key in old if key not in new]
    missing += [f"only after: {_name(key)}" for key in new if key not in old]
    return Comparison(lines, tuple(_warnings(before, after, lines)), tuple(missing))


def _by_key(run: Run) -> dict[tuple[str, int], Series]:
    whole = (replace(each, rounds=tuple(turn for turn in each.rounds if not turn.cut_short)) for each in run.series)
    return {(each.file, each.threads): each for each in whole if each.rounds}


def _compared(old: Series, new: Series, margin: float, seed: int) -> Compared:
    ratio = ratio_between(new.rounds, old.rounds, seed=seed)
    assert ratio is not None
    changed = old.sha256 != new.sha256
    return Compared(new.file, new.threads, old.median_ms, new.median_ms, ratio, ratio.verdict(margin), changed)


def _warnings(before: Run, after: Run, lines: Sequence[Compared]) -> Iterator[str]:
    if before.device.name != after.device.name:
        yield f"The devices differ: {before.device.name} and {after.device.name}."
    for name in ("serial_sha", "build", "governor", "abilities", "litert"):
        ours, theirs = before.device.facts.get(name), after.device.facts.get(name)
        if ours is not None and theirs is not None and ours != theirs:
            yield f"The devices' {name} differ: {text.fact(ours, 60)} and {text.fact(theirs, 60)}."
    if before.engine != after.engine:
        yield f"The engines differ: {before.engine} and {after.engine}."
    old, new = _settings(before), _settings(after)
    for name in sorted({*old, *new} - _HARMLESS):
        ours, theirs = old.get(name), new.get(name)
        if ours != theirs:
            yield f"The settings differ: {name} was {text.fact(ours, 60)}, and is {text.fact(theirs, 60)}."
    for name, run in (("first", before), ("second", after)):
        if run.disturbed:
            yield f"The {name} run was disturbed: its reference drifted by {text.percent(run.drift)}."
        if run.finished is None:
            yield f"The {name} run was cut short."
    if any(line.ratio.low is None for line in lines):
        yield f"Fewer than {FEWEST_ROUNDS} rounds decide nothing."


def _settings(run: Run) -> dict[str, Any]:
    """All of them, those of the plan beside the others."""
    plan = run.settings.get("plan")
    if not isinstance(plan, Mapping):
        return dict(run.settings)
    return {**{name: value for name, value in run.settings.items() if name != "plan"}, **plan}


def _cells(line: Compared) -> tuple[str, ...]:
    return (
        text.plain(line.file, 60) + (" (changed)" if line.changed else ""),
        str(line.threads),
        text.milliseconds(line.before),
        text.milliseconds(line.after),
        text.factor(line.ratio.value),
        interval(line.ratio, text.factor) or text.NOTHING,
        line.verdict,
    )


def _name(key: tuple[str, int]) -> str:
    return f"{text.plain(key[0], 60)} on {key[1]} thread{'' if key[1] == 1 else 's'}"


def _names(keys: dict[tuple[str, int], Series]) -> str:
    return ", ".join(_name(key) for key in list(keys)[:5])
