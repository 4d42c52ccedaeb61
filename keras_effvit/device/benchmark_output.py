"""What the official `benchmark_model` prints, of both tools of that name and of builds since 2019.

None of it is made for machines: lines gained prefixes, columns went, numbers are rounded to six digits. Every line is
looked at alone, and a run only counts when the tool reached its last figures and ended well.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from keras_effvit.device.errors import (
    DeviceError,
    Disconnected,
    FileMissing,
    Killed,
    NotExecutable,
    RunFailed,
    WrongAbi,
    from_shell,
)
from keras_effvit.report.records import LARGEST, Operator

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
#: Builds before TensorFlow 2.11 write none.
_PREFIX = r"^(?:(?:INFO|WARN|WARNING|ERROR|VERBOSE|FATAL): )?"
#: Of a single run, or equal ones, only `curr` is told; the last three came in 2024.
_COUNT = re.compile(
    rf"{_PREFIX}count=(?P<count>\d+)(?: first=(?P<first>{_NUMBER}))?(?: curr=(?P<curr>{_NUMBER}))?(?:\(all same\))?"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std={_NUMBER})?"
    rf"(?: p5={_NUMBER} median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*$"
)
_TIMINGS = re.compile(
    rf"{_PREFIX}Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_OLD_TIMINGS = re.compile(
    rf"{_PREFIX}Average inference timings in us: Warmup: {_NUMBER}, Init: (?P<init>{_NUMBER}), "
    rf"(?:Inference|no stats): {_NUMBER}"
)
#: LiteRT's own tool rounds to 0.01 ms, so that of these only what is told nowhere else is taken.
_LITERT = re.compile(
    rf"(?:^|\] )(?P<what>Model initialization|Warmup \(first\)|Inference \(avg\)):\s+(?P<ms>{_NUMBER}) ms"
)
_MEMORY = re.compile(
    r"(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init={_NUMBER} overall=(?P<mb>{_NUMBER})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: (?P<mb>{_NUMBER})")
_REPLACED = re.compile(
    r"Replacing (?P<nodes>\d+) out of (?P<of>\d+) node\(s\) with delegate \((?P<name>[^)]*)\) node, "
    r"yielding (?P<partitions>\d+) partitions"
)
_ERROR = re.compile(r"^(?:ERROR|FATAL): (.*)$")
_ROWS_START, _ROWS_END = "Operator-wise Profiling Info for Regular Benchmark Runs", "Top by Computation Time"
#: node type, start (until 2022), first, average of a call, %, cumulated %, kB, calls in a run, name
_ROW = re.compile(
    r"^\s+(?P<type>\S.*?)\s+(?:\d+\.\d+\s+)?\d+\.\d+\s+(?P<average>\d+\.\d+)\s+[\d.]+%\s+[\d.]+%\s+-?[\d.]+\s+"
    r"(?P<calls>\d+)\s+(?P<name>\S.*)$"
)
#: A longer line is none of the tool's.
_LONGEST_LINE = 4000
_FAILED = "Benchmarking failed."

#: What the tool and the shells say when it does not run: a pattern, the error, and what to do if not its usual advice.
_CAUSES: tuple[tuple[str, type[DeviceError], str | None], ...] = (
    (r"not a valid Flatbuffer|model identifier", RunFailed, "This is no whole .tflite file: copy or convert it again."),
    (r"Could not open '|Failed to load model|Mmap of '", FileMissing, "Check the model's path on the phone."),
    (r"Didn't find op for builtin opcode", RunFailed, "This benchmark_model is older than the file: get a newer one."),
    (
        r"Select TensorFlow op|unresolved custom op",
        RunFailed,
        "Get the benchmark_model with Flex operators (plus_flex).",
    ),
    (r"CPU fallback|Failed to apply .* delegate", RunFailed, "The delegate cannot run this file: measure without it."),
    (
        r"failed to (prepare|invoke)|Failed to allocate",
        RunFailed,
        "This build cannot run the file: use engine `runner`.",
    ),
    (r"Failed to parse flag|Please specify the name", RunFailed, "It does not know an option: get a newer one."),
    (r"not executable: (32|64)-bit ELF|Exec format error|cannot execute binary|syntax error", WrongAbi, None),
    (r"[Pp]ermission denied", NotExecutable, None),
    (r"CANNOT LINK|loading shared libraries", RunFailed, "The phone lacks its libraries: get the build for Android."),
    (r"inaccessible or not found|No such file or directory", FileMissing, None),
    (r"^Killed|std::bad_alloc|[Oo]ut of memory", Killed, None),
)


@dataclass(frozen=True)
class Times:
    """What the tool tells of a number of inferences, in microseconds.

    Attributes:
        count: of inferences.
        first: of them.
        average: of them.
        median: of them; `None` in builds before 2024.
        p95: 19 of 20 took no longer; `None` in the same.
        shortest: of them.
        longest: of them.
    """

    count: int
    first: float
    average: float
    median: float | None
    p95: float | None
    shortest: float
    longest: float

    @property
    def typical(self) -> float:
        """The median, or the average where no median is told."""
        return self.average if self.median is None else self.median


@dataclass(frozen=True)
class Delegated:
    """What a delegate took over.

    Attributes:
        name: of the delegate.
        nodes: that it runs.
        of: nodes in all.
        partitions: that it runs them in.
    """

    name: str
    nodes: int
    of: int
    partitions: int


@dataclass(frozen=True)
class Parsed:
    """A run of the tool that went well.

    Attributes:
        warm_up: inferences before the timed ones.
        runs: the timed ones.
        init_us: to load and prepare the model.
        memory_kb: that the process grew to, as far as the tool tells; it counts itself too.
        delegates: that took over nodes.
        operators: of the profile, if one was asked for, the longest first.
    """

    warm_up: Times
    runs: Times
    init_us: float
    memory_kb: int | None = None
    delegates: tuple[Delegated, ...] = ()
    operators: tuple[Operator, ...] = field(default=())


def parse(text: str, returncode: int) -> Parsed:
    """Reads what the tool printed to stdout and stderr.

    Args:
        text: all of it.
        returncode: of the tool, or of the shell that could not start it.

    Raises:
        DeviceError: of the type that fits, if it did not run to its end.

    Example:
        >>> parse(output, 0).runs.median
        15009.0
    """
    lines = [line.rstrip("\r") for line in text.split("\n") if len(line) < _LONGEST_LINE]
    times = [found for line in lines if (found := _times(line))]
    init = _init(lines)
    if returncode != 0 or init is None or len(times) < 2 or any(_FAILED in line for line in lines):
        raise _error(lines, text, returncode)
    if times[1].typical < 1:
        message = f"Expected inferences of a microsecond at least. Received: {times[1].typical:g} us."
        raise RunFailed(message, "benchmark_model cannot measure so small a model: use the engine `runner`.")
    return Parsed(times[0], times[1], init, _memory(lines), _delegates(lines), operators(text))


def operators(text: str) -> tuple[Operator, ...]:
    """The profile of the timed inferences, by kind and place, the longest first.

    The tool tells the average of a call and how many there are in an inference.

    Args:
        text: that the tool printed.
    """
    section = text.partition(_ROWS_START)[2].partition(_ROWS_END)[0]
    rows = [row for line in section.split("\n") if len(line) < _LONGEST_LINE and (row := _ROW.match(line))]
    inner = any(row["name"].startswith("Delegate/") for row in rows)
    found: dict[tuple[str, str], Operator] = {}
    for row in rows:
        name, place = row["type"], "builtin"
        if row["name"].startswith("Delegate/"):
            # Builds of 2020 and 2021 call all of them DelegateOpInvoke.
            name, place = row["name"].removeprefix("Delegate/").rpartition(":")[0] or name, "xnnpack"
        elif re.search(r"Delegate|^DELEGATE$", name):
            if inner:
                continue  # its time is that of the operators inside of it
            place = "xnnpack"
        calls, average = int(row["calls"][:9]) or 1, min(float(row["average"]), LARGEST)
        before = found.get((name, place), Operator(name, place, 0, 0.0))
        total = min(before.microseconds + 1000 * average * calls, LARGEST)
        found[name, place] = Operator(name, place, before.calls + calls, total)
    return tuple(sorted(found.values(), key=lambda operator: -operator.microseconds))


def _times(line: str) -> Times | None:
    """The figures of a line that begins with count=; those of profiles begin otherwise."""
    found = _COUNT.match(line)
    if found is None:
        return None
    number = {name: _finite(value) for name, value in found.groupdict().items()}
    average = number["avg"] if number["avg"] is not None else number["curr"]
    if not number["count"] or average is None:
        return None

    def told(name: str) -> float:
        value = number[name]
        return average if value is None else value

    count, median = int(number["count"]), number["median"]
    return Times(count, told("first"), average, median, number["p95"], told("min"), told("max"))


def _init(lines: list[str]) -> float | None:
    """Microseconds to prepare the model, from the lines that stand at the very end; `None` if they never came."""
    litert = {found["what"]: _finite(found["ms"]) for line in lines if (found := _LITERT.search(line))}
    for line in lines:
        if found := _TIMINGS.match(line) or _OLD_TIMINGS.match(line):
            return _finite(found["init"])
    if litert.get("Inference (avg)") is not None:
        init = litert.get("Model initialization")
        return None if init is None else 1000 * init
    return None


def _memory(lines: list[str]) -> int | None:
    found = [each for line in lines for pattern in (_PEAK, _MEMORY) if (each := pattern.search(line))]
    peaks = [_finite(each["mb"]) for each in found]
    known = [peak for peak in peaks if peak is not None and peak > 0]
    return round(1024 * max(known)) if known else None


def _delegates(lines: list[str]) -> tuple[Delegated, ...]:
    return tuple(
        Delegated(found["name"], *(int(found[name][:9]) for name in ("nodes", "of", "partitions")))
        for line in lines
        if (found := _REPLACED.search(line))
    )


def _finite(text: str | None) -> float | None:
    if text is None:
        return None
    value = float(text)
    return value if math.isfinite(value) and 0 <= value <= LARGEST else None


def _error(lines: list[str], text: str, returncode: int) -> DeviceError:
    said = list(_last_words(lines))
    doing = "benchmark_model to measure"
    for pattern, kind, fix in _CAUSES:
        if any(re.search(pattern, line) for line in lines):
            return kind(f"Expected {doing}. Received: {_sentence(said)}", fix, text)
    if error := from_shell(returncode, " ".join(said), "", doing=doing):
        return type(error)(error.message, error.fix, text)
    if any(_FAILED in line for line in lines):
        return RunFailed(f"Expected {doing}. Received: {_sentence(said)}", partial=text)
    received = f"Received: an output that ends before them, after {len(lines)} lines."
    return Disconnected(f"Expected benchmark_model's final figures. {received}", partial=text)


def _last_words(lines: list[str]) -> Iterator[str]:
    """The errors in an output, or its last line."""
    errors = [found[1] for line in lines if (found := _ERROR.match(line)) and found[1] and found[1] != _FAILED]
    yield from (each[:300] for each in (errors or [line for line in lines if line.strip()][-1:] or ["nothing"])[:3])


def _sentence(said: list[str]) -> str:
    text = "; ".join(each.rstrip(" .;") for each in said)
    return f"{text}."
