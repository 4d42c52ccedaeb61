"""The official tool's outputs, whole, cut short and mutilated; and the engine on phones, where a script prints them.

The tool itself cannot be had where the suite runs: a script with its name stands in for it, and prints what it prints.
"""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.device import errors
from keras_effvit.device.benchmark_model import PhoneBenchmarkModel, operators, parse
from keras_effvit.device.engine import Engine, Plan
from keras_effvit.report.records import Device, Run, Series
from tests.device.conftest import nothing_left, raises

FOLDER = Path(__file__).parents[1] / "data" / "benchmark_model"
SAMPLES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.txt"))}
GOOD = [name for name in SAMPLES if name.startswith("ok")]


@pytest.mark.parametrize(
    ("name", "count", "typical", "init", "first", "warm_ups", "memory_kb"),
    [
        ("ok_android_xnnpack", 71, 15009, 43911, 20417, 34, 35904),
        ("ok_profiling", 71, 15009, 43911, 20417, 34, 35904),
        ("ok_litert_next", 72, 13860, 38200, 15005, 36, None),
        ("ok_old_noprefix", 50, 33650.2, 901, 51200, 15, 13420),  # no median: the average
        ("ok_slow_count1", 3, 1632225, 1310220, 1701122, 1, None),  # one run tells nothing but itself
        ("ok_2019", 50, 43040.2, 2491, 45100, 12, None),
        ("ok_profiling_2021", 20, 9040.5, 1500, 9100, 1, None),
    ],
)
def test_what_is_told_is_found(name, count, typical, init, first, warm_ups, memory_kb):
    found = parse(SAMPLES[name], 0)
    assert (found.runs.count, found.runs.typical, found.init_us) == (count, typical, init)
    assert (found.warm_up.first, found.warm_up.count, found.memory_kb) == (first, warm_ups, memory_kb)


def test_every_good_sample_was_looked_at():
    assert len(GOOD) == 7


def test_windows_ends_of_lines_change_nothing():
    text = SAMPLES["ok_profiling"]
    assert parse(text.replace("\n", "\r\n"), 0) == parse(text, 0)


def test_delegates():
    (found,) = parse(SAMPLES["ok_android_xnnpack"], 0).delegates
    assert (found.name, found.nodes, found.of, found.partitions) == ("TfLiteXNNPackDelegate", 100, 142, 24)


def test_a_profile_is_by_kind_and_place():
    found = [(each.name, each.place, each.calls, each.microseconds) for each in operators(SAMPLES["ok_profiling"])]
    assert found == [
        ("Fully Connected (NC, QS8, QC8W) GEMM", "xnnpack", 13, pytest.approx(13 * 150)),  # the average is a call's
        ("BATCH_MATMUL", "builtin", 1, 920),
        ("Convolution (NHWC, QC8) IGEMM", "xnnpack", 1, 407),
        ("SQUARED_DIFFERENCE", "builtin", 1, pytest.approx(210)),
        ("SOFTMAX", "builtin", 1, 120),
    ]


def test_an_older_profile_counts_nothing_twice():
    found = [(each.name, each.place, each.calls, each.microseconds) for each in operators(SAMPLES["ok_profiling_2021"])]
    assert found == [
        ("Convolution (NHWC, F32) IGEMM", "xnnpack", 2, pytest.approx(7200)),
        ("SOFTMAX", "builtin", 1, pytest.approx(210)),
    ]


def test_a_delegate_that_tells_no_more_is_one_operator():
    row = "\t  TfLiteXNNPackDelegate\t    3.826\t    4.011\t 62.037%\t 62.037%\t     0.000\t        1\t[]:64\n"
    (found,) = operators("Operator-wise Profiling Info for Regular Benchmark Runs:\n" + row)
    assert (found.name, found.place) == ("TfLiteXNNPackDelegate", "xnnpack")


