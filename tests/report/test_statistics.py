"""Intervals against scipy's bootstrap, and against a truth that is known because it was made up."""

import numpy as np
import pytest
from scipy import stats

from keras_effvit.report.records import Round
from keras_effvit.report.statistics import (
    CONFIDENCE,
    FEWEST_ROUNDS,
    Estimate,
    median_of,
    ratio_between,
    ratio_within,
    tail,
)
from tests.report.conftest import known, rounds


def turns(medians, first=0):
    return [Round(n, (float(m),), 1.0, 1.0, 1) for n, m in enumerate(medians, first)]


def test_the_interval_is_scipys():
    values = np.random.default_rng(3).lognormal(2, 0.1, 15)
    ours = known(median_of(turns(values)))
    level = 1 - 2 * tail(15)
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", confidence_level=level, n_resamples=20_000, rng=1
    ).confidence_interval
    assert ours.value == np.median(values)
    # Both draw at random: a quantile near the ends may fall on the neighbouring value of the fifteen.
    step = np.diff(np.sort(values)).max()
    assert abs(ours.low - theirs.low) <= step
    assert abs(ours.high - theirs.high) <= step


@pytest.mark.parametrize("count", [5, 7, 9, 15])
def test_intervals_hold_the_truth_as_often_as_they_say(count):
    """A log-normal's median is known. From smallest to largest, five values hold it in 1 - 2 / 2^5 of all cases."""
    rng = np.random.default_rng(count)
    held = 0
    for trial in range(400):
        estimate = known(median_of(turns(rng.lognormal(np.log(12.0), 0.05, count)), seed=trial))
        held += estimate.low <= 12.0 <= estimate.high
    share = min(CONFIDENCE, 1 - 2 / 2**count)
    assert held / 400 >= share - 3 * (share * (1 - share) / 400) ** 0.5


@pytest.mark.parametrize("between", [True, False])
def test_ratios_hold_the_truth_too(between):
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        slow = np.ones(7) if between else rng.uniform(1, 2, 7)  # what slows a round down meets both series
        one = turns(8.0 * slow * rng.lognormal(0, 0.03, 7))
        other = turns(16.0 * (slow if not between else 1) * rng.lognormal(0, 0.03, 7))
        estimate = known((ratio_between if between else ratio_within)(one, other, seed=trial))
        held += estimate.low <= 0.5 <= estimate.high
    assert held / 300 >= 0.92


def test_what_slows_a_round_down_cancels_inside_it():
    slow = np.array([1, 2, 1, 1.5, 1, 3, 1.2])
    estimate = known(ratio_within(turns(5 * slow), turns(10 * slow)))
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))
    apart = known(ratio_between(turns(5 * slow), turns(10 * slow)))
    assert apart.high - apart.low > 0.3


def test_rounds_are_paired_by_number():
    estimate = known(ratio_within(turns([1, 2, 3, 4, 5, 6], first=1), turns([9, 1, 2, 3, 4, 5])))
    assert (estimate.value, estimate.rounds) == (1.0, 5)
    assert ratio_within(turns([1], first=5), turns([1])) is None


def test_few_rounds_have_no_interval():
    assert median_of([]) is None
    assert ratio_between(turns([1.0]), []) is None
    few = known(median_of(turns(range(1, FEWEST_ROUNDS))))
    assert (few.low, few.high) == (None, None)
    assert few.verdict() == "undecided"


def test_the_same_seed_gives_the_same_interval():
    assert median_of(rounds(10.0), seed=4) == known(median_of(rounds(10.0), seed=4))


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.8, 0.9, 0.0, "faster"),
        (0.8, 0.9, 0.2, "undecided"),
        (1.1, 1.2, 0.05, "slower"),
        (1.1, 1.2, 0.1, "undecided"),
        (0.9, 1.1, 0.0, "undecided"),
    ],
)
def test_verdicts(low, high, margin, verdict):
    assert Estimate((low + high) / 2, low, high, 7).verdict(margin) == verdict


def test_many_rounds_take_neither_long_nor_much_memory():
    assert known(median_of(turns(np.linspace(9, 11, 60_000)))).value == pytest.approx(10)
