"""A phone as the clock of `lite.tune`, which by itself measures on this machine."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_effvit.device.benchmark import Schedule
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import RunFailed
from keras_effvit.device.phone import Phone
from keras_effvit.device.session import Conduct, Listeners, bench_phone

#: Rounds are many and files alike: a turn may be short.
TURN = Plan(warm_ups=2, warm_up_seconds=0.1, runs=10, seconds=0.2)


def phone_times(
    phone: Phone, *, plan: Plan = TURN, conduct: Conduct | None = None, listeners: Listeners | None = None
) -> Callable[[Mapping[str, bytes], int], dict[str, list[float]]]:
    """A clock for `lite.tune(measure=...)`.

    Args:
        phone: to measure on.
        plan: of a turn.
        conduct: how to treat the phone.
        listeners: who wants to hear of turns and warnings.

    Returns:
        A function that takes files by name and a number of rounds, and gives the seconds of every round.

    Example:
        >>> lite.tune(model, "int8", calibration=images, measure=phone_times(Adb().phone()))
    """

    def measure(files: Mapping[str, bytes], rounds: int) -> dict[str, list[float]]:
        with tempfile.TemporaryDirectory(prefix="keras_effvit_") as folder:
            paths = {name: Path(folder) / f"{number}.tflite" for number, name in enumerate(files)}
            for name, path in paths.items():
                path.write_bytes(files[name])
            run = bench_phone(paths, phone, Schedule((1,), rounds, plan=plan), conduct, listeners)
        for series in run.series:
            if series.error is not None:
                raise RunFailed(f"Expected {series.file!r} to run on {run.device.name}. Received: {series.error}")
        return {series.file: [each.median_ms / 1000 for each in series.rounds] for series in run.series}

    return measure
