"""Several files beside each other on one device: in interleaved rounds, between two looks at a reference.

A device is not the same from one minute to the next: it heats up, clocks change, other work comes and goes. So every
round measures every file once, in an order of its own; what disturbs a while meets all files. A fixed reference is
measured before and after, and tells whether the device as a whole became slower.
"""

import dataclasses
import datetime
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_effvit.device.engine import Engine, Plan
from keras_effvit.device.errors import DeviceError, Killed, RunFailed
from keras_effvit.report.records import Device, Run, Series

#: A convolutional network with nothing in it but what every device runs alike.
REFERENCE = Path(__file__).parent / "reference.tflite"
REFERENCE_NAME = "(reference)"
#: What one file does, and not the device: the other files are measured all the same.
_OF_THE_FILE = (RunFailed, Killed)

#: Turns that are done, turns in all, and what comes next.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Schedule:
    """What a run consists of.

    Args:
        threads: numbers of threads to measure every file on.
        rounds: in which every file has its turn.
        seed: of the orders of the turns.
        plan: how a turn is measured; its number of threads does not matter.
        profile_runs: inferences to profile each file by, after all rounds; none when 0.
    """

    threads: tuple[int, ...] = (1,)
    rounds: int = 5
    seed: int = 0
    plan: Plan = field(default_factory=Plan)
    profile_runs: int = 0

    def settings(self) -> dict[str, Any]:
        """For the record, whatever changes the latencies."""
        facts = _plain(dataclasses.asdict(self))
        del facts["plan"]["threads"], facts["profile_runs"]
        return facts


@dataclass(frozen=True)
class Turn:
    """A file's place in a round."""

    number: int
    file: str
    threads: int


def turns(files: Sequence[str], schedule: Schedule) -> list[Turn]:
    """Every file on every number of threads once in every round, each round in an order of its own.

    Args:
        files: their names.
        schedule: of the run.

    Example:
        >>> turns(["a", "b"], Schedule(rounds=2))
        [Turn(number=0, file='b', threads=1), Turn(number=0, file='a', threads=1), ...]
    """
    pairs = [(file, count) for file in files for count in schedule.threads]
    rng = random.Random(schedule.seed)
    return [Turn(number, *pair) for number in range(schedule.rounds) for pair in rng.sample(pairs, len(pairs))]