@pytest.mark.parametrize(
    ("name", "code", "kind", "words"),
    [
        ("fail_full_delegation", 1, errors.RunFailed, "Disallowed CPU fallback"),
        ("fail_gpu_delegate", 1, errors.RunFailed, "Expected a 4D tensor"),
        ("fail_missing_binary", 127, errors.FileMissing, "not found"),
        ("fail_missing_file", 1, errors.FileMissing, "none.tflite"),
        ("fail_no_graph", 1, errors.RunFailed, "--graph"),
        ("fail_not_executable", 126, errors.NotExecutable, "/data/local/tmp"),
        ("fail_not_tflite", 1, errors.RunFailed, "not a valid Flatbuffer"),
        ("fail_op_version", 1, errors.RunFailed, "FULLY_CONNECTED"),
        ("fail_prepare", 1, errors.RunFailed, "BATCH_MATMUL"),
        ("fail_wrong_abi", 126, errors.WrongAbi, "64-bit ELF"),
        ("truncated_disconnect", 0, errors.Disconnected, "ends before"),
        ("ok_android_xnnpack", 1, errors.RunFailed, "exit code 1"),
        ("ok_android_xnnpack", 137, errors.Killed, "SIGKILL"),
        ("ok_android_xnnpack", 159, errors.Seccomp, "SIGSYS"),
        ("ok_android_xnnpack", 134, errors.Killed, "SIGABRT"),
    ],
)
def test_failures_have_a_cause(name, code, kind, words):
    with raises(kind, words) as caught:
        parse(SAMPLES[name], code)
    assert caught.value.partial == SAMPLES[name]
    assert caught.value.fix


@pytest.mark.parametrize("name", GOOD)
def test_no_beginning_of_an_output_is_taken_for_all_of_it(name):
    text = SAMPLES[name]
    final = list(re.finditer(r"nference timings in us|Inference \(avg\): ", text))[-1].start()
    for end in random.Random(0).sample(range(final), 60):
        with pytest.raises(errors.DeviceError):
            parse(text[:end], 0)


def test_too_small_a_model_is_refused():
    text = re.sub(r"(median|avg|curr)=\S+", r"\1=0", SAMPLES["ok_android_xnnpack"])
    with raises(errors.RunFailed, "microsecond"):
        parse(text, 0)


def survives(text, code):
    try:
        found = parse(text, code)
    except errors.DeviceError:
        return
    latency = found.runs.typical / 1000
    assert latency > 0
    profile = Series("m", "", 1, 1, profile=found.operators)
    run = Run(Device("phone", ""), "benchmark_model", series=(profile,))
    assert Run.from_json(run.to_json()) == run


@settings(deadline=None, max_examples=300)
@given(st.text(), st.integers(0, 255))
def test_no_text_brings_it_down(text, code):
    survives(text, code)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_mutilation_brings_it_down(data):
    """Lines of real outputs, some left out, doubled, or with other numbers in them."""
    lines = SAMPLES[data.draw(st.sampled_from(GOOD))].split("\n")
    for _ in range(data.draw(st.integers(1, 8))):
        index = data.draw(st.integers(0, len(lines) - 1))
        numbers = list(re.finditer(r"[\d.]+", lines[index]))
        action = data.draw(st.sampled_from(("drop", "double", "number", "cut")))
        if action == "number" and numbers:
            found = data.draw(st.sampled_from(numbers))
            other = data.draw(st.sampled_from(("nan", "inf", "-1", "1e400", "9" * 40, "0", "", "1.2.3", "٣")))
            lines[index] = lines[index][: found.start()] + other + lines[index][found.end() :]
        elif action == "cut":
            lines[index] = lines[index][: data.draw(st.integers(0, 40))]
        elif action == "double":
            lines.insert(index, lines[index])
        elif len(lines) > 1:
            del lines[index]
    survives("\n".join(lines), data.draw(st.sampled_from((0, 1))))


@pytest.mark.parametrize("line", ["\t" * 3999, "1.0 " * 999, "\t " + "1.000\t" * 600, "a" * 100_000, " x" * 1999])
def test_long_lines_take_no_time(line):
    text = "Operator-wise Profiling Info for Regular Benchmark Runs:\n" + "\n".join([line] * 5)
    survives(text + "\n" + SAMPLES["ok_android_xnnpack"], 0)


