"""A visit to a phone, from looking it over to leaving it as it was: real adb, a real adbd, ARM programs."""

import dataclasses
import os
import subprocess
import sys
import threading

import pytest

from keras_effvit.device.adb import Adb
from keras_effvit.device.benchmark import Schedule
from keras_effvit.device.clock import phone_times
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import DeviceError, Disconnected, RunFailed, Unfit
from keras_effvit.device.runner import FOLDER
from keras_effvit.device.session import Conduct, Listeners, bench_phone
from keras_effvit.report.building import build
from keras_effvit.report.records import Run
from tests.device.files import write_files
from tests.lite.conftest import converted

pytestmark = pytest.mark.xdist_group("runner")
QUICK = Schedule((1,), rounds=2, plan=Plan(warm_ups=1, warm_up_seconds=0, runs=3, seconds=0))
MODELS = ("efficientvit_b0", "sepvit_lite", "lvt")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"))


def attached(server, phone):
    return Adb(env=server.env).phone(phone.serial)


def runners(phone):
    return [words for words in phone.processes().values() if any("runner" in word for word in words)]


def left_over(phone):
    """What a session wrote and should have removed."""
    return [path for path in phone.files(f"{FOLDER}") if "/runs/" in path or path.endswith(".part")]


@pytest.mark.slow
def test_the_whole_line(adb_server, arm_phone, tmp_path):
    """Three families in two precisions, measured and profiled on ARM, and a page of it."""
    paths, facts = {}, {}
    for model in MODELS:
        for precision in ("float32", "int8"):
            name = f"{model}_{precision}"
            paths[name] = converted(model, precision, 64).save_artifacts(tmp_path)
            facts[name] = {"model": model, "precision": precision}
    before = arm_phone.settings()
    output = tmp_path / "latency-phone.json"
    schedule = dataclasses.replace(QUICK, rounds=1, profile_runs=2)
    run = bench_phone(paths, attached(adb_server, arm_phone), schedule, listeners=Listeners(facts, output))
    assert run.finished
    assert run.device.name == "Google Pixel 8"
    assert len(run.reference) == 2
    for series in run.series:
        assert series.error is None
        assert min(series.rounds[0].latencies_ms) > 0
        assert {operator.place for operator in series.profile} == {"xnnpack"}
    assert arm_phone.settings() == before
    assert left_over(arm_phone) == runners(arm_phone) == []
    page = build(tmp_path, tmp_path / "report").read_text()
    assert "Google Pixel 8" in page
    assert all(model in page for model in MODELS)


def test_threads_follow_the_big_cores(adb_server, arm_phone, files):
    """The phone in the box has a little core and a big one."""
    schedule = dataclasses.replace(QUICK, threads=(), rounds=1)
    run = bench_phone({"int8": files["int8"]}, attached(adb_server, arm_phone), schedule)
    assert run.settings["threads"] == [1]
    assert run.settings["plan"]["cpu_mask"] == "2"


