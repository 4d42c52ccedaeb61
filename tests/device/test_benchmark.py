"""The benchmark's loop over a real engine: the runner on this machine, whose processes can be killed."""

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit.device.benchmark import REFERENCE, Schedule, benchmark, turns
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import Killed
from keras_effvit.device.host import HostRunner, host_engine
from keras_effvit.device.machine import host_device
from keras_effvit.report.records import Run
from tests.lite.conftest import converted

#: As short as a turn can be.
QUICK = Plan(warm_ups=1, warm_up_seconds=0, runs=3, seconds=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small model, and the reference once more as a second one."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "small.tflite").write_bytes(converted("efficientvit_b0", "float32", 64).content)
    return {"small": folder / "small.tflite", "other": REFERENCE}


@given(
    st.lists(st.text("abcd", min_size=1), min_size=1, max_size=5, unique=True),
    st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True),
    st.integers(1, 6),
    st.integers(0, 2**32),
)
def test_every_round_measures_everything_once(names, threads, rounds, seed):
    schedule = Schedule(tuple(threads), rounds, seed)
    order = turns(names, schedule)
    assert order == turns(names, schedule)
    assert [turn.number for turn in order] == sorted(turn.number for turn in order)
    assert max(Counter(order).values()) == 1
    assert len(order) == rounds * len(names) * len(threads)
    assert {(turn.file, turn.threads) for turn in order} == {(name, count) for name in names for count in threads}


def test_orders_differ_between_rounds():
    order = [turn.file for turn in turns("abcdef", Schedule(rounds=20))]
    assert len({tuple(order[start : start + 6]) for start in range(0, len(order), 6)}) > 10


def test_a_run(files, tmp_path):
    output, seen = tmp_path / "run.json", []

    def progress(done, total, text):
        kept = Run.load(output)
        rounds = sum(len(series.rounds) for series in kept.series)
        profiles = sum(bool(series.profile) for series in kept.series)
        assert rounds + profiles == done  # written after every turn
        assert kept.finished is None or done == total
        seen.append((done, total, text))

    schedule = Schedule(threads=(1, 2), rounds=2, plan=QUICK, profile_runs=3)
    run = benchmark(
        files, host_engine(), host_device(), schedule,
        facts={"small": {"model": "efficientvit_b0"}}, warnings=["a warning"], output=output, progress=progress,
    )  # fmt: skip
    assert seen[-1] == (12, 12, "done")
    assert Run.load(output) == run
    assert run.finished
    assert run.error is None
    assert len(run.reference) == 2
    assert "a warning" in run.warnings
    assert [(each.file, each.threads) for each in run.series] == [
        ("small", 1), ("small", 2), ("other", 1), ("other", 2),
    ]  # fmt: skip
    for series in run.series:
        assert series.error is None
        assert [one.number for one in series.rounds] == [0, 1]
        assert all(len(one.latencies_ms) >= 3 and min(one.latencies_ms) > 0 for one in series.rounds)
        assert sum(operator.microseconds for operator in series.profile) > 0
    assert run.series[0].facts == {"model": "efficientvit_b0"}
    assert run.series[0].bytes == files["small"].stat().st_size


def test_a_file_that_does_not_run_leaves_the_others_alone(files, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(files["small"].read_bytes()[:5000])
    run = benchmark({"broken": broken, **files}, host_engine(), host_device(), Schedule(rounds=2, plan=QUICK))
    broken_series, *others = run.series
    assert broken_series.error
    assert broken_series.rounds == ()
    assert all(series.error is None and len(series.rounds) == 2 for series in others)
    assert run.finished


def test_what_was_cut_short_goes_on(files, tmp_path):
    output, schedule = tmp_path / "run.json", Schedule(rounds=3, plan=QUICK)

    def stop_at_the_fifth(done, total, text):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark(files, host_engine(), host_device(), schedule, output=output, progress=stop_at_the_fifth)
    half = Run.load(output)
    assert half.finished is None
    assert half.error == "KeyboardInterrupt"
    assert sum(len(series.rounds) for series in half.series) == 4
    run = benchmark(files, host_engine(), host_device(), schedule, output=output)
    assert run.finished
    assert run.error is None
    for before, after in zip(half.series, run.series, strict=True):
        assert after.rounds[: len(before.rounds)] == before.rounds
        assert len(after.rounds) == 3
    modified = output.stat().st_mtime_ns
    assert benchmark(files, host_engine(), host_device(), schedule, output=output) == run
    assert output.stat().st_mtime_ns == modified


def test_another_run_is_not_gone_on_with(files, tmp_path):
    output = tmp_path / "run.json"
    benchmark(files, host_engine(), host_device(), Schedule(rounds=1, plan=QUICK), output=output)
    kept = output.read_bytes()
    with pytest.raises(ValueError, match=r"Expected in .*run\.json the beginning of this run"):
        benchmark(files, host_engine(), host_device(), Schedule(rounds=2, plan=QUICK), output=output)
    output.with_name("damaged.json").write_bytes(kept[: len(kept) // 2])
    with pytest.raises(ValueError, match=r"damaged\.json: "):
        benchmark(files, host_engine(), host_device(), output=output.with_name("damaged.json"))
    assert output.read_bytes() == kept


def runners():
    """Processes of the runner that belong to this one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, status = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue
        if b"runner-" in line.split(b"\0")[0] and int(status.rpartition(")")[2].split()[1]) == os.getpid():
            yield int(folder.name)


def test_a_runner_that_is_killed(files):
    """As a phone kills what needs too much memory: what was measured until then is not lost."""
    stopped = threading.Event()

    def kill():
        while not stopped.wait(0.01):
            for pid in runners():
                time.sleep(1.0)
                os.kill(pid, signal.SIGKILL)
                return

    thread, engine = threading.Thread(target=kill), HostRunner()
    engine.prepare(files)
    thread.start()
    try:
        with pytest.raises(Killed, match="SIGKILL") as caught:
            engine.measure("small", Plan(warm_ups=1, warm_up_seconds=0, runs=10**6, seconds=30), 0)
    finally:
        stopped.set()
        thread.join()
    assert caught.value.partial_round
    assert len(caught.value.partial_round.latencies_ms) > 1
    assert list(runners()) == []


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="Expected files to measure in at least one round"):
        benchmark({}, host_engine(), host_device())


def test_the_record_is_plain_json(files, tmp_path):
    output = tmp_path / "run.json"
    benchmark(files, host_engine(), host_device(), Schedule(rounds=1, plan=QUICK), output=output)
    facts = json.loads(output.read_text())
    assert facts["version"] == 1
    assert all(len(each["sha256"]) == 64 for each in facts["series"])
