"""Two runs beside each other."""

import io

import pytest
from rich.console import Console

from keras_effvit.report.comparison import compare
from keras_effvit.report.records import Device, Series
from tests.report.conftest import a_run, rounds, sha


def run_of(medians, **more):
    series = tuple(
        Series(name, sha(name + more.get("build", "")), 1, 1, rounds(median, more.get("count", 7), seed=number))
        for number, (name, median) in enumerate(medians.items())
    )
    return a_run(**{"series": series, **{n: v for n, v in more.items() if n not in ("build", "count")}})


def test_verdicts_follow_what_was_put_in():
    before = run_of({"a": 10.0, "b": 10.0, "c": 10.0}, reference=(5.0, 5.0))
    after = run_of({"a": 8.0, "b": 10.0, "c": 12.0}, reference=(5.0, 5.0), build="new")
    lines = {line.file: line for line in compare(before, after).lines}
    assert [lines[name].verdict for name in "abc"] == ["faster", "undecided", "slower"]
    assert lines["a"].ratio.value == pytest.approx(0.8, abs=0.02)
    assert all(line.changed for line in lines.values())


def test_a_run_beside_itself_decides_nothing():
    run = run_of({"a": 10.0, "b": 3.0})
    assert {line.verdict for line in compare(run, run).lines} == {"undecided"}
    assert compare(run, run).warnings == ()


def test_drift_eats_small_differences():
    before, after = run_of({"a": 10.0}), run_of({"a": 9.0}, reference=(5.0, 6.0))
    compared = compare(before, after)
    assert compared.lines[0].verdict == "undecided"
    assert "drifted by 20.0 %" in compared.warnings[0]


def test_differences_in_how_it_was_measured_are_named():
    before = run_of({"a": 10.0, "gone": 1.0}, settings={"plan": {"warm_ups": 5, "runs": 50}, "seed": 0})
    after = run_of(
        {"a": 9.0, "new": 1.0},
        settings={"plan": {"warm_ups": 1, "runs": 50}, "seed": 3},
        engine="benchmark_model",
        device=Device("phone", "Pixel 9"),
        finished=None,
    )
    compared = compare(before, after)
    words = " ".join(compared.warnings)
    for part in ("devices differ", "engines differ", "warm_ups was 5, and is 1", "cut short"):
        assert part in words
    assert "seed" not in words
    assert compared.missing == ("only before: gone on 1 thread", "only after: new on 1 thread")


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="in common"):
        compare(run_of({"a": 1.0}), run_of({"b": 1.0}))
    with pytest.raises(ValueError, match="same kind of device"):
        compare(run_of({"a": 1.0}), run_of({"a": 1.0}, device=Device("host", "a computer")))


def test_few_rounds_are_said_to_be_few():
    compared = compare(run_of({"a": 1.0}, count=3), run_of({"a": 9.0}, count=3))
    assert compared.lines[0].verdict == "undecided"
    assert "Fewer than 5 rounds" in compared.warnings[0]


def test_it_is_shown():
    compared = compare(run_of({"a|b": 10.0}), run_of({"a|b": 8.0}))
    assert r"| a\|b | 1 | 9." in compared.markdown() or r"| a\|b | 1 | 10." in compared.markdown()
    out = io.StringIO()
    Console(file=out, width=100).print(compared.rich_table())
    assert "faster" in out.getvalue()
