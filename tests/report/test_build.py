"""From a folder to the report, whatever lies in the folder."""

import json
import os
import re
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.models.macs import count_macs
from keras_effvit.report import building
from keras_effvit.report.building import build
from keras_effvit.report.collect import collect
from keras_effvit.report.records import Run, Series
from keras_effvit.report.rows import rows
from tests.lite.conftest import converted, model_of
from tests.report.conftest import a_folder, a_run, rounds, write
from tests.report.test_page import check_alone

NAMES = ("latency-x.json", "manifest.json", "inspection.json", "coverage.json", "accuracy.json", "model.tflite")
reused = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return a_folder(tmp_path_factory.mktemp("artifacts"))


def test_everything_is_written(folder, tmp_path):
    page = build(folder, tmp_path / "deep" / "out")
    names = {path.name for path in page.parent.iterdir()}
    plots = {f"pareto-pixel-8-{axis}-1t" for axis in ("macs", "params")}
    assert names == {"index.html", "report.md", *(f"{p}.{kind}" for p in plots for kind in ("png", "svg"))}
    for plot in plots:
        with Image.open(page.parent / f"{plot}.png") as image:
            image.verify()
    markdown = (page.parent / "report.md").read_text()
    for link in re.findall(r"\]\((.*?)\)", markdown):
        assert link in names
    assert "latency-broken.json" in markdown


def test_the_same_folder_gives_the_same_report(folder, tmp_path):
    one, other = build(folder, tmp_path / "a"), build(folder, tmp_path / "b")
    assert one.read_bytes() == other.read_bytes()


def test_what_lies_beside_a_file_is_known_of_it(folder):
    found = collect(folder)
    assert [each.path for each in found.damaged] == ["latency-broken.json"]
    artifact = next(each for each in found.artifacts if each.name == "lvt_int8")
    assert artifact.facts["agreement"] == 0.94
    assert artifact.facts["top1"] == 0.75
    assert artifact.facts["outside"] == 1
    assert [each.partition for each in artifact.operators] == [0, None, 1]


def test_a_real_file_is_looked_into(tmp_path, small):
    small.save(tmp_path / "b0.tflite")
    found = collect(tmp_path)
    (artifact,) = found.artifacts
    assert found.damaged == ()
    assert artifact.name == "efficientvit_b0_float32"
    assert artifact.sha256 == small.manifest["sha256"]
    assert len(artifact.operators) == len(small.inspection.operators)
    assert artifact.facts["partitions"] == 1
    check_alone(build(tmp_path, tmp_path / "out").read_text())


@pytest.fixture(scope="module")
def small():
    return converted("efficientvit_b0", "float32", 64)


def test_a_manifest_of_another_file_is_not_believed(tmp_path, small):
    small.save(tmp_path / "b0.tflite")
    manifest = tmp_path / "b0.manifest.json"
    manifest.write_text(manifest.read_text().replace(small.manifest["sha256"], "0" * 64))
    found = collect(tmp_path, look=False)
    assert "another file" in found.damaged[0].reason
    assert "agreement" not in found.artifacts[0].facts


def test_two_models_in_a_folder_do_not_share_what_has_no_name(tmp_path):
    for name in ("a.tflite", "b.tflite"):
        (tmp_path / name).write_bytes(name.encode())
    write(tmp_path / "manifest.json", {"model": "c", "precision": "int8"})
    write(tmp_path / "a.accuracy.json", {"images": 5, "top1": 0.5, "top5": 1.0})
    facts = {each.name: each.facts for each in collect(tmp_path, look=False).artifacts}
    assert facts["a"] == {"images": 5, "top1": 0.5, "top5": 1.0}
    assert facts["b"] == {}
    assert facts["c_int8"] == {"model": "c", "precision": "int8"}


@reused
@given(st.sampled_from(NAMES[:-1]), st.binary(max_size=60))
def test_no_bytes_bring_it_down(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    check_alone(build(tmp_path, tmp_path / "out", look=False).read_text())
    (tmp_path / name).unlink()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@reused
@given(st.data())
def test_no_damage_inside_brings_it_down(tmp_path, folder, data):
    """Any value of any file replaced by anything: the page is written, and what was not touched is on it."""
    root = tmp_path / "artifacts"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(folder / "lvt", root / "lvt")
    shutil.copy(folder / "latency-pixel-8.json", root)
    path = data.draw(st.sampled_from(sorted(root.rglob("*.json"))))
    content = json.loads(path.read_text())
    place, key = content, None
    for _ in range(data.draw(st.integers(1, 6))):
        if key is not None:
            place = place[key]
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key]:
            break
    place[key] = data.draw(json_values)
    path.write_text(json.dumps(content))
    check_alone(build(root, tmp_path / "out", look=False).read_text())


def test_work_is_that_of_the_file_and_not_of_the_models_usual_size(tmp_path, small):
    """Whoever measures may know the model's MACs at 224 x 224; this file takes 64 x 64."""
    small.save(tmp_path / "b0.tflite")
    series = Series(
        "b0", small.manifest["sha256"], 1, 1, rounds(1.0), {"model": "efficientvit_b0", "macs": 100_233_216}
    )
    run = a_run(series=(series,))
    (row,) = rows(run, artifacts=collect(tmp_path).artifacts)
    assert row.number("macs") == pytest.approx(count_macs(model_of("efficientvit_b0", 64)), rel=0.01)


def test_a_damaged_model_is_left_out_and_named(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"no model at all")
    page = check_alone(build(tmp_path, tmp_path / "out").read_text())
    assert "1 damaged file left out" in " ".join(page.words)


def test_links_and_pipes_are_not_followed(tmp_path):
    root = tmp_path / "artifacts"
    root.mkdir()
    (root / "again").symlink_to(root)
    (root / "latency-gone.json").symlink_to(root / "nothing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "latency-pipe.json")
    assert collect(root).runs == {}


def test_the_latest_run_is_first_and_names_stay_apart(tmp_path):
    a_run(started="2026-01-01T00:00:00+00:00").save(tmp_path / "latency-p.json")
    (tmp_path / "b").mkdir()
    a_run(started="2026-02-01T00:00:00+00:00").save(tmp_path / "b" / "latency-p.json")
    assert list(collect(tmp_path).runs) == ["b/latency-p.json", "latency-p.json"]
    build(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "pareto-p-2-macs-1t.svg").exists()


def test_a_baseline_holds_where_it_was_measured(tmp_path):
    a_run(models=("lvt",)).save(tmp_path / "latency-a.json")
    a_run(models=("sepvit_lite",)).save(tmp_path / "latency-b.json")
    html = build(tmp_path, tmp_path / "out", baseline="lvt_int8").read_text()
    assert "of lvt_int8" in html
    assert "of float32" in html
    with pytest.raises(ValueError, match="baseline"):
        build(tmp_path, tmp_path / "out", baseline="nothing")


def test_a_crash_leaves_the_old_page(folder, tmp_path, monkeypatch):
    page = build(folder, tmp_path)
    before = page.read_bytes()
    monkeypatch.setattr(building, "page", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        build(folder, tmp_path)
    assert page.read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(NotADirectoryError, match="folder of artifacts"):
        build(tmp_path / "nothing", tmp_path / "out")


def test_a_run_with_every_file_measured_twice(tmp_path):
    run = a_run(models=("lvt",))
    twice = Run(**{**vars(run), "series": run.series * 2})
    twice.save(tmp_path / "latency-a.json")
    check_alone(build(tmp_path, tmp_path / "out").read_text())
