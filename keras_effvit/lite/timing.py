"""How long files take beside each other: in interleaved rounds, compared inside a round."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.runtime import Runner

#: By file, the seconds of every round.
Times = Mapping[str, Sequence[float]]
#: Files by name, and a number of rounds -> times. `host_times` is one; another may ask a phone.
Measure = Callable[[Mapping[str, bytes], int], Times]
#: Rounds before the clock counts: caches and the processor's frequency settle.
WARM_UP = 2
#: Then the files are loaded anew: where in memory one happens to lie can cost it more than what sets it apart.
ROUNDS_A_LOAD = 10


def host_times(
    files: Mapping[str, bytes], rounds: int, *, threads: int = 1, seed: int = 0, warm_up: int = WARM_UP
) -> dict[str, list[float]]:
    """Seconds that files take on this machine, which are not a phone's.

    Every round runs every file once, in an order of its own, so that what slows the machine down for a while meets all
    files, and none always follows the same other.

    Args:
        files: by name.
        rounds: how often.
        threads: of XNNPACK.
        seed: of the orders.
        warm_up: rounds before the first that counts.

    Example:
        >>> host_times({"float32": one.content, "int8": other.content}, rounds=20)["int8"][0]
        0.0061
    """
    rng, times = random.Random(seed), {name: [] for name in files}
    for start in range(0, rounds, ROUNDS_A_LOAD):
        clocks = {name: _clock(content, threads) for name, content in files.items()}
        for number in range(-warm_up, min(ROUNDS_A_LOAD, rounds - start)):
            for name in rng.sample(list(clocks), len(clocks)):
                seconds = clocks[name]()
                if number >= 0:
                    times[name].append(seconds)
    return times


def _clock(content: bytes, threads: int) -> Callable[[], float]:
    """A function that runs a file once and returns the seconds."""
    runner = Runner(content, threads=threads)
    image = np.random.default_rng(0).standard_normal(runner.inputs[0]["shape"])
    runner(image.astype(np.float32))

    def run() -> float:
        start = time.perf_counter()
        runner.invoke()
        return time.perf_counter() - start

    return run


def ratio(times: Times, name: str, other: str) -> float:
    """How many times as long as another a file takes: the median of the ratios inside the rounds.

    Args:
        times: of both.
        name: of the file.
        other: of the other.
    """
    return statistics.median(a / b for a, b in zip(times[name], times[other], strict=True))


def check_times(times: Times, files: Mapping[str, bytes], rounds: int) -> Times:
    """The times, if they are what was asked for.

    Args:
        times: of a `Measure`.
        files: that were to be measured.
        rounds: how often.

    Raises:
        LiteError: if files or rounds are missing, or a time is not above zero.
    """
    wrong = [name for name in files if len(times.get(name, ())) != rounds or not min(times[name], default=0) > 0]
    if wrong:
        raise LiteError(f"Expected `measure` to give {rounds} times above 0 for every file. Received others of {wrong}")
    return times
