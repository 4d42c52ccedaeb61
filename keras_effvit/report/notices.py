"""What a reader has to know before believing a run's figures."""

from dataclasses import dataclass
from typing import Literal

from keras_effvit.report.records import Run
from keras_effvit.report.statistics import FEWEST_ROUNDS
from keras_effvit.report.text import percent

#: A device that warms by more slows down, or soon will.
MOST_WARMING = 3.0


@dataclass(frozen=True)
class Notice:
    """Something to know.

    Attributes:
        level: "bad" if figures may be wrong, "warn" if they may be disturbed, "note" of what they mean.
        text: one or two sentences.
    """

    level: Literal["bad", "warn", "note"]
    text: str


def notices(run: Run) -> tuple[Notice, ...]:
    """Of a run, the worst first.

    Args:
        run: the run.

    Example:
        >>> [notice.text for notice in notices(run)]
        ['Measured on this computer, not on a phone: ...']
    """
    found = []
    if run.error is not None or run.finished is None:
        why = f": {run.error}" if run.error else ""
        found.append(Notice("bad", f"The run was cut short{why}. What was measured before is shown."))
    if run.disturbed and run.drift is not None:
        changed = f"{percent(abs(run.drift))} {'slower' if run.drift > 0 else 'faster'}"
        found.append(
            Notice(
                "bad",
                f"The reference was {changed} at the end than at the start: hold no figure against another run's.",
            )
        )
    failed = {each.file: each.error for each in run.series if each.error is not None}
    found += [Notice("bad", f"{file} could not be measured: {error}") for file, error in failed.items()]
    if (warming := _warming(run)) is not None and warming > MOST_WARMING:
        found.append(Notice("warn", f"The device warmed by {warming:.1f} °C while it was measured."))
    found += [Notice("warn", text) for text in run.warnings]
    if run.device.kind != "phone":
        found.append(
            Notice("note", "Measured on a computer: on a phone, neither milliseconds nor ratios need be the same.")
        )
    if run.engine == "benchmark_model":
        found.append(
            Notice("note", "benchmark_model tells no single latencies: every round has the tool's own figure.")
        )
    fewest = min((len(series.rounds) for series in run.series if series.error is None), default=FEWEST_ROUNDS)
    if fewest < FEWEST_ROUNDS:
        found.append(Notice("note", f"Intervals want {FEWEST_ROUNDS} rounds; some files have {fewest}."))
    return tuple(found)


def _warming(run: Run) -> float | None:
    """By how much the device was warmer than at its first turn, at the most."""
    turns = sorted(
        ((turn.number, turn.celsius) for series in run.series for turn in series.rounds if turn.celsius is not None),
        key=lambda turn: turn[0],
    )
    return max(celsius for _, celsius in turns) - turns[0][1] if turns else None
