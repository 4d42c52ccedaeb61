"""The runner in C on this machine, against LiteRT's own interpreter and the kernel."""

import itertools
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_effvit.device.errors import Killed, RunFailed, TimedOut
from tests.device.files import (
    PRECISIONS,
    answers_of,
    content_of,
    content_of_many,
    interpreted,
    needs_runner,
    runner,
    write_files,
)

pytestmark = [pytest.mark.xdist_group("runner"), needs_runner]
SHORT = ("--warmup_runs=1", "--warmup_min_secs=0", "--min_secs=0", "--num_runs=3")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"))


def run(path, *options, **settings):
    return subprocess.run(runner(path, *options), capture_output=True, timeout=120, check=False, **settings)


def lines(done):
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def only_error(done, code, stage):
    assert done.returncode == code
    errors = [each for each in lines(done) if each["event"] == "error"]
    assert [each["stage"] for each in errors] == [stage]
    assert lines(done)[-1] == errors[0]
    return errors[0]["message"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_those_of_the_interpreter(files, precision, threads, tmp_path):
    image = np.random.default_rng(3).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32).tobytes()
    (tmp_path / "input_0.bin").write_bytes(image)
    done = run(
        files[precision], *SHORT, f"--num_threads={threads}", f"--input_dir={tmp_path}", f"--output_dir={tmp_path}"
    )
    answers_of(done.stdout).check(done.returncode, done.stderr.decode())
    output = np.frombuffer((tmp_path / "output_0.bin").read_bytes(), np.float32)
    [expected] = interpreted(files[precision], [image], threads)
    expected = np.frombuffer(expected, np.float32)
    assert np.ptp(expected) > 0.1
    # The wheel holds two builds of XNNPACK, one in either library; a sum's order may differ.
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


def test_tensors_of_all_types_are_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "many.tflite"
    path.write_bytes(content_of_many())
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    rng = np.random.default_rng(1)
    inputs = [
        rng.uniform(1, 9, detail["shape"]).astype(detail["dtype"]).tobytes()
        for detail in interpreter.get_input_details()
    ]
    assert {detail["dtype"] for detail in interpreter.get_input_details()} == {
        np.float32, np.int32, np.int64, np.float16
    }  # fmt: skip
    for position, content in enumerate(inputs):
        (tmp_path / f"input_{position}.bin").write_bytes(content)
    done = run(path, *SHORT, f"--input_dir={tmp_path}", f"--output_dir={tmp_path}")
    answers = answers_of(done.stdout)
    answers.check(done.returncode, done.stderr.decode())
    assert [each.bytes for each in answers.inputs] == [len(each) for each in inputs]
    assert [each.name for each in answers.outputs] == [each["name"] for each in interpreter.get_output_details()]
    outputs = [(tmp_path / f"output_{position}.bin").read_bytes() for position in range(4)]
    assert outputs == interpreted(path, inputs)


def test_random_inputs_are_neither_special_nor_different_each_time(tmp_path):
    path = tmp_path / "many.tflite"
    path.write_bytes(content_of_many())
    contents = []
    for each in ("first", "second"):
        (tmp_path / each).mkdir()
        assert run(path, *SHORT, f"--output_dir={tmp_path / each}").returncode == 0
        contents.append([(tmp_path / each / f"output_{position}.bin").read_bytes() for position in range(4)])
    assert contents[0] == contents[1]
    by_length = {len(content): content for content in contents[0]}
    floats = np.frombuffer(by_length[12], np.float32) - 1
    halves = np.frombuffer(by_length[20], np.float32) * 2
    for values in (floats, halves):
        assert np.all((np.abs(values) >= 0.499) & (np.abs(values) < 1))
        assert len(np.unique(values)) == len(values)
    assert set(np.frombuffer(by_length[8], np.int32) - 3) <= {0, 1}
    assert set(np.frombuffer(by_length[32], np.int64) // 2) <= {0, 1}


def test_it_says_what_it_ran(files):
    said = lines(run(files["int8"], *SHORT, "--num_threads=2"))
    assert [each["event"] for each in said] == ["model", "warmup", "latencies", "result", "done"]
    model = said[0]
    assert model["num_threads"] == 2
    assert model["fully_accelerated"] is True
    assert model["inputs"][0]["shape"] == [1, 64, 64, 3]
    assert (said[1]["runs"], said[3]["runs"], len(said[2]["ms"])) == (1, 3, 3)
    assert said[1]["first_ms"] > 0
    assert 5_000 < said[3]["peak_memory_kb"] < 200_000  # not that of this Python, with TensorFlow in it


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        (["--num_runs=7", "--min_secs=0"], 7, 7),
        (["--num_runs=1", "--min_secs=0.3"], 20, 10**6),
        (["--num_runs=1000000", "--max_secs=0.3", "--min_secs=0"], 20, 10**5),
        (["--num_runs=1000000", "--max_secs=0"], 1, 1),
    ],
)
def test_it_stops_when_it_ran_enough(files, options, least, most):
    done = run(files["int8"], "--warmup_runs=1", "--warmup_min_secs=0", *options)
    answers = answers_of(done.stdout)
    answers.check(done.returncode)
    assert least <= len(answers.latencies_ms) <= most


