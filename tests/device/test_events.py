"""What the runner says, and what it does not say in the end: nothing of it may crash the reader."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import DeviceError, Disconnected, Killed, NoSpace, RunFailed, Seccomp, TimedOut
from keras_effvit.device.events import Answers, arguments

TENSOR = {"name": "x", "type": 1, "bytes": 4, "shape": [1]}
MODEL = {"event": "model", "load_ms": 1.5, "compile_ms": 2.0, "inputs": [TENSOR], "outputs": [TENSOR]}
WARMUP = {"event": "warmup", "runs": 2, "secs": 0.1, "first_ms": 9.5}
LATENCIES = [{"event": "latencies", "ms": [1.0, 3.0]}, {"event": "latencies", "ms": [2.0]}]
RESULT = {"event": "result", "runs": 3, "secs": 0.1, "peak_memory_kb": 1234}
OPERATORS = [
    {"name": "b", "place": "builtin", "calls": 1.0, "us": 5},
    {"name": "a", "place": "xnnpack", "calls": 2.0, "us": 7.5},
]
PROFILE = {"event": "profile", "runs": 20, "operators": OPERATORS}
TALK = [json.dumps(each) for each in (MODEL, WARMUP, *LATENCIES, RESULT, PROFILE, {"event": "done"})]


def test_all_is_understood():
    answers = Answers.of(TALK)
    answers.check(0)
    measured = answers.round(7)
    assert measured is not None
    assert (measured.number, measured.latencies_ms, measured.median_ms) == (7, (1.0, 3.0, 2.0), 2.0)
    assert (measured.load_ms, measured.first_ms, measured.warm_ups) == (3.5, 9.5, 2)
    assert measured.peak_memory_kb == 1234
    assert [(each.name, each.place, each.calls) for each in answers.operators] == [
        ("a", "xnnpack", 2),
        ("b", "builtin", 1),
    ]


def test_without_warm_up_the_first_latency_is_the_first():
    answers = Answers.of([TALK[0], json.dumps({**WARMUP, "runs": 0, "first_ms": None}), *TALK[2:]])
    measured = answers.round(0)
    assert measured is not None
    assert measured.first_ms == 1.0


@pytest.mark.parametrize(
    ("code", "kind"),
    [(137, Killed), (139, Killed), (159, Seccomp), (142, TimedOut), (1, RunFailed), (0, Disconnected)],
)
def test_an_end_too_early_keeps_what_was_measured(code, kind):
    with pytest.raises(kind) as raised:
        Answers.of(TALK[:3]).check(code, number=2)
    assert raised.value.partial_round is not None
    assert raised.value.partial_round.latencies_ms == (1.0, 3.0)
    assert raised.value.partial_round.number == 2


def test_what_the_runner_says_goes_before_its_code():
    error = json.dumps({"event": "error", "stage": "output", "status": 28, "message": "/x: No space left on device"})
    with pytest.raises(NoSpace, match="No space left"):
        Answers.of([*TALK[:2], '{"event":"latencies","ms":[1.0,', error]).check(4)


def test_litert_explains_what_it_refuses():
    error = json.dumps({"event": "error", "stage": "compile", "status": 1, "message": "LiteRT refused: X"})
    stderr = "INFO: [environment.cc:36] Creating\nWARNING: NPU\nERROR: Didn't find op for builtin opcode 'X'\n"
    with pytest.raises(RunFailed, match=r"Didn't find op .* may hold operators") as raised:
        Answers.of([error]).check(3, stderr)
    assert "NPU" not in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"latencies","ms":[NaN]}',
        '{"event":"latencies","ms":[-1]}',
        '{"event":"latencies","ms":[true]}',
        '{"event":"latencies","ms":[1e999]}',
        '{"event":"latencies","ms":["1"]}',
        '{"event":"latencies","ms":[' + "9" * 5000 + "]}",
        '{"event":"result","runs":4,"peak_memory_kb":1}',
        '{"event":"unheard of"}',
        "[" * 100_000,
        "WARNING: linker: something",
    ],
)
def test_a_line_that_makes_no_sense_is_no_success(line):
    with pytest.raises(RunFailed, match="lines of JSON"):
        Answers.of([*TALK[:4], line, *TALK[4:]]).check(0)


@given(st.integers(0, len("\n".join(TALK)) - 2))
def test_what_is_cut_anywhere_is_no_success(length):
    answers = Answers.of("\n".join(TALK)[:length].splitlines())
    with pytest.raises(DeviceError) as raised:
        answers.check(0)
    partial = raised.value.partial_round
    assert partial is None or partial.latencies_ms in ((1.0, 3.0), (1.0, 3.0, 2.0))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
events = st.dictionaries(
    st.sampled_from(sorted({*MODEL, *WARMUP, *RESULT, *PROFILE, *LATENCIES[0], "stage", "status", "message"})),
    json_values | st.sampled_from(["model", "warmup", "latencies", "result", "profile", "done", "error"]),
)
names = st.sampled_from(["model", "warmup", "latencies", "result", "profile", "done", "error"])
known = st.builds(lambda facts, name: json.dumps({**facts, "event": name}), events, names)
said = st.lists(st.sampled_from(TALK) | known | st.text() | json_values.map(json.dumps), max_size=8)


@given(said, st.integers(0, 255), st.text())
def test_nothing_crashes_it(lines, code, stderr):
    answers = Answers.of(lines)
    with suppress(DeviceError):
        answers.check(code, stderr)
        assert code == 0
        assert answers.done
    answers.round(0)


def test_a_plan_becomes_options():
    plan = Plan(threads=4, warm_ups=3, warm_up_seconds=0.25, runs=9, seconds=2, longest_seconds=10, cpu_mask="f0")
    assert set(arguments(plan)) == {
        "--num_threads=4", "--warmup_runs=3", "--warmup_min_secs=0.250", "--num_runs=9", "--min_secs=2.000",
        "--max_secs=10.000", "--deadline_secs=81", "--cpu_mask=f0",
    }  # fmt: skip
    assert "--num_runs=0" in arguments(plan, timed=False)
    assert "--profile=20" in arguments(plan, profile=20)
