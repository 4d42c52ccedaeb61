"""The runner on phones: real adb, Android's adbd, ARM programs; and all that can go wrong on the way."""

import contextlib
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_effvit.device.adb import Adb
from keras_effvit.device.assets import assets
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import (
    AssetsMissing,
    Disconnected,
    FileMissing,
    Killed,
    NoSpace,
    NotExecutable,
    RunFailed,
    Seccomp,
    TimedOut,
    WrongAbi,
)
from keras_effvit.device.runner import FOLDER, PhoneRunner
from keras_effvit.report.records import Round
from tests.device.files import content_of, interpreted, write_files
from tests.phones import box, cache
from tests.phones.fixtures import attached, make_phone
from tests.phones.server import AdbServer

pytestmark = pytest.mark.xdist_group("phone_runner")
QUICK = Plan(warm_ups=1, warm_up_seconds=0, runs=3, seconds=0)
#: Emulated ARM calculates some twenty times slower than a phone.
LONG = Plan(warm_ups=1, warm_up_seconds=0, seconds=50)


@dataclass(frozen=True)
class Hurried(Plan):
    @property
    def deadline_seconds(self):
        return 4.0


@pytest.fixture(scope="module")
def libraries():
    try:
        return assets()
    except AssetsMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"))


def engine_on(server, phone, libraries, folder=FOLDER) -> PhoneRunner:
    return PhoneRunner(Adb(server.path, env=server.env).phone(phone.serial), folder, libraries=libraries)


@contextlib.contextmanager
def switched_on(**options):
    if reason := box.unsupported():
        pytest.skip(f"ARM programs need a phone in a box: {reason}")
    try:
        server = AdbServer()
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))
    with server, attached(server, make_phone(**options)) as phone:
        yield server, phone


@pytest.fixture(scope="module")
def bench():
    """One phone for all tests that leave it as it was."""
    with switched_on() as found:
        yield found


@pytest.fixture
def phone(bench):
    return bench[1]


@pytest.fixture(scope="module")
def deployed(bench, libraries, files):
    engine = engine_on(bench[0], bench[1], libraries)
    engine.prepare(files)
    return engine


@pytest.fixture
def engine(bench, phone, deployed):
    yield deployed
    phone.plug()
    bench[0].attach(phone)
    deployed.close()
    assert runners(phone) == []
    assert [path for path in phone.files("/data/local/tmp") if "/runs/" in path] == []


def runners(phone):
    return [number for number, words in phone.processes().items() if "./runner" in words]


def partial(raised) -> Round:
    assert raised.value.partial_round is not None
    return raised.value.partial_round


def wait_for(condition, seconds=30.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def meanwhile(action):
    """Does something in another thread, and waits for it."""
    errors = []

    def guarded():
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    yield
    thread.join()
    assert errors == []


def test_a_turn(engine):
    measured = engine.measure("int8", QUICK, 2)
    assert (measured.number, len(measured.latencies_ms), measured.warm_ups) == (2, 3, 1)
    assert measured.median_ms > 0
    assert measured.peak_memory_kb


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_outputs_are_nearly_those_of_this_machine(engine, files, precision):
    image = np.random.default_rng(2).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32).tobytes()
    [output] = engine.outputs(precision, [image])
    [expected] = interpreted(files[precision], [image])
    output, expected = (np.frombuffer(each, np.float32) for each in (output, expected))
    step = np.diff(np.unique(expected)).min() if precision == "int8" else 0
    np.testing.assert_allclose(output, expected, atol=float(1.001 * step + 1e-4 * np.ptp(expected)))


def test_a_profile(engine):
    operators = engine.profile("int8", QUICK, runs=2)
    assert "Fully Connected (NC, QS8, QC8W) GEMM" in {operator.name for operator in operators}
    assert operators[0].microseconds >= operators[-1].microseconds


def test_a_second_deployment_copies_nothing(engine, bench, libraries, files):
    again = engine_on(bench[0], bench[1], libraries)
    again.prepare(files)
    assert again.pushed == ()
    assert again.measure("int8", QUICK, 0)
    again.close()