def benchmark(
    files: Mapping[str, Path],
    engine: Engine,
    device: Device,
    schedule: Schedule | None = None,
    *,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    warnings: Sequence[str] = (),
    between_rounds: Callable[[], float | None] | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Measures files beside each other.

    With an `output` the record is written after every turn, and a run that is there already goes on where it was cut
    short.

    Args:
        files: by name.
        engine: that runs them.
        device: where it runs them, for the record.
        schedule: of the run.
        facts: what the files say of themselves, by name.
        warnings: what may disturb the run, for the record.
        between_rounds: is called before every round: lets the device cool down and tells its temperature.
        output: the JSON file to keep the record in.
        progress: is told of every turn.

    Returns:
        The record.

    Raises:
        DeviceError: if the device fails. What was measured until then is in `output`, and in the error's `run`.
        ValueError: if `output` holds another run, or there is nothing to measure.
    """
    schedule = schedule or Schedule()
    if not files or not schedule.threads or schedule.rounds < 1:
        raise ValueError(f"Expected files to measure in at least one round. Received: {list(files)}, {schedule}")
    fresh = _begin(files, engine, device, schedule, facts or {})
    keeper = _Keeper(dataclasses.replace(fresh, warnings=tuple(warnings)), output)
    todo = [turn for turn in turns(list(files), schedule) if not keeper.has(turn)]
    if keeper.run.finished and not todo:
        return keeper.run
    session = _Session(engine, keeper, schedule, between_rounds, progress or _silent)
    try:
        engine.prepare({REFERENCE_NAME: REFERENCE, **files})
        session.run(todo)
    except BaseException as error:
        keeper.change(error=str(error) or type(error).__name__)
        if isinstance(error, DeviceError):
            error.run = keeper.run
        raise
    finally:
        with suppress(DeviceError):
            engine.close()
    return keeper.run


class _Session:
    """The turns of one run."""

    def __init__(
        self,
        engine: Engine,
        keeper: "_Keeper",
        schedule: Schedule,
        between_rounds: Callable[[], float | None] | None,
        progress: Progress,
    ):
        self._engine, self._keeper = engine, keeper
        self._plan, self._profile_runs = schedule.plan, schedule.profile_runs
        self._between_rounds, self._progress = between_rounds, progress

    def run(self, todo: Sequence[Turn]) -> None:
        profiles = [each for each in self._keeper.run.series if self._profile_runs and not each.profile]
        total = len(todo) + len(profiles)
        self._reference(first=True)
        celsius, number = None, -1
        for done, turn in enumerate(todo):
            if turn.number != number:
                number, celsius = turn.number, self._between_rounds and self._between_rounds()
            self._progress(done, total, f"{turn.file}, {_threads(turn.threads)}, round {turn.number + 1}")
            self._turn(turn, celsius)
        for done, series in enumerate(profiles, len(todo)):
            self._progress(done, total, f"{series.file}, {_threads(series.threads)}, profile")
            self._profile(series)
        self._reference(first=False)
        self._keeper.finish()
        self._progress(total, total, "done")

    def _turn(self, turn: Turn, celsius: float | None) -> None:
        if self._keeper.series(turn.file, turn.threads).error is not None:
            return
        plan = dataclasses.replace(self._plan, threads=turn.threads)
        try:
            measured = self._engine.measure(turn.file, plan, turn.number)
        except _OF_THE_FILE as error:
            self._keeper.update(turn.file, turn.threads, error=str(error))
            return
        except DeviceError as error:
            if error.partial_round is not None:
                self._keeper.add(turn, dataclasses.replace(error.partial_round, celsius=celsius, cut_short=True))
            raise
        self._keeper.add(turn, dataclasses.replace(measured, celsius=celsius))

    def _profile(self, series: Series) -> None:
        if series.error is not None:
            return
        plan = dataclasses.replace(self._plan, threads=series.threads)
        try:
            operators = self._engine.profile(series.file, plan, self._profile_runs)
        except _OF_THE_FILE as error:
            self._keeper.change(warnings=(*self._keeper.run.warnings, f"no profile of {series.file}: {error}"))
            return
        self._keeper.update(series.file, series.threads, profile=operators)

    def _reference(self, *, first: bool) -> None:
        """Of a run that goes on, the first look is the one it began with."""
        so_far = self._keeper.run.reference
        if first and so_far:
            return
        median = self._engine.measure(REFERENCE_NAME, dataclasses.replace(self._plan, threads=1), 0).median_ms
        self._keeper.change(reference=(*so_far[:1], median))


class _Keeper:
    """The record as it grows, in memory and in its file."""

    def __init__(self, fresh: Run, output: Path | None):
        self._output = output
        self.run = fresh
        if output is not None and output.exists():
            self.run = _resumed(Run.load(output), fresh, output)

    def series(self, file: str, threads: int) -> Series:
        return next(each for each in self.run.series if (each.file, each.threads) == (file, threads))

    def has(self, turn: Turn) -> bool:
        return any(each.number == turn.number for each in self.series(turn.file, turn.threads).rounds)

    def add(self, turn: Turn, measured: Any) -> None:
        self.update(turn.file, turn.threads, rounds=(*self.series(turn.file, turn.threads).rounds, measured))

    def update(self, file: str, threads: int, **changes: Any) -> None:
        new = dataclasses.replace(self.series(file, threads), **changes)
        self.change(
            series=tuple(new if (each.file, each.threads) == (file, threads) else each for each in self.run.series)
        )

    def change(self, **changes: Any) -> None:
        self.run = dataclasses.replace(self.run, **changes)
        if self._output is not None:
            self.run.save(self._output)

    def finish(self) -> None:
        self.change(finished=_now(), error=None)


def _begin(
    files: Mapping[str, Path],
    engine: Engine,
    device: Device,
    schedule: Schedule,
    facts: Mapping[str, Mapping[str, Any]],
) -> Run:
    contents = {name: path.read_bytes() for name, path in files.items()}
    series = tuple(
        Series(name, hashlib.sha256(content).hexdigest(), len(content), count, facts=dict(facts.get(name, {})))
        for name, content in contents.items()
        for count in schedule.threads
    )
    settings = {**schedule.settings(), **engine.settings}
    device = dataclasses.replace(device, facts=_plain(device.facts))
    return Run(device, engine.name, settings, series, started=_now())


def _resumed(old: Run, fresh: Run, path: Path) -> Run:
    """The old run, if the new one would measure the same in the same way; its half rounds are measured again."""

    def identity(run: Run) -> tuple:
        return (
            (run.device.kind, run.device.name, run.engine, run.settings),
            [(each.file, each.sha256, each.threads) for each in run.series],
        )

    if identity(old) != identity(fresh):
        raise ValueError(
            f"Expected in {path} the beginning of this run, to go on with. Received a run of other files or settings; "
            "give another name or remove it"
        )
    series = tuple(
        dataclasses.replace(each, error=None, rounds=tuple(one for one in each.rounds if not one.cut_short))
        for each in old.series
    )
    return dataclasses.replace(old, series=series, error=None)


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As a file gives them back: lists for tuples."""
    return json.loads(json.dumps(dict(facts)))


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _silent(done: int, total: int, text: str) -> None:
    del done, total, text
