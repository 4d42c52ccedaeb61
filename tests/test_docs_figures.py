"""The figures of `docs/why-int8.md` are those of the records; `docs/figures.py` wrote them, this reads them back."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from keras_effvit.report.records import Run

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "tflite" / "results"
PAGE = (ROOT / "docs" / "why-int8.md").read_text()
FLAT = re.sub(r"\s+", " ", PAGE)


def record(name):
    return json.loads((RECORDS / f"{name}.json").read_text())


def cells(name):
    """The rows of a table by their first cell, without head and rule."""
    lines = PAGE.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0].strip().split("\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows[2:]}


def test_stock_files_on_the_host():
    found, rows = record("lite-host"), cells("stock")
    assert list(rows) == [each["model"] for each in found]
    slower = []
    for each in found:
        for precision in ("float32", "int8"):
            assert (each[precision]["partitions"], each[precision]["outside"]) == (1, 0)
        partitions, outside, of_ours, of_float, ours = rows[each["model"]]
        assert float(ours.rstrip("x")) == pytest.approx(each["int8"]["of_float32"], abs=0.005001)
        theirs = each["stock_int8"]
        if "error" in theirs:
            assert (partitions, outside, of_ours, of_float) == ("aborts", "-", "-", "-")
            continue
        assert (int(partitions), int(outside)) == (theirs["partitions"], theirs["outside"])
        assert float(of_ours.rstrip("x")) == pytest.approx(theirs["of_our_int8"], abs=0.05001)
        slower.append(theirs["of_our_int8"] * each["int8"]["of_float32"])
        assert float(of_float.rstrip("x")) == pytest.approx(slower[-1], abs=0.005001)
    ours = [each["int8"]["of_float32"] for each in found]
    assert f"from {min(slower):.2f} to {max(slower):.2f} times as long as their own float32 file" in FLAT
    assert f"our int8 from {min(ours):.2f} to {max(ours):.2f} times" in FLAT


def test_a_convolutional_peer():
    series = {
        (each.facts["model"], each.facts["precision"]): each for each in Run.load(RECORDS / "peers-host.json").series
    }
    peer = series["MobileNetV3Large", "int8"]
    rounds = zip(peer.rounds, series["MobileNetV3Large", "float32"].rounds, strict=True)
    ratios = sorted(_median(int8.latencies_ms) / _median(float32.latencies_ms) for int8, float32 in rounds)
    said = f"{peer.facts['partitions']} partitions, and {ratios[len(ratios) // 2]:.2f} times its float32 time"
    assert said in FLAT


def _median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def test_operators():
    said = {"inside": "inside", "**outside**": "outside", "stays float": "float"}
    rows = {name: [said[cell] for cell in row] for name, row in cells("operators").items()}
    assert rows == {each["operator"]: [each["float32"], each["int8"]] for each in record("int8")["operators"]}
    for name in ("SOFTMAX", "GELU", "HARD_SWISH", "RSQRT", "DIV", "BATCH_MATMUL", "RELU6"):
        assert rows[name] == ["inside", "outside"]  # what the page builds on
    assert rows["BATCH_MATMUL, right operand symmetric"] == rows["ADD"] == rows["MUL"] == ["inside", "inside"]


def test_instructions_on_arm():
    found, rows = record("arm-instructions"), cells("arm")
    assert list(rows) == [each["model"] for each in found]
    for each in found:
        for kind, cell in zip(("float32", "int8", "stock_int8"), rows[each["model"]], strict=False):
            counted = each[kind].get("instructions")
            assert cell == ("aborts" if counted is None else f"{counted / 1e6:.1f} M")
        if "operators" in each["stock_int8"]:
            share = _of(each["stock_int8"], lambda o: o["place"] != "xnnpack") / _of(each["stock_int8"])
            assert float(rows[each["model"]][3].rstrip(" %")) == pytest.approx(100 * share, abs=0.5001)


def _of(file, wanted=lambda operator: True):
    return sum(operator["instructions"] for operator in file["operators"] if wanted(operator))


def test_what_the_text_says_of_single_operators():
    rows = {each["model"]: each for each in record("arm-instructions")}
    stock, ours = rows["sepvit_lite"]["stock_int8"], rows["sepvit_lite"]["int8"]
    theirs = next(each for each in stock["operators"] if each["name"] == "BATCH_MATMUL")
    mine = next(each for each in ours["operators"] if each["name"].startswith("Batch Matrix Multiply"))
    assert theirs["place"] == "builtin"
    assert theirs["calls"] == mine["calls"] == 34
    assert (
        f"{theirs['instructions'] / 1e6:.1f} M instructions there, and {mine['instructions'] / 1e6:.1f} M inside"
        in FLAT
    )
    assert theirs["instructions"] / _of(stock) == pytest.approx(0.75, abs=0.01)  # "three quarters"
    assert int(theirs["instructions"] / mine["instructions"]) == 18  # "a factor of eighteen"
    assert sum(each["calls"] for each in ours["operators"] if each["name"].startswith("Softmax")) == 17
    conversions = _of(ours, lambda o: o["name"].startswith("Convert")) / _of(ours)
    assert f"Conversions are {100 * conversions:.0f} %" in FLAT
    softmax = _of(ours, lambda o: o["name"].startswith("Softmax")) / _of(ours)
    assert f"softmax {100 * softmax:.0f} %" in FLAT
    sums = ("Add", "Subtract", "Multiply", "Mean", "Reciprocal Square Root")
    assert _of(ours, lambda o: o["name"].startswith(sums)) / _of(ours) < softmax


def test_hard_swishes_that_lost_their_name():
    kinds = {
        kind: next(r for r in record("arm-instructions") if r["model"] == "efficientvit_b0")[kind]
        for kind in ("float32", "int8")
    }
    calls, counts = {}, {}
    for kind, file in kinds.items():
        for each in file["operators"]:
            calls[kind, each["name"]], counts[kind, each["name"]] = each["calls"], each["instructions"]
    named, unnamed = ("int8", "HardSwish (NC)"), ("int8", "Invalid Unary Op")
    assert (calls["float32", "HardSwish (NC)"], calls[named], calls[unnamed]) == (24, 3, 21)
    assert counts[unnamed] / (counts["float32", "HardSwish (NC)"] - counts[named]) == pytest.approx(1 / 3, abs=0.03)


def test_islands_and_what_is_left_of_the_signal():
    found = record("int8")
    rows = list(cells("islands").values())
    assert rows == [[str(e["partitions"]), str(e["outside"]), f"{e['snr_db']:.1f}"] for e in found["islands"]["files"]]
    by_kind = {each["in_int8_too"]: each for each in found["islands"]["files"]}
    assert by_kind["layer normalisation"]["outside"] == 2 * 33
    lost = {kind: by_kind["none"]["snr_db"] - each["snr_db"] for kind, each in by_kind.items()}
    assert lost["layer normalisation"] == pytest.approx(5, abs=0.2)  # "five decibels"
    assert lost["residual additions"] == pytest.approx(0.5, abs=0.1)  # "half a decibel"
    assert max(lost["softmax"], lost["GELU"]) < 1  # "almost nothing"
    rows = cells("models")
    assert list(rows) == [each["model"] for each in found["models"]]
    for each in found["models"]:
        said = rows[each["model"]]
        for (snr, partitions), kind in zip(
            zip(said[::2], said[1::2], strict=True), ("stock_int8", "int8_full", "int8"), strict=True
        ):
            assert snr == (f"{each[kind]['snr_db']:.1f} dB" if "snr_db" in each[kind] else "aborts")
            assert partitions == str(each[kind].get("partitions", "-"))


def test_the_pictures_bars_are_as_long_as_the_record_says():
    root = ET.fromstring((ROOT / "docs" / "pictures" / "int8-instructions.svg").read_bytes())
    bars: dict[str, float] = {}
    for each in root.iter("{http://www.w3.org/2000/svg}rect"):
        if each.get("height") == "17":
            bars[each.attrib["y"]] = bars.get(each.attrib["y"], 0) + float(each.attrib["width"])
    counted = [
        each[kind]["instructions"]
        for each in record("arm-instructions")
        if each["model"] in ("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_b0")
        for kind in ("float32", "int8", "stock_int8")
        if "instructions" in each[kind]
    ]
    longest = max(bars.values())
    assert [bar / longest for bar in bars.values()] == pytest.approx([n / max(counted) for n in counted], abs=0.002)