def test_only_what_changed_is_copied(engine, phone, files, tmp_path):
    phone.write(f"{FOLDER}/libm.so.6", "half a libr")
    changed = tmp_path / 'it\'s $(touch oops)\n"x".tflite'
    changed.write_bytes(files["int8"].read_bytes() + bytes(16))
    engine.prepare({**files, "odd; name": changed})
    assert [name.split(".")[-1] for name in engine.pushed] == ["6", "tflite"]
    assert engine.measure("odd; name", QUICK, 0)


def test_a_loader_that_is_gone(engine, phone, files):
    engine._shell(f"rm {FOLDER}/ld-linux-aarch64.so.1")
    with pytest.raises(FileMissing, match=r"ld-linux-aarch64\.so\.1"):
        engine.measure("int8", QUICK, 0)
    engine.prepare(files)
    assert engine.pushed == ("ld-linux-aarch64.so.1",)
    assert engine.measure("int8", QUICK, 0)


def test_a_library_that_is_gone(engine, files):
    engine._shell(f"rm {FOLDER}/libLiteRt.so")
    with pytest.raises(RunFailed, match=r"libLiteRt\.so"):
        engine.measure("int8", QUICK, 0)
    engine.prepare(files)
    assert engine.measure("int8", QUICK, 0)


@pytest.mark.parametrize(("number", "kind"), [(9, Killed), (11, Killed), (31, Seccomp)])
def test_a_signal_ends_the_runner(engine, phone, number, kind):
    def kill():
        [found] = wait_for(lambda: runners(phone))
        time.sleep(4)
        engine._shell(f"kill -{number} {found}")

    with meanwhile(kill), pytest.raises(kind) as raised:
        engine.measure("int8", LONG, 1)
    assert partial(raised).latencies_ms
    assert runners(phone) == []
    if kind is Seccomp:
        assert "benchmark_model" in raised.value.fix


def test_the_deadline_ends_it(engine, phone):
    with pytest.raises(TimedOut) as raised:
        engine.measure("int8", Hurried(warm_ups=1, warm_up_seconds=0, seconds=50), 1)
    assert partial(raised).latencies_ms
    assert runners(phone) == []


@pytest.mark.parametrize("how", ["unplug", "drop"])
def test_a_cable_pulled_in_the_middle_keeps_what_was_measured(engine, bench, phone, how):
    def pull():
        wait_for(lambda: runners(phone))
        time.sleep(4)
        getattr(phone, how)()

    with meanwhile(pull), pytest.raises(Disconnected) as raised:
        engine.measure("int8", LONG, 5)
    assert partial(raised).number == 5
    assert partial(raised).latencies_ms
    phone.plug()
    bench[0].attach(phone)
    assert engine.measure("int8", QUICK, 6)
    engine.close()
    assert runners(phone) == []


def test_close_ends_what_still_runs_and_no_one_else(engine, phone):
    # As if this machine had crashed: the runner goes on, and another session's too.
    ours = engine._run_folder
    for folder in (ours, "runs/other"):
        program = "./ld-linux-aarch64.so.1 --library-path . ./runner --min_secs=50 --deadline_secs=60"
        start = f"mkdir -p {folder}; (echo $BASHPID > {folder}/pid; exec {program} --graph={engine._names['int8']})"
        engine._shell(f"cd {FOLDER}; {{ {start}; }} >/dev/null 2>&1 </dev/null & sleep 2")
    before = wait_for(lambda: runners(phone) if len(runners(phone)) == 2 else None)
    engine.close()
    [left] = wait_for(lambda: runners(phone) if len(runners(phone)) == 1 else None)
    assert left in before
    assert [path for path in phone.files(FOLDER) if "/runs/" in path] == [f"{FOLDER}/runs/other/pid"]
    phone.kill(left)
    engine._shell(f"rm -r {FOLDER}/runs")


def test_a_number_that_another_program_has_by_now_is_left_alone(engine, phone):
    pid = f"{FOLDER}/{engine._run_folder}/pid"
    engine._shell(f"mkdir -p {FOLDER}/{engine._run_folder}; sleep 60 >/dev/null 2>&1 </dev/null & echo $! > {pid}")
    number = int(phone.read(pid))
    engine.close()
    assert number in phone.processes()
    phone.kill(number)