def test_latencies_are_what_the_clock_says(files):
    done = run(files["float32"], "--warmup_runs=1", "--warmup_min_secs=0", "--min_secs=0.5")
    [result] = [each for each in lines(done) if each["event"] == "result"]
    total = sum(answers_of(done.stdout).latencies_ms) / 1e3
    assert 0.8 * result["secs"] < total <= result["secs"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_profile_names_xnnpacks_operators_and_adds_up(files, precision):
    done = run(files[precision], "--profile=40", "--min_secs=0.3")
    answers = answers_of(done.stdout)
    answers.check(done.returncode)
    names = {operator.name for operator in answers.operators if operator.place == "xnnpack"}
    wanted = {"float32": "Fully Connected (NC, F32) GEMM", "int8": "Fully Connected (NC, QS8, QC8W) GEMM"}
    assert wanted[precision] in names
    assert {operator.place for operator in answers.operators} == {"xnnpack"}  # these files are one partition
    assert all(operator.calls >= 1 for operator in answers.operators)
    # Operators take whole microseconds, rounded down, so a hundred small ones vanish. Others may use this machine.
    whole = sum(operator.microseconds for operator in answers.operators) / 1e3
    assert 0.3 * min(answers.latencies_ms) < whole < 1.5 * max(answers.latencies_ms)


def test_a_profile_tells_what_xnnpack_does_not_run(files):
    done = run(files["int8"], "--profile=3", "--num_runs=0", "--kernel_mode=builtin")
    answers = answers_of(done.stdout)
    answers.check(done.returncode)
    assert not answers.timed
    assert {operator.place for operator in answers.operators} == {"builtin"}
    assert "CONV_2D" in {operator.name for operator in answers.operators}


def started(path, *options) -> Any:
    return subprocess.Popen(runner(path, *options), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def until(process, event):
    taken = []
    for line in process.stdout:
        taken.append(line.decode())
        if json.loads(line)["event"] == event:
            return taken
    raise AssertionError(f"no {event} in {taken}")


def test_threads_and_mask_are_the_kernels(files):
    [last] = list(os.sched_getaffinity(0))[-1:]
    with started(files["float32"], f"--cpu_mask={1 << last:x}", "--num_threads=3", "--min_secs=60") as process:
        until(process, "latencies")
        tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
        allowed = {os.sched_getaffinity(int(task.name)) == {last} for task in tasks}
        process.kill()
    assert len(tasks) >= 3
    assert allowed == {True}


def test_what_was_measured_survives_a_kill(files):
    with started(files["int8"], "--min_secs=60", "--warmup_min_secs=0.1") as process:
        taken = until(process, "latencies")
        process.kill()
        taken += process.stdout.read().decode().splitlines()
    answers = answers_of("\n".join(taken).encode())
    with pytest.raises(Killed, match="SIGKILL") as raised:
        answers.check(137, number=4)
    partial = raised.value.partial_round
    assert partial is not None
    assert partial.number == 4
    assert len(partial.latencies_ms) >= 50
    assert partial.first_ms > 0
    assert partial.warm_ups >= 5


def test_the_deadline_ends_it_even_if_nobody_listens(files):
    done = run(files["int8"], "--deadline_secs=1", "--min_secs=60", "--warmup_min_secs=0")
    assert done.returncode == -signal.SIGALRM
    with pytest.raises(TimedOut) as raised:
        answers_of(done.stdout).check(128 + signal.SIGALRM)
    assert raised.value.partial_round is not None


def test_it_ends_with_its_reader(files):
    with started(files["int8"], "--min_secs=60", "--warmup_min_secs=0") as process:
        until(process, "model")
        process.stdout.close()
        assert process.wait(30) == -signal.SIGPIPE


def test_what_is_no_file_of_litert(files, tmp_path):
    message = only_error(run(tmp_path / "none.tflite"), 3, "file")
    assert message.endswith("none.tflite: No such file or directory")
    (tmp_path / "junk.tflite").write_bytes(b"junk" * 100)
    done = run(tmp_path / "junk.tflite")
    only_error(done, 3, "file")
    with pytest.raises(RunFailed, match=r"should be 'TFL3'.*convert the model again"):
        answers_of(done.stdout).check(done.returncode, done.stderr.decode())


def test_a_damaged_file_may_crash_litert_and_that_is_told(files, tmp_path):
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content_of("int8")[:100_000])
    done = run(path)
    with pytest.raises((Killed, RunFailed), match="convert the model again"):
        answers_of(done.stdout).check(128 - done.returncode if done.returncode < 0 else done.returncode)


def test_a_missing_library(files):
    command = [each if "--lib" not in str(each) else "--lib=nothing.so" for each in runner(files["int8"])]
    message = only_error(subprocess.run(command, capture_output=True, check=False), 3, "library")
    assert message.startswith("nothing.so")
    command[1] = "--lib=libm.so.6"
    message = only_error(subprocess.run(command, capture_output=True, check=False), 3, "library")
    assert message == "no function LiteRtCreateEnvironment"


@pytest.mark.parametrize("bytes_", [0, 4, 64 * 64 * 3 * 4 - 1, 64 * 64 * 3 * 4 + 1])
def test_inputs_of_the_wrong_size(files, bytes_, tmp_path):
    (tmp_path / "input_0.bin").write_bytes(bytes(bytes_))
    assert "expected 49152 bytes" in only_error(run(files["int8"], f"--input_dir={tmp_path}"), 3, "input")


def test_inputs_and_outputs_that_have_no_place(files, tmp_path):
    assert "input_0.bin" in only_error(run(files["int8"], f"--input_dir={tmp_path}"), 3, "input")
    assert "nowhere" in only_error(run(files["int8"], *SHORT, f"--output_dir={tmp_path}/nowhere"), 3, "output")
    if os.path.exists("/dev/full"):
        (tmp_path / "output_0.bin").symlink_to("/dev/full")
        assert "No space" in only_error(run(files["int8"], *SHORT, f"--output_dir={tmp_path}"), 4, "output")


def test_processors_that_are_not_there(files):
    assert only_error(run(files["int8"], "--cpu_mask=" + "8" + "0" * 40), 3, "cpu_mask") == "Invalid argument"


@pytest.mark.parametrize(
    "options",
    [
        *itertools.product(
            ["--num_threads", "--num_runs", "--warmup_runs", "--profile", "--deadline_secs"],
            ["=", "=-1", "=+1", "= 1", "=1 ", "=0x1", "=1e3", "=1.5", "=99999999999999999999", "=nan", ""],
        ),
        *itertools.product(
            ["--min_secs", "--max_secs", "--warmup_min_secs"], ["=", "=-1", "=1e3", "=.", "=1.2.3", "=inf"]
        ),
        ("--num_threads", "=0"),
        *itertools.product(["--cpu_mask"], ["=0", "=0x3", "=g", "=", "=-1", "=" + "f" * 257]),
        ("--kernel_mode", "=fast"),
        ("--unknown", "=1"),
        ("num_runs", "=1"),
        ("--graph", "=twice"),
        ("--num_run", "=1"),
    ],
)
def test_options_that_make_no_sense(options):
    done = run("model.tflite", "".join(options))
    only_error(done, 2, "options")
    assert done.stderr == b""


def test_no_file_is_named():
    only_error(subprocess.run(runner("x")[:1], capture_output=True, check=False), 2, "options")


@pytest.mark.parametrize(
    "name",
    [
        b'quote " back \\ slash',
        b"tab\tnew\nline\x01\x7f",
        b"caf\xc3\xa9 \xf0\x9f\x98\x80",
        b"\xff\xfe \xc0\xaf \xed\xa0\x80",
    ],
)
def test_names_of_tensors_are_any_bytes(files, name, tmp_path):
    old = b"serving_default_image:0"
    content = content_of("float32")
    assert old in content
    path = tmp_path / "named.tflite"
    path.write_bytes(content.replace(old, name.ljust(len(old), b"_")))
    done = run(path, *SHORT)
    [said] = [each for each in lines(done) if each["event"] == "model"]
    try:
        expected = name.decode()
    except UnicodeDecodeError:
        expected = name.decode("latin-1")
    assert said["inputs"][0]["name"] == expected.ljust(len(expected) + len(old) - len(name), "_")


def test_locales_do_not_matter(files):
    done = run(files["int8"], *SHORT, env={**os.environ, "LC_ALL": "de_DE.UTF-8"})
    assert answers_of(done.stdout).done


def test_nothing_is_lost_when_several_run(files):
    results = []
    threads = [threading.Thread(target=lambda: results.append(run(files["int8"], *SHORT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for done in results:
        answers_of(done.stdout).check(done.returncode)
    assert len(results) == 4
