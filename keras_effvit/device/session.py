"""A visit to a device, from looking it over to leaving it as it was."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keras_effvit.device.benchmark import Progress, Schedule, benchmark
from keras_effvit.device.benchmark_model import PhoneBenchmarkModel
from keras_effvit.device.cores import big_cores, mask
from keras_effvit.device.engine import Engine
from keras_effvit.device.errors import Unfit
from keras_effvit.device.host import host_engine
from keras_effvit.device.hygiene import Finding, cool_down, findings, settled
from keras_effvit.device.machine import host_device, host_findings
from keras_effvit.device.phone import Phone
from keras_effvit.device.properties import Properties, properties, skin_celsius
from keras_effvit.device.runner import PhoneRunner
from keras_effvit.report.records import Device, Run


@dataclass(frozen=True)
class Conduct:
    """How to treat a device.

    Args:
        engine: "runner", which is ours, or "benchmark_model", the official tool.
        binary: the official tool's file.
        cores: "big" for the cluster of the highest capacity, "all", or a mask of processors as hexadecimal digits.
        fixed_performance: whether to hold a phone's clocks down to what it can keep up, as Android 11 and later can.
        cool: whether to wait between rounds until a phone is as cool as it was.
        force: whether to measure on a device that is not fit for it.
    """

    engine: Literal["runner", "benchmark_model"] = "runner"
    binary: Path | None = None
    cores: str = "big"
    fixed_performance: bool = False
    cool: bool = True
    force: bool = False


@dataclass(frozen=True)
class Listeners:
    """What else there is to say of the files, and who wants to hear.

    Args:
        facts: what the files say of themselves, by name.
        output: the JSON file to keep the record in.
        progress: is told of every turn.
        warn: is told at once what may disturb the run.
    """

    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    output: Path | None = None
    progress: Progress | None = None
    warn: Callable[[str], None] = lambda text: None


def bench_phone(
    files: Mapping[str, Path],
    phone: Phone,
    schedule: Schedule | None = None,
    conduct: Conduct | None = None,
    listeners: Listeners | None = None,
) -> Run:
    """Measures files on a phone, and leaves its settings as they were.

    Args:
        files: by name.
        phone: of `Adb.phone`.
        schedule: of the run; without `threads`, on one thread and on as many as there are big cores.
        conduct: how to treat the phone.
        listeners: what else there is to say, and to whom.

    Returns:
        The record.

    Raises:
        DeviceError: if the phone fails; with what was measured until then as its `run`.
        Unfit: if a figure of this phone would mean nothing now, such as of a hot one.

    Example:
        >>> run = bench_phone({"sepvit_lite": Path("sepvit_lite.tflite")}, Adb().phone())
        >>> run.series[0].median_ms
        11.9
    """
    conduct, listeners = conduct or Conduct(), listeners or Listeners()
    known = properties(phone)
    warnings = _fit(findings(known), conduct, listeners)
    schedule = schedule or Schedule(threads=())
    if not schedule.threads:
        schedule = dataclasses.replace(schedule, threads=_thread_counts(known))
    schedule = _pinned(schedule, known, conduct)
    engine = _phone_engine(phone, conduct)
    with settled(phone, awake=True, fixed_performance=conduct.fixed_performance) as settings:
        facts = {**known.facts(), "changed": settings.changed}
        return benchmark(
            files,
            engine,
            Device("phone", known.name, facts),
            schedule,
            facts=listeners.facts,
            warnings=(*warnings, *settings.warnings),
            between_rounds=_cooling(phone, known, conduct),
            output=listeners.output,
            progress=listeners.progress,
        )


def bench_host(
    files: Mapping[str, Path],
    schedule: Schedule | None = None,
    conduct: Conduct | None = None,
    listeners: Listeners | None = None,
) -> Run:
    """Measures files on this machine, whose figures are not a phone's.

    Args:
        files: by name.
        schedule: of the run.
        conduct: how to treat the machine; its cores are left to the system unless they are given as a mask.
        listeners: what else there is to say, and to whom.

    Returns:
        The record.

    Raises:
        DeviceError: if the machine cannot run the files.
    """
    conduct, listeners = conduct or Conduct(), listeners or Listeners()
    schedule = schedule or Schedule()
    if conduct.cores not in ("big", "all"):
        schedule = _kept_to(schedule, conduct.cores)
    device = host_device()
    warnings = _fit(host_findings(device), conduct, listeners)
    return benchmark(
        files,
        host_engine(),
        device,
        schedule,
        facts=listeners.facts,
        warnings=warnings,
        output=listeners.output,
        progress=listeners.progress,
    )


def _fit(found: tuple[Finding, ...], conduct: Conduct, listeners: Listeners) -> tuple[str, ...]:
    """What to warn of; refuses a device on which there is nothing to be learnt."""
    refusals = [each for each in found if each.level == "refuse"]
    if refusals and not conduct.force:
        raise Unfit(" ".join(each.text for each in refusals), " ".join(each.fix for each in refusals))
    disturbing = [each for each in found if each.level != "note"]
    for each in disturbing:
        listeners.warn(f"{each.text} {each.fix}")
    return tuple(each.text for each in disturbing)


def _thread_counts(known: Properties) -> tuple[int, ...]:
    return tuple(sorted({1, max(1, len(big_cores(known)))}))


def _pinned(schedule: Schedule, known: Properties, conduct: Conduct) -> Schedule:
    """The schedule on the processors asked for: more threads than there are big cores are left to the system."""
    if conduct.cores == "all":
        return schedule
    if conduct.cores != "big":
        return _kept_to(schedule, conduct.cores)
    cores = big_cores(known)
    if not cores or max(schedule.threads) > len(cores):
        return schedule
    return _kept_to(schedule, mask(cores))


def _kept_to(schedule: Schedule, cpu_mask: str) -> Schedule:
    return dataclasses.replace(schedule, plan=dataclasses.replace(schedule.plan, cpu_mask=cpu_mask))


def _phone_engine(phone: Phone, conduct: Conduct) -> Engine:
    if conduct.engine == "runner":
        return PhoneRunner(phone)
    if conduct.binary is None:
        raise ValueError(
            "Expected the file of the official tool with engine='benchmark_model'. Received: none; give `binary`, "
            "or set KERAS_EFFVIT_BENCHMARK_MODEL"
        )
    return PhoneBenchmarkModel(phone, conduct.binary)


def _cooling(phone: Phone, known: Properties, conduct: Conduct) -> Callable[[], float | None]:
    """What to do between rounds."""

    def wait() -> float | None:
        if known.skin_celsius is not None and conduct.cool:
            cool_down(lambda: skin_celsius(phone), known.skin_celsius)
        return skin_celsius(phone)

    return wait
