"""How one talks with the runner: options on its command line, and its answers as lines of JSON."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import DeviceError, Disconnected, Killed, NoSpace, RunFailed, from_shell
from keras_effvit.report.records import Operator, Round

#: What helps when the runner gives up, by the stage at which it did.
_FIXES = {
    "options": "The runner is of another version than this package: install the package anew.",
    "library": "Delete the folder that `keras-effvit` keeps LiteRT's library in, or install ai-edge-litert anew.",
    "file": "Check that the path names a .tflite file, and convert the model again if the file is damaged.",
    "compile": "LiteRT cannot prepare the file: it may hold operators that this version of LiteRT does not have.",
    "cpu_mask": "Name processors that are switched on; `cat /sys/devices/system/cpu/online` tells which are.",
    "input": "Pass one array for each input of the file, in its order, with the bytes that it takes.",
}
_NO_SPACE = 28


@dataclass(frozen=True)
class Tensor:
    """An input or output of a file.

    Args:
        name: in the file.
        bytes: of its content.
        shape: of its content.
    """

    name: str
    bytes: int
    shape: tuple[int, ...]


@dataclass
class Answers:
    """What the runner has said so far. A line that makes no sense never raises; `check` tells in the end.

    Args:
        inputs: of the file, in its own order.
        outputs: the same.
        load_ms: to open the file and prepare it; `None` until that is done.
        warm_ups: inferences before the timed ones.
        first_ms: of the very first inference.
        latencies_ms: of the timed ones.
        peak_memory_kb: of the process.
        operators: of the profile, the longest first.
        timed: whether all timed inferences were told.
        profiled: whether the profile was told.
        done: whether the runner said that it had said all.
        error: what it gave up for: stage, status and message.
        nonsense: the first line that made no sense.

    Example:
        >>> answers = Answers.of(lines)
        >>> answers.check(returncode, stderr)
        >>> answers.round(0).median_ms
    """

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    load_ms: float | None = None
    warm_ups: int = 0
    first_ms: float | None = None
    latencies_ms: list[float] = field(default_factory=list)
    peak_memory_kb: int | None = None
    operators: tuple[Operator, ...] = ()
    timed: bool = False
    profiled: bool = False
    done: bool = False
    error: tuple[str, int, str] | None = None
    nonsense: str | None = None

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Answers":
        """What these lines say.

        Args:
            lines: of the runner's standard output.
        """
        answers = cls()
        for line in lines:
            answers.add(line)
        return answers

    def add(self, line: str) -> None:
        """Takes one line.

        Args:
            line: of the runner's standard output, with or without its end.
        """
        if not line.strip():
            return
        try:
            event = json.loads(line, parse_constant=_refuse)
            _TAKE[_text(event, "event")](self, event)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self.nonsense = self.nonsense or line.strip()[:200]

    def round(self, number: int) -> Round | None:
        """What was measured, be it all or what was there when it was cut short; `None` if nothing was.

        Args:
            number: of the round, for the record.
        """
        if self.load_ms is None or not self.latencies_ms:
            return None
        first = self.latencies_ms[0] if self.first_ms is None else self.first_ms
        return Round(number, tuple(self.latencies_ms), self.load_ms, first, self.warm_ups, self.peak_memory_kb)

    def check(self, returncode: int, stderr: str = "", *, number: int = 0) -> None:
        """Makes sure that the runner did all it was to do, and said all of it.

        Args:
            returncode: of the runner: 128 + n where signal n ended it.
            stderr: of the runner.
            number: of the round that the error is to keep, `partial_round`.

        Raises:
            DeviceError: if not.
        """
        error = self._error(returncode, stderr)
        if error is not None:
            error.partial_round = self.round(number)
            raise error

    def _error(self, returncode: int, stderr: str) -> DeviceError | None:
        if self.error is not None:
            stage, status, message = self.error
            kind = NoSpace if status == _NO_SPACE and stage in ("output", "input") else RunFailed
            said = f"Expected the runner to succeed. Received, at its stage {stage!r}: {message} (status {status})"
            return kind(f"{said}{_reasons(stderr)}.", _FIXES.get(stage))
        error = from_shell(returncode, "", _reasons(stderr).strip(": "), doing="the runner to succeed")
        if isinstance(error, Killed) and self.load_ms is None:
            error.fix = "It ended while it opened the file: convert the model again if the file is damaged."
        if error is None and self.nonsense is not None:
            error = RunFailed(f"Expected the runner's lines of JSON. Received: {self.nonsense!r}.", _FIXES["options"])
        if error is None and not self.done:
            error = Disconnected("Expected all that the runner says. Received: only the beginning.")
        return error


def arguments(plan: Plan, *, profile: int = 0, timed: bool = True) -> list[str]:
    """The runner's options for a turn.

    Args:
        plan: of the turn.
        profile: runs under the profiler.
        timed: whether to time at all.

    Returns:
        Options of which none needs quotes.
    """
    words = [f"--num_threads={plan.threads}", f"--max_secs={plan.longest_seconds:.3f}"]
    words += [f"--deadline_secs={math.ceil(plan.deadline_seconds)}"]
    words += [f"--warmup_runs={plan.warm_ups}", f"--warmup_min_secs={plan.warm_up_seconds:.3f}"]
    words += [f"--num_runs={plan.runs if timed else 0}", f"--min_secs={plan.seconds:.3f}"]
    words += [f"--cpu_mask={plan.cpu_mask}"] if plan.cpu_mask is not None else []
    return words + ([f"--profile={profile}"] if profile else [])


def _reasons(stderr: str) -> str:
    """LiteRT's own words, without those about how it starts."""
    lines = [line.strip() for line in stderr.splitlines()]
    telling = [line for line in lines if line and not line.startswith(("INFO:", "WARNING:", "VERBOSE:"))]
    return ": " + " ".join(telling[-3:]) if telling else ""


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _text(facts: Any, key: str) -> str:
    value = facts[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _whole(facts: Any, key: str) -> int:
    value = facts[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise TypeError(key)
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise TypeError("number")
    return float(value)


def _list(facts: Any, key: str) -> list[Any]:
    value = facts[key]
    if not isinstance(value, list):
        raise TypeError(key)
    return value


def _tensor(facts: Any) -> Tensor:
    shape = tuple(_list(facts, "shape"))
    if not all(type(each) is int for each in shape):
        raise TypeError("shape")
    return Tensor(_text(facts, "name"), _whole(facts, "bytes"), shape)


def _model(answers: Answers, facts: Any) -> None:
    load_ms = _number(facts["load_ms"]) + _number(facts["compile_ms"])
    inputs, outputs = ([_tensor(each) for each in _list(facts, key)] for key in ("inputs", "outputs"))
    answers.inputs, answers.outputs, answers.load_ms = tuple(inputs), tuple(outputs), load_ms


def _warmup(answers: Answers, facts: Any) -> None:
    answers.warm_ups = _whole(facts, "runs")
    answers.first_ms = None if facts["first_ms"] is None else _number(facts["first_ms"])


def _latencies(answers: Answers, facts: Any) -> None:
    answers.latencies_ms += [_number(each) for each in _list(facts, "ms")]


def _result(answers: Answers, facts: Any) -> None:
    # Had a line been lost on the way, the numbers would differ.
    if _whole(facts, "runs") != len(answers.latencies_ms):
        raise ValueError("latencies are missing")
    answers.peak_memory_kb = None if facts["peak_memory_kb"] is None else _whole(facts, "peak_memory_kb")
    answers.timed = True


def _profile(answers: Answers, facts: Any) -> None:
    operators = [
        Operator(_text(each, "name"), _text(each, "place"), round(_number(each["calls"])), _number(each["us"]))
        for each in _list(facts, "operators")
    ]
    answers.operators = tuple(sorted(operators, key=lambda operator: -operator.microseconds))
    answers.profiled = True


def _done(answers: Answers, facts: Any) -> None:
    answers.done = True


def _error(answers: Answers, facts: Any) -> None:
    status = facts["status"]  # errno, or LiteRT's, which may be negative
    answers.error = (_text(facts, "stage"), status if isinstance(status, int) else -1, _text(facts, "message"))


_TAKE = {
    "model": _model,
    "warmup": _warmup,
    "latencies": _latencies,
    "result": _result,
    "profile": _profile,
    "done": _done,
    "error": _error,
}
