"""How sure a figure is: intervals from the rounds, which are what repeats; the inferences inside one do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_effvit.report.records import Round

#: The share of intervals that hold the truth; with five rounds it is 0.94.
CONFIDENCE = 0.95
#: With fewer, even from the smallest to the largest is too narrow: four hold the true median in 88 of 100 cases.
FEWEST_ROUNDS = 5
#: Drawn anew so often, or as often as so many numbers allow, but at least so often.
RESAMPLES, NUMBERS, FEWEST_RESAMPLES = 10_000, 4_000_000, 400

Verdict = Literal["faster", "slower", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A figure and how sure it is.

    Attributes:
        value: the figure.
        low: where its interval begins; `None` when there were too few rounds to tell.
        high: where it ends.
        rounds: it was calculated from.
    """

    value: float
    low: float | None
    high: float | None
    rounds: int

    def verdict(self, margin: float = 0.0) -> Verdict:
        """Of a ratio of times: whether it is surely below 1, or above.

        Args:
            margin: a share by which the times may be wrong together, which rounds cannot show.
        """
        if self.low is None or self.high is None:
            return "undecided"
        if self.high * (1 + margin) < 1:
            return "faster"
        return "slower" if self.low > 1 + margin else "undecided"


def median_of(rounds: Sequence[Round], *, seed: int = 0) -> Estimate | None:
    """The median of the rounds' medians, in milliseconds; `None` without rounds.

    Args:
        rounds: of a series.
        seed: of the bootstrap.

    Example:
        >>> median_of(series.rounds)
        Estimate(value=12.1, low=11.9, high=12.4, rounds=7)
    """
    if not rounds:
        return None
    medians = _medians(rounds)
    return _estimate(float(np.median(medians)), _bootstrap(medians, np.random.default_rng(seed)), len(medians))


def ratio_within(rounds: Sequence[Round], base: Sequence[Round], *, seed: int = 0) -> Estimate | None:
    """How many times as long as another series of the same run: the median of the ratios inside the rounds.

    What slows a device down for a while slows both series of a round, and cancels.

    Args:
        rounds: of the series.
        base: of the other one.
        seed: of the bootstrap.

    Returns:
        `None` if they have no round in common.
    """
    others = {each.number: each.median_ms for each in base}
    pairs = [(each.median_ms, others[each.number]) for each in rounds if each.number in others]
    if not pairs:
        return None
    ratios = np.array([a / b for a, b in pairs])
    return _estimate(float(np.median(ratios)), _bootstrap(ratios, np.random.default_rng(seed)), len(pairs))


def ratio_between(rounds: Sequence[Round], base: Sequence[Round], *, seed: int = 0) -> Estimate | None:
    """How many times as long as a series of another run, whose rounds have nothing to do with these.

    Args:
        rounds: of the series.
        base: of the other run's.
        seed: of the bootstrap.

    Returns:
        `None` if either has no rounds.
    """
    if not rounds or not base:
        return None
    rng, one, other = np.random.default_rng(seed), _medians(rounds), _medians(base)
    drawn, against = _bootstrap(one, rng), _bootstrap(other, rng)
    fewest = min(len(drawn), len(against))
    value = float(np.median(one) / np.median(other))
    return _estimate(value, drawn[:fewest] / against[:fewest], min(len(one), len(other)))


def tail(rounds: int) -> float:
    """The share of a bootstrap to cut from either end.

    A bootstrap of few values is too sure of itself: it has seen none outside of them. The tails of Student's t instead
    of the normal distribution's make up for it (Hesterberg 2015, "expanded percentiles").

    Args:
        rounds: there are.
    """
    from scipy import special

    student = special.stdtrit(rounds - 1, (1 - CONFIDENCE) / 2)
    return float(special.ndtr(math.sqrt(rounds / (rounds - 1)) * student))


def _medians(rounds: Sequence[Round]) -> np.ndarray:
    return np.array([each.median_ms for each in rounds], np.float64)


def _bootstrap(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Medians of samples drawn with replacement."""
    wanted = min(RESAMPLES, max(FEWEST_RESAMPLES, NUMBERS // len(values)))
    at_once = max(1, NUMBERS // len(values))
    return np.concatenate(
        [
            np.median(values[rng.integers(0, len(values), (min(at_once, wanted - start), len(values)))], axis=1)
            for start in range(0, wanted, at_once)
        ]
    )


def _estimate(value: float, drawn: np.ndarray, rounds: int) -> Estimate:
    if rounds < FEWEST_ROUNDS:
        return Estimate(value, None, None, rounds)
    low, high = np.quantile(drawn, [tail(rounds), 1 - tail(rounds)])
    return Estimate(value, float(low), float(high), rounds)
