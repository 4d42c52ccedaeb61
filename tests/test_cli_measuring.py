"""`bench`, `report`, `compare` and `devices`, run as a user runs them on a machine without a phone."""

import json
import re
from html.parser import HTMLParser

import pytest

from keras_effvit import cli
from keras_effvit.report.records import Run
from tests.lite.conftest import converted

QUICK = ("--host", "--rounds", "2", "--runs", "3", "--seconds", "0")


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """Two files as `convert --artifacts` writes them."""
    folder = tmp_path_factory.mktemp("artifacts")
    for precision in ("float32", "int8"):
        converted("efficientvit_b0", precision, 64).save_artifacts(folder)
    return folder


def test_files_are_measured_and_become_a_page(capsys, artifacts, tmp_path):
    files, output = sorted(artifacts.glob("*/*/model.tflite")), artifacts / "latency-host.json"
    status, out, err = run(capsys, "bench", *files, *QUICK, "--profile", "-o", output)
    assert status == 0, err
    assert "Measured on a computer" in out
    for precision in ("float32", "int8"):
        assert re.search(rf"^efficientvit_b0 +{precision} +1 +\d+\.\d+", out, re.MULTILINE), out
    measured = Run.load(output)
    assert {each.file for each in measured.series} == {"efficientvit_b0_float32", "efficientvit_b0_int8"}
    for series in measured.series:
        assert series.facts["params"] == pytest.approx(3_410_008, rel=0.01)  # normalisations are folded
        assert series.facts["partitions"] == 1
        assert series.facts["precision"] in series.file
        assert {operator.place for operator in series.profile} == {"xnnpack"}  # nothing runs outside of the partition
    status, out, _ = run(capsys, "report", artifacts, "-o", tmp_path / "page")
    assert status == 0
    page = (tmp_path / "page" / "index.html").read_text()
    HTMLParser().feed(page)
    assert "efficientvit_b0" in page
    _, out, _ = run(capsys, "report", artifacts, "-o", tmp_path / "page", "--json")
    [[figures, _]] = json.loads(out)["runs"].values()
    assert figures["median_ms"] == measured.series[0].median_ms
    status, out, _ = run(capsys, "compare", output, output)
    assert status == 0
    assert out.count("1.00x") == 2
    assert "Fewer than 5 rounds decide nothing" in out


def test_json(capsys, artifacts, tmp_path):
    (file,) = artifacts.glob("*/float32/model.tflite")
    _, out, _ = run(capsys, "bench", file, *QUICK, "--json", "-o", tmp_path / "run.json", "--threads", "1", "2")
    assert Run.from_json(json.loads(out)) == Run.load(tmp_path / "run.json")
    assert [each["threads"] for each in json.loads(out)["series"]] == [1, 2]
    _, out, _ = run(capsys, "compare", tmp_path / "run.json", tmp_path / "run.json", "--json")
    assert json.loads(out)


def test_without_an_output_the_file_is_named_after_device_and_time(capsys, artifacts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file,) = artifacts.glob("*/float32/model.tflite")
    status, out, _ = run(capsys, "bench", file, *QUICK)
    assert status == 0
    (written,) = tmp_path.glob("latency-*.json")
    assert written.name in out
    assert re.fullmatch(r"latency-[a-z0-9-]+-\d{8}-\d{6}\.json", written.name)


def test_measurements_are_not_overwritten_unasked(capsys, artifacts, tmp_path):
    (file,) = artifacts.glob("*/float32/model.tflite")
    output = tmp_path / "run.json"
    output.write_text("{}")
    status, _, err = run(capsys, "bench", file, *QUICK, "-o", output)
    assert status == 2
    assert "--overwrite" in err
    assert output.read_text() == "{}"
    status, _, err = run(capsys, "bench", file, *QUICK, "-o", output, "--resume")
    assert status == 2
    assert "Expected the record of a run" in err
    assert run(capsys, "bench", file, *QUICK, "-o", output, "--overwrite")[0] == 0
    before = Run.load(output)
    assert run(capsys, "bench", file, *QUICK, "-o", output, "--resume")[0] == 0
    assert Run.load(output) == before


def test_files_of_one_name(capsys, artifacts, tmp_path):
    """The same model converted twice is two files."""
    (file,) = artifacts.glob("*/float32/model.tflite")
    other = tmp_path / "other.tflite"
    other.write_bytes(file.read_bytes())
    _, out, _ = run(capsys, "bench", file, other, *QUICK, "--json", "-o", tmp_path / "run.json")
    names = [each["file"] for each in json.loads(out)["series"]]
    assert len(set(names)) == 2
    assert any(str(other) in name for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "none.tflite", *QUICK], "none.tflite"),
        (["bench", __file__, *QUICK], "Expected a .tflite file"),
        (["report", "nowhere"], "expected a folder of files and measurements. Received: nowhere"),
        (["compare", "one.json", "other.json"], "one.json"),
        (["compare", __file__, __file__], "test_cli_measuring.py: "),
    ],
)
def test_mistakes_are_explained(capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_devices(capsys):
    status, out, _ = run(capsys, "devices", "--json")
    assert status == 0
    host = json.loads(out)[-1]
    assert host["state"] == "host"
    assert host["name"]
    status, out, _ = run(capsys, "devices")
    assert host["name"] in out
