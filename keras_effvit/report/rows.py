"""A run as rows, one for every file and number of threads: what the tables, the pictures and the page show."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keras_effvit.report.collect import Artifact, number
from keras_effvit.report.records import Run, Series
from keras_effvit.report.statistics import Estimate, median_of, ratio_within

#: Every precision a recipe of ours makes, the most exact first; a name may end in one.
PRECISIONS = ("float32", "float16", "dynamic", "int16x8", "int8_full", "int8")


@dataclass(frozen=True)
class Row:
    """A file on a number of threads.

    Attributes:
        series: what was measured, in turns that were not cut short.
        model: such as "sepvit_lite".
        family: such as "sepvit".
        precision: such as "int8"; empty if nobody tells.
        median: in milliseconds; `None` before its first round.
        ratio: to the baseline's time, inside the rounds; `None` without one.
        facts: what is known of the file, from the run and from what lies beside the file.
    """

    series: Series
    model: str
    family: str
    precision: str
    median: Estimate | None
    ratio: Estimate | None
    facts: Mapping[str, Any]

    def number(self, name: str) -> float | int | None:
        """A fact that is a number; `None` if it is not known, or none.

        Args:
            name: such as "macs", "agreement" or "top1".
        """
        return number(self.facts.get(name))


def rows(run: Run, *, baseline: str | None = None, artifacts: Iterable[Artifact] = ()) -> tuple[Row, ...]:
    """Rows in the order of the run, those of a model together.

    Args:
        run: of the rows.
        baseline: the file that ratios are to; by default each model's own float32.
        artifacts: that may know more of the files. A file is known by its hash, or by its name if it has none.

    Raises:
        ValueError: if the baseline is not in the run.
    """
    files = sorted({series.file for series in run.series})
    if baseline is not None and baseline not in files:
        raise ValueError(f"Expected a baseline among {files}. Received: {baseline!r}")
    known = _Known(artifacts)
    plain = [_row(series, known) for series in run.series]
    models, names = ([row.model for row in plain], [row.series.file for row in plain])
    plain.sort(key=lambda row: (models.index(row.model), names.index(row.series.file)))
    return tuple(_with_ratio(row, plain, baseline) for row in plain)


class _Known:
    """Facts by hash, and by name for what has none."""

    def __init__(self, artifacts: Iterable[Artifact]):
        self._by = {artifact.sha256 or artifact.name: artifact for artifact in artifacts}

    def facts(self, series: Series) -> dict[str, Any]:
        artifact = self._by.get(series.sha256) or self._by.get(series.file)
        own = {name: value for name, value in series.facts.items() if value is not None}
        beside = artifact.facts if artifact else {}
        # A file's work is what was counted in it: a model's usual figure is that of its usual size of image.
        return {**beside, **own, **({"macs": beside["macs"]} if "macs" in beside else {})}


def _row(series: Series, known: _Known) -> Row:
    series = replace(series, rounds=tuple(turn for turn in series.rounds if not turn.cut_short))
    facts = known.facts(series)
    model, precision = split_name(series.file)
    model = facts["model"] if isinstance(facts.get("model"), str) else model
    precision = facts["precision"] if isinstance(facts.get("precision"), str) else precision
    family = facts["family"] if isinstance(facts.get("family"), str) else family_of(model)
    return Row(series, model, family, precision, median_of(series.rounds), None, facts)


def _with_ratio(row: Row, others: Sequence[Row], baseline: str | None) -> Row:
    for other in others:
        same = (
            other.series.file == baseline
            if baseline
            else other.model == row.model and other.precision == PRECISIONS[0] and row.precision != PRECISIONS[0]
        )
        if same and other.series.threads == row.series.threads:
            ratio = ratio_within(row.series.rounds, other.series.rounds)
            return Row(row.series, row.model, row.family, row.precision, row.median, ratio, row.facts)
    return row


def split_name(file: str) -> tuple[str, str]:
    """Model and precision from a file's name.

    Args:
        file: such as "sepvit_lite_int8".

    Returns:
        Such as `("sepvit_lite", "int8")`; the precision is empty if the name has none.
    """
    for precision in PRECISIONS:
        for end in (f"_{precision}", f"-{precision}", f"/{precision}", f".{precision}", f"/{precision}/model"):
            if file.endswith(end) and len(file) > len(end):
                return file.removesuffix(end), precision
    return file, ""


def family_of(model: str) -> str:
    """The family in a model's name: its letters up to a version, a size or a separator.

    Args:
        model: such as "efficientvit_b1" or "MobileNetV3Large".

    Example:
        >>> family_of("MobileNetV3Large")
        'mobilenet'
    """
    found = re.match(r"([a-z]+?)(?=v?\d|[^a-z]|$)", model.lower().rpartition("/")[2])
    return found[1] if found else model