def program(folder, text, code=0):
    """A stand-in for the tool: it prints, half of it to stderr, and leaves word of its options."""
    path = folder / "benchmark model $(x)"
    half = len(text) // 2
    half = text.index("\n", half) + 1
    said = [f"cat <<'END'{to}\n{part.rstrip(chr(10))}\nEND" for part, to in ((text[:half], ""), (text[half:], " >&2"))]
    path.write_text('echo "$@" > words\n' + "\n".join(said) + f"\nexit {code}\n")
    return path


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "a model's $(name).tflite"
    path.write_bytes(b"TFL3" * 100)
    return path


def test_a_turn_on_a_phone(both, tmp_path, model):
    engine: Engine = PhoneBenchmarkModel(both.device, program(tmp_path, SAMPLES["ok_android_xnnpack"]))
    engine.prepare({"it's": model})
    turn = engine.measure("it's", Plan(threads=4, runs=70, seconds=2.0), 3)
    assert turn.number == 3
    assert turn.latencies_ms == (15.009,)
    assert (turn.load_ms, turn.first_ms, turn.warm_ups, turn.peak_memory_kb) == (43.911, 20.417, 34, 35904)
    words = both.device.shell("cat /data/local/tmp/keras_effvit/words").stdout.split()
    for option in ("--num_threads=4", "--num_runs=70", "--min_secs=2", "--warmup_runs=5", "--max_secs=60"):
        assert option in words
    engine.close()


def test_what_is_there_is_not_copied_again(both, tmp_path, model):
    for _ in range(2):
        engine = PhoneBenchmarkModel(both.device, program(tmp_path, SAMPLES["ok_android_xnnpack"]))
        engine.prepare({"a": model, "the same": model})
    times = "stat -c '%n %Y' /data/local/tmp/keras_effvit/*"
    before = both.device.shell(times).stdout
    assert len(before.splitlines()) == 2
    engine.prepare({"a": model})
    assert both.device.shell(times).stdout == before
    assert set(engine.settings) == {"benchmark_model_sha256", "latencies"}


def test_a_profile_on_a_phone(both, tmp_path, model):
    engine = PhoneBenchmarkModel(both.device, program(tmp_path, SAMPLES["ok_profiling"]))
    engine.prepare({"a": model})
    assert engine.profile("a", Plan())[0].name == "Fully Connected (NC, QS8, QC8W) GEMM"
    assert "--enable_op_profiling=true" in both.device.shell("cat /data/local/tmp/keras_effvit/words").stdout
    with raises(errors.RunFailed, "only measures"):
        engine.outputs("a", [b""])


def test_failures_on_a_phone(both, tmp_path, model):
    engine = PhoneBenchmarkModel(both.device, program(tmp_path, SAMPLES["fail_op_version"], 1))
    engine.prepare({"a": model})
    with raises(errors.RunFailed, "FULLY_CONNECTED"):
        engine.measure("a", Plan(), 0)
    both.device.shell("rm /data/local/tmp/keras_effvit/benchmark_model-*")
    with raises(errors.FileMissing, "not found"):
        engine.measure("a", Plan(), 0)
    with pytest.raises(errors.DeviceError):
        engine.measure("a", Plan(cpu_mask="0"), 0)


def test_a_cable_that_is_pulled_leaves_nothing_running(both, tmp_path, model):
    path = tmp_path / "slow"
    text = SAMPLES["ok_profiling"]
    path.write_text(f"cat <<'END'\n{text}END\nsleep 1\ncat <<'END'\n{text}END\nsleep 31\n")
    engine = PhoneBenchmarkModel(both.device, path)
    engine.prepare({"a": model})
    both.phone.drop_after(up=len(text) + 2000)
    with raises(errors.Disconnected) as caught:
        engine.measure("a", Plan(), 0)
    assert "INFO: STARTING!" in caught.value.partial
    assert nothing_left(both)


def test_a_tool_that_is_not_there_is_named(both, tmp_path):
    with raises(errors.FileMissing, "no file"):
        PhoneBenchmarkModel(both.device, tmp_path / "benchmark_model")