def test_files_that_are_none(engine, tmp_path):
    (tmp_path / "cut.tflite").write_bytes(content_of("int8")[:200_000])
    engine.prepare({"cut": tmp_path / "cut.tflite"})
    with pytest.raises((Killed, RunFailed), match="convert the model again"):
        engine.measure("cut", QUICK, 0)
    with pytest.raises(FileMissing, match=r"none\.tflite"):
        engine.prepare({"none": tmp_path / "none.tflite"})


def test_inputs_that_do_not_fit(engine, phone):
    for inputs in ([], [b"x"], [bytes(49152)] * 2):
        with pytest.raises(RunFailed, match="input"):
            engine.outputs("int8", inputs)
    assert [path for path in phone.files(FOLDER) if path.endswith(".bin")] == []


def test_processors_that_are_not_there(engine):
    with pytest.raises(RunFailed, match="switched on"):
        engine.measure("int8", Plan(cpu_mask="8" + "0" * 30), 0)


def test_a_folder_where_nothing_may_run(bench, phone, libraries, files):
    engine = engine_on(bench[0], bench[1], libraries, "/sdcard/keras_effvit")
    engine.prepare({"int8": files["int8"]})
    with pytest.raises(NotExecutable, match="/data/local/tmp"):
        engine.measure("int8", QUICK, 0)
    engine.remove()
    assert phone.files("/sdcard") == {}


def test_a_folder_with_an_odd_name(bench, phone, libraries, files):
    folder = '/data/local/tmp/it\'s a\n$(touch /data/oops) "folder"; x'
    engine = engine_on(bench[0], bench[1], libraries, folder)
    engine.prepare({"int8": files["int8"]})
    assert engine.measure("int8", QUICK, 0)
    assert len(engine.outputs("int8", [bytes(49152)])) == 1
    engine.remove()
    assert [path for path in phone.files("/data") if not path.startswith(FOLDER)] == []


def test_a_full_phone(libraries, files):
    with switched_on(data_size="12m") as (server, phone):
        engine = engine_on(server, phone, libraries)
        with pytest.raises(NoSpace):
            engine.prepare({"int8": files["int8"]})
        assert [path for path in phone.files() if path.endswith((".part", ".tflite"))] == []
        engine.remove()
        assert phone.files("/data/local/tmp") == {}


def test_files_of_earlier_sessions_make_room(libraries, files, tmp_path):
    with switched_on(data_size="17m") as (server, phone):
        older = tmp_path / "older.tflite"
        older.write_bytes(files["int8"].read_bytes() + bytes(16))
        engine_on(server, phone, libraries).prepare({"older": older})
        engine = engine_on(server, phone, libraries)
        engine.prepare({"int8": files["int8"]})
        assert engine.measure("int8", QUICK, 0)
        assert sum(path.endswith(".tflite") for path in phone.files(FOLDER)) == 1


def test_two_phones_at_once(two_phones, adb_server, libraries, files):
    if not all(phone.runs_arm for phone in two_phones):
        pytest.skip("ARM programs need a phone in a box")
    found = {}

    def measure(phone):
        engine = engine_on(adb_server, phone, libraries)
        engine.prepare({"int8": files["int8"]})
        found[phone.serial] = engine.outputs("int8", [np.linspace(-1, 1, 64 * 64 * 3, dtype=np.float32).tobytes()])
        assert engine.measure("int8", QUICK, 0)
        engine.close()

    with meanwhile(lambda: measure(two_phones[0])), meanwhile(lambda: measure(two_phones[1])):
        pass
    first, second = (found[phone.serial] for phone in two_phones)
    assert first == second  # int8 is the same on every ARM core, with the dot product and without


def test_a_phone_without_64_bit_arm(emulated_phone, adb_server, tmp_path, files):
    machine = Adb(adb_server.path, env=adb_server.env).phone(emulated_phone.serial).shell("uname -m").stdout.strip()
    if machine == "aarch64":
        pytest.skip("the emulated phone has this machine's processor, which is ARM")
    with pytest.raises(WrongAbi, match=machine):
        engine_on(adb_server, emulated_phone, shutil.copytree(Path(__file__).parent, tmp_path / "x")).prepare(files)