def test_two_phones_at_once(adb_server, two_phones, files):
    if not all(phone.runs_arm for phone in two_phones):
        pytest.skip("ARM programs need phones in boxes")
    runs: dict[str, Run] = {}

    def measure(phone):
        runs[phone.serial] = bench_phone(files, attached(adb_server, phone), dataclasses.replace(QUICK, rounds=1))

    threads = [threading.Thread(target=measure, args=(phone,)) for phone in two_phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert [runs[phone.serial].device.name for phone in two_phones] == ["Google Pixel 8", "Samsung SM-S921B"]
    assert all(run.finished and all(series.rounds for series in run.series) for run in runs.values())


def test_a_cable_pulled_between_rounds(adb_server, arm_phone, files, tmp_path):
    output, before = tmp_path / "run.json", arm_phone.settings()

    def progress(done, total, text):
        if done == 3:
            arm_phone.unplug()
            threading.Timer(3.0, arm_phone.plug).start()

    with pytest.raises(DeviceError) as caught:
        bench_phone(
            files, attached(adb_server, arm_phone), QUICK, listeners=Listeners(output=output, progress=progress)
        )
    kept = Run.load(output)
    assert caught.value.run == kept
    assert kept.error
    assert sum(len(series.rounds) for series in kept.series) == 3
    adb_server.attach(arm_phone)
    assert arm_phone.settings() == before  # restored as soon as the phone was back
    run = bench_phone(files, attached(adb_server, arm_phone), QUICK, listeners=Listeners(output=output))
    assert run.finished
    assert run.error is None
    for old, new in zip(kept.series, run.series, strict=True):
        assert new.rounds[: len(old.rounds)] == old.rounds
        assert len(new.rounds) == 2
    assert left_over(arm_phone) == runners(arm_phone) == []


def test_a_cable_pulled_during_a_turn(adb_server, arm_phone, files, tmp_path):
    output = tmp_path / "run.json"
    endless = Plan(warm_ups=1, warm_up_seconds=0, runs=10**6, seconds=60)
    schedule = Schedule((1,), rounds=1, plan=endless)

    def progress(done, total, text):
        threading.Timer(4.0, arm_phone.unplug).start()
        threading.Timer(9.0, arm_phone.plug).start()

    # The reference would run as long as the file: this run goes on where it was measured already.
    conduct, begun = Conduct(cores="all"), bench_phone(files, attached(adb_server, arm_phone), QUICK)
    unmeasured = tuple(dataclasses.replace(each, rounds=()) for each in begun.series)
    settings = {**begun.settings, **schedule.settings()}
    dataclasses.replace(begun, settings=settings, series=unmeasured, finished=None).save(output)
    listeners = Listeners(output=output, progress=progress)
    with pytest.raises(Disconnected):
        bench_phone(files, attached(adb_server, arm_phone), schedule, conduct, listeners)
    [kept] = [each for series in Run.load(output).series for each in series.rounds]
    assert kept.cut_short
    assert len(kept.latencies_ms) > 1
    adb_server.attach(arm_phone)
    assert runners(arm_phone) == []


def test_a_phone_that_is_not_fit_is_refused(adb_server, phone, files):
    settings = phone.settings()
    phone.write("/dev/phone/settings/global/low_power", "1\n")
    with pytest.raises(Unfit, match="saves power") as caught:
        bench_phone(files, attached(adb_server, phone), QUICK)
    assert "battery saver" in caught.value.fix
    assert FOLDER not in str(phone.files("/data/local/tmp"))  # nothing was brought there
    phone.write("/dev/phone/settings/global/low_power", settings.get("low_power", "0") + "\n")


@pytest.mark.slow
def test_a_phone_is_a_clock_for_tuning(adb_server, arm_phone, files):
    clock = phone_times(attached(adb_server, arm_phone), plan=QUICK.plan)
    contents = {"a name/with $(odd) signs": files["int8"].read_bytes(), "other": files["float32"].read_bytes()}
    times = clock(contents, 2)
    assert list(times) == list(contents)
    assert all(len(each) == 2 and 0 < min(each) < 60 for each in times.values())
    with pytest.raises(RunFailed, match="Expected 'damaged' to run on Google Pixel 8"):
        clock({"damaged": contents["other"][:4000]}, 1)


@pytest.mark.slow
def test_the_command_line(adb_server, arm_phone, files, tmp_path):
    command = [sys.executable, "-m", "keras_effvit.cli", "bench", str(files["int8"]), "-s", arm_phone.serial]
    command += ["--rounds", "1", "--runs", "3", "--seconds", "0", "-o", str(tmp_path / "run.json")]
    environment = {**os.environ, **adb_server.env}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "Google Pixel 8 (phone), runner" in done.stdout
    assert Run.load(tmp_path / "run.json").finished
    done = subprocess.run([*command[:3], "devices"], capture_output=True, text=True, env=environment, timeout=240)
    assert f"{arm_phone.serial}  device  Google Pixel 8" in done.stdout
