"""What was measured, as plain records that are written as JSON beside a model and read back by anything.

A `Run` is one visit to one device. It holds a `Series` for every file and number of threads, and a series holds a
`Round` for every time its turn came. Every single latency is kept: a figure can always be calculated anew.
"""

import dataclasses
import json
import statistics
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_effvit.atomic import write_json

#: Of the JSON; a reader refuses one it does not know.
VERSION = 1
#: The reference's latency may change so much from first to last before a run is marked as disturbed.
MOST_DRIFT = 0.05
#: No number of a record is larger, and no latency smaller: beyond them a file is damaged, not a device slow.
LARGEST, SHORTEST_MS = 1e15, 1e-9


@dataclass(frozen=True)
class Operator:
    """Operators of one kind in a profile.

    Args:
        name: as the runtime calls them, such as "Fully Connected (NC, QS8, QC8W) GEMM".
        place: "xnnpack", or "builtin" for what XNNPACK does not run.
        calls: in one inference.
        microseconds: that all calls of one inference take.
    """

    name: str
    place: str
    calls: int
    microseconds: float


@dataclass(frozen=True)
class Round:
    """One turn of one file: it was loaded, warmed up, and run.

    Args:
        number: of the round, from 0.
        latencies_ms: of every timed inference, in order.
        load_ms: to open the file and prepare it.
        first_ms: of the very first inference.
        warm_ups: inferences before the timed ones.
        peak_memory_kb: of the process, if the engine tells.
        celsius: of the device's skin before the turn, if it tells.
        cut_short: whether the device was lost before the turn was over.
    """

    number: int
    latencies_ms: tuple[float, ...]
    load_ms: float
    first_ms: float
    warm_ups: int
    peak_memory_kb: int | None = None
    celsius: float | None = None
    cut_short: bool = False

    @property
    def median_ms(self) -> float:
        """The middle latency."""
        return statistics.median(self.latencies_ms)


@dataclass(frozen=True)
class Series:
    """One file on one number of threads.

    Args:
        file: a name for the file, unique in the run, such as "sepvit_lite_int8".
        sha256: of its content.
        bytes: of its content.
        threads: that ran it.
        rounds: in the order they were measured.
        facts: what the file says of itself: model, precision, params, MACs, accuracy, partitions, as far as known.
        profile: where the time goes, if asked for, from inferences that are not among the latencies.
        error: why it could not be measured, or not to the end.
    """

    file: str
    sha256: str
    bytes: int
    threads: int
    rounds: tuple[Round, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    profile: tuple[Operator, ...] = ()
    error: str | None = None

    @property
    def median_ms(self) -> float:
        """The median of the rounds' medians: a disturbed round does not move it."""
        return statistics.median(each.median_ms for each in self.rounds)

    @property
    def p90_ms(self) -> float:
        """Nine of ten inferences of all rounds took no longer."""
        pooled = sorted(latency for each in self.rounds for latency in each.latencies_ms)
        position = 0.9 * (len(pooled) - 1)
        low = int(position)
        high = min(low + 1, len(pooled) - 1)
        return pooled[low] + (position - low) * (pooled[high] - pooled[low])

    @property
    def spread(self) -> float:
        """How far the rounds' medians lie apart: their median absolute deviation, as a share of the median."""
        medians = [each.median_ms for each in self.rounds]
        middle = statistics.median(medians)
        return statistics.median(abs(each - middle) for each in medians) / middle


@dataclass(frozen=True)
class Device:
    """Where it was measured.

    Args:
        kind: "phone" or "host".
        name: for people, such as "Google Pixel 8".
        facts: whatever else is known: SoC, Android, clusters, governor, temperatures, battery.
    """

    kind: str
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One visit to one device.

    Args:
        device: the device.
        engine: "runner", "benchmark_model" or "interpreter".
        settings: of the measurement: rounds, seed, warm-up, CPU mask.
        series: what was measured.
        reference: a fixed file's medians in milliseconds, before all rounds and after them.
        warnings: what may have disturbed it, in words.
        started: in ISO 8601, UTC.
        finished: the same; `None` if the run was cut short.
        error: what cut it short.
    """

    device: Device
    engine: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    reference: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    started: str = ""
    finished: str | None = None
    error: str | None = None

    @property
    def drift(self) -> float | None:
        """By how much the reference's latency changed from first to last, as a share of the first."""
        if len(self.reference) < 2:
            return None
        return self.reference[-1] / self.reference[0] - 1

    @property
    def disturbed(self) -> bool:
        """Whether the reference changed too much for the figures to be compared with another run's."""
        return self.drift is not None and abs(self.drift) > MOST_DRIFT

    def to_json(self) -> dict[str, Any]:
        """As what `json` writes."""
        return {"version": VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Run":
        """The record that `to_json` wrote.

        Args:
            facts: of `to_json`.

        Raises:
            ValueError: if they are not those of a run.
        """
        if not isinstance(facts, Mapping) or facts.get("version") != VERSION:
            found = facts.get("version") if isinstance(facts, Mapping) else type(facts).__name__
            raise ValueError(f"Expected the record of a run, version {VERSION}. Received: {found!r}")
        return _record(cls, {name: value for name, value in facts.items() if name != "version"}, "run")

    def save(self, path: str | Path) -> Path:
        """Writes the record; a crash leaves the old file or the new one.

        Args:
            path: of the JSON file.

        Returns:
            The path.
        """
        path = Path(path)
        write_json(path, self.to_json())
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Reads what `save` wrote.

        Args:
            path: of the JSON file.

        Raises:
            ValueError: if it is not the record of a run.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text()))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from error


def _record(kind: Any, facts: Any, place: str) -> Any:
    """A dataclass from the JSON of its fields: anybody may have written the file, and a table must not fall over it."""
    if not isinstance(facts, Mapping):
        raise ValueError(f"Expected an object at {place}. Received: {type(facts).__name__}")
    fields, hints = {each.name: each for each in dataclasses.fields(kind)}, typing.get_type_hints(kind)
    unknown = sorted(str(name) for name in facts if name not in fields)
    missing = [
        name
        for name, each in fields.items()
        if name not in facts and each.default is each.default_factory is dataclasses.MISSING
    ]
    if unknown or missing:
        raise ValueError(f"Expected the fields of {place}. Unknown: {unknown[:3]}; missing: {missing[:3]}")
    record = kind(**{name: _value(hints[name], value, f"{place}.{name}") for name, value in facts.items()})
    if isinstance(record, Round) and min(record.latencies_ms, default=0) < SHORTEST_MS:
        raise ValueError(f"Expected latencies above 0 at {place}. Received: {record.latencies_ms[:5]}")
    return record


def _value(kind: Any, value: Any, place: str) -> Any:
    arguments = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return None if value is None else _value(arguments[0], value, place)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, place)
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_value(arguments[0], each, f"{place}[{number}]") for number, each in enumerate(value))
    if typing.get_origin(kind) is Mapping and isinstance(value, Mapping):
        return dict(value)
    if kind in (str, bool) and isinstance(value, kind):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST
    if kind is float and number:
        return float(value)
    if kind is int and number and isinstance(value, int):
        return value
    raise ValueError(f"Expected {getattr(kind, '__name__', kind)} at {place}. Received: {str(value)[:40]!r}")
