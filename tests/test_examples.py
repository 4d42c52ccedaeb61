"""Every example runs, as a user runs it, and keeps to its length."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from keras_effvit.report.records import Run

#: A phone that happens to be attached is not the suite's.
ARGUMENTS = {"05_bench.py": ["--host"]}
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tflite" / "results"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Those that train or measure take half a minute and more each.
QUICK = ("01_classify.py", "02_export.py", "03_import_weights.py")


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.name, marks=[] if path.name in QUICK else [pytest.mark.slow]) for path in EXAMPLES],
)
def test_runs_offline_in_eighty_lines(path, tmp_path):
    assert len(path.read_text().splitlines()) <= 80
    command = [sys.executable, str(path), *ARGUMENTS.get(path.name, [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def readme_table(mark):
    """Titles and rows of the README's table between two marks."""
    text = (ROOT / "README.md").read_text().partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]
    titles, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().split("\n")]
    return titles, rows


def test_the_readmes_peers_are_those_of_the_record():
    """The table is made by `benchmarks/peers.py --table`; here its figures are read back from the record."""
    run = Run.load(RESULTS / "peers-host.json")
    rows = {cells[0]: cells for cells in readme_table("peers")[1]}
    for series in run.series:
        column = {"float32": 2, "int8": 3}[series.facts["precision"]]
        median = statistics.median(statistics.median(each.latencies_ms) for each in series.rounds)
        assert rows[series.facts["model"]][column] == f"{median:.2f}"


def test_the_readmes_accuracies_are_those_of_the_record():
    """Made by `benchmarks/accuracy.py --table`; what loses more than it may has its layers in the record."""
    rows = json.loads((RESULTS / "accuracy.json").read_text())["rows"]
    titles, lines = readme_table("accuracy")
    kinds = [title.replace(" ", "_") for title in titles[2:]]
    assert [line[:2] for line in lines] == [[row["data"], row["model"]] for row in rows]
    for row, line in zip(rows, lines, strict=True):
        for kind, cell in zip(kinds, line[2:], strict=True):
            if "error" in row[kind]:
                assert cell == "aborts"
                continue
            accuracy, _, change = cell.partition(" ")
            assert accuracy == f"{100 * row[kind]['accuracy']:.2f}%"
            if kind != "float32":
                assert change == f"({100 * (row[kind]['accuracy'] - row['float32']['accuracy']):+.2f})"
        for kind, allowed in (("int8", 0.5), ("int8_qat", 0.1)):
            assert (row["float32"]["accuracy"] - row[kind]["accuracy"]) * 100 <= allowed + 1e-6 or row[kind]["layers"]


def test_the_readmes_dense_figures_are_those_of_the_record():
    """Made by `benchmarks/dense.py --table`."""
    rows = json.loads((RESULTS / "dense.json").read_text())
    head, lines = readme_table("dense")
    for row, line in zip(rows, lines, strict=True):
        cells = dict(zip(head, line, strict=True))
        assert (cells["task"], cells["backbone"]) == (row["task"], row["backbone"])
        figure = cells["figure"]
        assert cells["Keras"] == f"{100 * row['keras'][figure]:.2f}%"
        for precision in ("float32", "dynamic", "int8"):
            accuracy, _, change = cells[precision].partition(" ")
            assert accuracy == f"{100 * row[precision][figure]:.2f}%"
            if precision != "float32":
                assert change == f"({100 * (row[precision][figure] - row['float32'][figure]):+.2f})"


def test_the_readmes_large_images_are_those_of_the_record():
    """Made by `benchmarks/large_images.py --table`."""
    run = Run.load(RESULTS / "large-images-host.json")
    head, lines = readme_table("large images")
    for series, line in zip(run.series, lines, strict=True):
        cells = dict(zip(head, line, strict=True))
        height, width = series.facts["size"]
        assert cells["image"] == f"{height} x {width}"
        assert cells["ms"] == f"{statistics.median(statistics.median(r.latencies_ms) for r in series.rounds):.1f}"
        assert cells["peak MB"] == f"{max(r.peak_memory_kb or 0 for r in series.rounds) / 1000:.0f}"
