"""This machine as a device: both engines do the same, and leave nothing behind."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from keras_effvit.device import host, machine
from keras_effvit.device.engine import Engine, Plan
from keras_effvit.device.errors import DeviceError, FileMissing, Killed, RunFailed, TimedOut
from keras_effvit.device.host import HostInterpreter, HostRunner, host_engine
from tests.device.files import ENGINES, content_of, content_of_many, interpreted, needs_runner, write_files

pytestmark = pytest.mark.xdist_group("runner")
QUICK = Plan(warm_ups=2, warm_up_seconds=0, runs=5, seconds=0)


@dataclass(frozen=True)
class Hurried(Plan):
    @property
    def deadline_seconds(self):
        return 2.0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "many.tflite").write_bytes(content_of_many())
    return {**write_files(folder), "many": folder / "many.tflite"}


@pytest.fixture(params=ENGINES)
def engine(request, files):
    engine = request.param()
    engine.prepare(files)
    yield engine
    engine.close()


def children():
    """Processes that this one started and that still are."""
    found = [task.read_text().split() for task in Path("/proc/self/task").glob("*/children")]
    words = {int(number): Path(f"/proc/{number}/cmdline") for numbers in found for number in numbers}
    return {number: path.read_bytes() for number, path in words.items() if path.exists() and path.read_bytes()}


def runners():
    return [number for number, words in children().items() if b"--graph=" in words]


def test_a_turn(engine):
    measured = engine.measure("int8", QUICK, 3)
    assert (measured.number, len(measured.latencies_ms), measured.warm_ups) == (3, 5, 2)
    assert 0 < measured.median_ms < 1000
    assert measured.first_ms > 0
    assert measured.load_ms > 0


def test_outputs_are_those_of_the_interpreter(engine, files):
    image = np.random.default_rng(5).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32).tobytes()
    [output] = engine.outputs("float32", [image])
    [expected] = interpreted(files["float32"], [image])
    np.testing.assert_allclose(np.frombuffer(output, np.float32), np.frombuffer(expected, np.float32), atol=1e-5)


def test_inputs_and_outputs_are_in_the_order_of_the_file(engine, files):
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(str(files["many"])).get_input_details()
    inputs = [np.arange(1, 1 + np.prod(d["shape"])).astype(d["dtype"]).tobytes() for d in details]
    assert engine.outputs("many", inputs) == interpreted(files["many"], inputs)


@pytest.mark.parametrize(
    "inputs", [[], [b""], [bytes(49152)] * 2, [bytes(49151)]], ids=["none", "empty", "two", "short"]
)
def test_inputs_that_do_not_fit(engine, inputs):
    with pytest.raises(RunFailed, match=r"input"):
        engine.outputs("int8", inputs)


def test_files_that_are_none(engine, tmp_path):
    with pytest.raises(FileMissing, match=r"no\.tflite"):
        engine.prepare({"no": tmp_path / "no.tflite"})
    (tmp_path / "junk.tflite").write_bytes(b"junk")
    (tmp_path / "cut.tflite").write_bytes(content_of("int8")[:200_000])
    engine.prepare({each: tmp_path / f"{each}.tflite" for each in ("junk", "cut")})
    for each in ("junk", "cut"):
        with pytest.raises(DeviceError, match="convert the model again"):
            engine.measure(each, QUICK, 0)


def test_names_that_a_shell_would_misread(engine, files, tmp_path):
    path = tmp_path / 'it\'s $(touch oops) "x" --lib=y.tflite'
    path.write_bytes(files["int8"].read_bytes())
    engine.prepare({"odd name; --x": path})
    assert engine.measure("odd name; --x", QUICK, 0).median_ms > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets no program choose its processors")
def test_processors_that_are_not_there(engine):
    with pytest.raises(RunFailed, match="switched on"):
        engine.measure("int8", Plan(cpu_mask="8" + "0" * 40), 0)
    one = min(os.sched_getaffinity(0))
    assert engine.measure("int8", Plan(cpu_mask=f"{1 << one:x}", runs=1, seconds=0, warm_up_seconds=0), 0)


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="this system has no alarms")
def test_the_deadline_keeps_what_was_measured(engine):
    with pytest.raises(TimedOut) as raised:
        engine.measure("int8", Hurried(seconds=30, warm_up_seconds=0), 1)
    assert raised.value.partial_round is not None
    assert len(raised.value.partial_round.latencies_ms) > 10
    assert runners() == []


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGKILL, Killed), (signal.SIGSTOP, TimedOut)])
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_a_process_that_dies_or_freezes(engine, number, kind, monkeypatch):
    monkeypatch.setattr(host, "_GRACE", 0.5)

    def disturb():
        while not (found := runners()):
            time.sleep(0.02)
        time.sleep(1.5)
        os.kill(found[0], number)

    thread = threading.Thread(target=disturb)
    thread.start()
    with pytest.raises(kind) as raised:
        engine.measure("int8", Hurried(seconds=30, warm_up_seconds=0), 1)
    thread.join()
    assert raised.value.partial_round is not None
    assert runners() == []


@needs_runner
def test_operators_come_the_longest_first(files):
    engine = HostRunner()
    engine.prepare(files)
    operators = engine.profile("float32", QUICK, runs=10)
    assert [each.microseconds for each in operators] == sorted((each.microseconds for each in operators), reverse=True)
    assert "Fully Connected" in operators[0].name
    assert HostInterpreter().profile("float32", QUICK) == ()


def test_the_better_engine_is_taken():
    engine: Engine = host_engine()
    assert engine.name in ("runner", "interpreter")
    if not needs_runner.args[0]:
        assert engine.name == "runner"


def test_temporary_files_are_gone(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine.outputs("int8", [bytes(49152)])
    engine.measure("int8", QUICK, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_described():
    device = machine.host_device()
    assert device.kind == "host"
    assert device.name
    assert device.facts["cores"] == os.cpu_count()
    assert device.facts["litert"] == machine.litert_version()


CPUINFO_X86 = "processor\t: 0\nmodel name\t: Some  CPU @ 2GHz \nflags\t\t: fpu avx2 hypervisor avx512_vnni\n"
CPUINFO_ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n"


def test_processors_have_names_and_abilities():
    assert machine.cpu_name(CPUINFO_X86) == "Some CPU @ 2GHz"
    assert machine.abilities(CPUINFO_X86) == ["avx2", "avx512_vnni"]
    assert machine.cpu_name(CPUINFO_ARM).endswith("0xd0b")
    assert machine.abilities(CPUINFO_ARM) == ["asimd", "asimddp", "i8mm"]
    assert machine.cpu_name("") != ""
    assert machine.abilities("") == []


def stat(*ticks):
    return f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 1 1 1 1 1 1 1\ncpu1 1 1 1 1 1 1 1 1\n"


def test_who_else_is_busy():
    before, after = stat(100, 0, 0, 100, 0, 0, 0, 0), stat(130, 0, 10, 150, 0, 0, 0, 10)
    busy, stolen = machine.occupied(before, after) or (None, None)
    assert busy == pytest.approx(0.8)  # 40 of 100 ticks, on two processors
    assert stolen == pytest.approx(0.1)
    found = machine.concerns(0.8, 0.1, {"cores": 2, "governor": None})
    assert [finding.text for finding in found] == [
        "Other programs keep 0.8 of 2 processors busy.",
        "Other virtual machines took 10% of the time.",
    ]
    assert machine.concerns(0.1, 0.0, {"cores": 2, "governor": "performance"}) == ()
    for nonsense in ("", "cpu", "cpu 1 2 3", "cpu  1 1 1 1 1 1 1 x"):
        assert machine.occupied(nonsense, after) is None
    assert machine.occupied(after, before) is None
    assert machine.occupied(after, after) is None
    busy, stolen = machine.occupation(0.1)
    assert busy >= 0
    assert stolen >= 0
