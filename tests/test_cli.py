"""The command line, run as a user runs it."""

import json
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_effvit import cli, create_model, list_models, model_info
from keras_effvit.atomic import replacing
from tests.lite.conftest import alive
from tests.parity import Fixture
from tests.torch_file import write_zip


def run(capsys, *arguments):
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_list_names(capsys):
    assert run(capsys, "list", "--names") == (0, "\n".join(list_models()) + "\n", "")


def test_list_prints_counted_figures_beside_the_papers(capsys):
    status, out, _ = run(capsys, "list", "sepvit_l*")
    assert status == 0
    header, rule, row = out.strip().split("\n")
    assert len({len(header), len(rule), len(row)}) == 1
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["sepvit_lite", "3,661,128", "568,414,464", "3.7 M, 0.6 G", "72.3 %"]


def test_info(capsys):
    status, out, _ = run(capsys, "info", "sepvit_lite")
    assert status == 0
    assert re.search(r"^params +3,661,128$", out, re.MULTILINE)
    assert re.search(r"^input_shape +224 x 224 x 3$", out, re.MULTILINE)


def test_info_as_json(capsys):
    _, out, _ = run(capsys, "info", "sepvit_lite", "--json")
    assert json.loads(out)["macs"] == model_info("sepvit_lite").macs == 568_414_464


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "sepvit"], r"^keras-effvit: Unknown model. Expected one of .*sepvit_lite.* Received: 'sepvit'"),
        (["list", "resnet*"], r"^keras-effvit: no model matches 'resnet\*'; there are .*sepvit_lite"),
    ],
)
def test_a_mistake_is_explained_on_stderr(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert re.search(message, err)


def test_without_a_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "COMMAND" in capsys.readouterr().err


# --- Files of weights.

B0 = "efficientvit_b0"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    tree = {"epoch": 1, "model": {f"module.{name}": value for name, value in Fixture(B0).state_dict().items()}}
    return write_zip(tmp_path_factory.mktemp("cli") / "b0.pth", tree)


def test_info_of_a_file(capsys, checkpoint):
    status, out, _ = run(capsys, "info", str(checkpoint))
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == f"b0.pth: torch, {checkpoint.stat().st_size:,} bytes"
    assert lines[1].startswith("model: 197 arrays, ")
    assert re.search(r"module\.head\.op_list\.3\.linear\.weight +float32 +1000x1280 +5,120,000$", out, re.MULTILINE)
    names = "names of efficientvit_b (official), in model/module.*"
    assert lines[-1] == f"model: efficientvit_b0, 1000 classes: 171 of 171 weights, {names}"
    facts = json.loads(run(capsys, "info", str(checkpoint), "--json")[1])
    assert facts["guess"]["model"] == B0
    assert facts["sets"][0]["arrays"]["module.head.op_list.3.linear.bias"] == ["float32", [1000], 4000]


def test_info_of_nothing_known(capsys, tmp_path):
    path = write_zip(tmp_path / "w.pth", {"x": np.zeros((2, 3), np.float16)})
    assert run(capsys, "info", str(path))[1].splitlines()[-1] == "model: none of this package"
    status, _, err = run(capsys, "info", str(tmp_path / "nowhere.pth"))
    assert status == 2
    assert "or a file of weights. Received: " in err


@pytest.mark.parametrize("name", ["sepvit_tiny", "lightvit_small", "lvt", "efficientvit_b1", "efficientvit_base"])
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_the_guess_knows_every_family_by_our_own_files_too(capsys, name, suffix, tmp_path):
    path = tmp_path / f"mine{suffix}"
    model = create_model(name, classes=5)
    model.save(path) if suffix == ".keras" else model.save_weights(path)
    assert f"model: {name}, 5 classes: " in run(capsys, "info", str(path))[1]


@pytest.mark.parametrize("arguments", [("--model", B0), ()])
def test_import(capsys, checkpoint, arguments, tmp_path):
    output = tmp_path / "out.keras"
    status, out, _ = run(capsys, "import", str(checkpoint), *arguments, "-o", str(output))
    assert status == 0
    assert "171 entries loaded" in out
    assert "under 'model' with prefix 'module.'" in out
    assert out.endswith(f"written to {output}\n")
    model = keras.models.load_model(output)
    np.testing.assert_array_equal(model.get_layer("head").bias, Fixture(B0).state_dict()["head.op_list.3.linear.bias"])


def test_import_keeps_the_files_classes(capsys, tmp_path):
    state = Fixture(B0).state_dict()
    state["head.op_list.3.linear.weight"] = state["head.op_list.3.linear.weight"][:7]
    state["head.op_list.3.linear.bias"] = state["head.op_list.3.linear.bias"][:7]
    path, output = write_zip(tmp_path / "w.pth", state), tmp_path / "out.keras"
    assert run(capsys, "import", str(path), "-o", str(output))[0] == 0
    assert keras.models.load_model(output).output_shape == (None, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "sepvit_lite", "-o", "out.keras"), "Expected entries such as 'patch_embeds.0.proj.weight'"),
        (("--model", "nope", "-o", "out.keras"), "Unknown model"),
        (("-o", "out.pth"), "expected a .keras or .weights.h5 file to write"),
        (("--ema", "-o", "out.keras"), "Expected a moving average"),
        (("-o", "missing/out.keras"), "No such file or directory"),
    ],
)
def test_import_that_fails_leaves_the_old_file(capsys, checkpoint, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.keras").write_text("old")
    status, _, err = run(capsys, "import", str(checkpoint), *arguments)
    assert status == 2
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["out.keras"]
    assert (tmp_path / "out.keras").read_text() == "old"


WRITE_AGAIN_AND_AGAIN = """
import sys
from keras_effvit.atomic import replacing
from keras_effvit import create_model
model = create_model("efficientvit_b0")
print("ready", flush=True)
while True:
    with replacing(sys.argv[1]) as temporary:
        model.save(temporary)
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path):
    path, rng = tmp_path / "out.keras", np.random.default_rng(0)
    create_model(B0).save(path)
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITE_AGAIN_AND_AGAIN, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert keras.models.load_model(path).count_params() > 0


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")

    def interrupted():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.txt", "old")]


# --- LiteRT files.


@pytest.fixture(scope="module")
def folder_of_classes(tmp_path_factory):
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for number in range(3):
            Image.fromarray(rng.integers(0, 256, (80, 64, 3)).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def test_convert_inspect_evaluate(capsys, folder_of_classes, tmp_path):
    model, labels, file = tmp_path / "m.keras", tmp_path / "labels.txt", tmp_path / "m.tflite"
    alive(create_model(B0, input_shape=(64, 64, 3), classes=2, classifier_activation=None)).save(model)
    labels.write_text("cat\ndog\n")
    arguments = ["--precision", "int8", "--calibration", str(folder_of_classes), "--labels", str(labels)]
    status, out, err = run(capsys, "convert", str(model), "-o", str(file), *arguments, "--input-type", "uint8")
    assert status == 0, err
    assert "1 partition(s), 0 operator(s) outside" in out
    status, out, _ = run(capsys, "inspect", str(file), "--operators", "--picture", str(tmp_path / "strip.png"))
    assert status == 0
    assert re.search(r"^input +image: uint8 1x64x64x3, scale ", out, re.MULTILINE)
    assert re.search(r"CONV_2D +int8 1x32x32x8 +partition 1 +stem_conv/norm", out)
    assert (tmp_path / "strip.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads(run(capsys, "inspect", str(file), "--json")[1])
    assert facts["summary"]["outside"] == []
    assert facts["facts"]["labels"] == ["cat", "dog"]
    status, out, err = run(capsys, "evaluate", str(file), str(folder_of_classes), "--json")
    assert status == 0, err
    assert json.loads(out)["images"] == 6
    assert json.loads(out)["top5"] == 1.0


@pytest.mark.slow
def test_tune(capsys, folder_of_classes, tmp_path):
    model, recipe, file = tmp_path / "m.keras", tmp_path / "recipe.json", tmp_path / "m.tflite"
    alive(create_model(B0, input_shape=(64, 64, 3), classes=2, classifier_activation=None)).save(model)
    options = ("--calibration", str(folder_of_classes), "--rounds", "2", "--json")
    status, out, err = run(capsys, "tune", str(model), "-o", str(recipe), *options)
    assert status == 0, err
    facts = json.loads(out)
    assert facts["measured_on"] == "host"
    assert facts["recipe"] == json.loads(recipe.read_text())
    assert "matmuls in int8" in [candidate["name"] for candidate in facts["candidates"]]
    options = ("--calibration", str(folder_of_classes), "--precision", str(recipe))
    assert run(capsys, "convert", str(model), "-o", str(file), *options)[0] == 0


def test_tune_prints_a_table(capsys, tmp_path):
    recipe = tmp_path / "recipe.json"
    options = ("--size", "64", "--precision", "float32", "--rounds", "2")
    status, out, err = run(capsys, "tune", B0, "-o", str(recipe), *options)
    assert status == 0, err
    assert re.search(r"^ +change +ms +of base +dB +partitions +outside +verdict$", out, re.MULTILINE)
    assert re.search(r"^[ *] +hard-swish reassociated +\d+\.\d\d +\d+\.\d{3} +\S+ +1 +0 +\S+", out, re.MULTILINE)
    assert "host measurements, on one thread; not a phone's" in out
    assert recipe.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tune", B0, "--size", "64", "--rounds", "0", "-o", "r.json"), "`rounds` must be at least 1"),
        (("tune", B0, "--size", "64", "--precision", "int8_full", "-o", "r.json"), "run as one partition"),
        (("convert", "nope", "-o", "m.tflite"), "Unknown model"),
        (("convert", B0, "--size", "64", "--precision", "int2", "-o", "m.tflite"), "`precision` must be one of"),
        (("convert", B0, "--size", "64", "--calibration", "nowhere", "-o", "m.tflite"), "Expected a folder of images"),
        (("inspect", "nowhere.tflite"), "No such file"),
        (("evaluate", "nowhere.tflite", "data"), "No such file"),
    ],
)
def test_mistakes_with_litert_files(capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []
