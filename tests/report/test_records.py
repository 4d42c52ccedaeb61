"""Records survive JSON, and JSON that is none of ours is refused in words."""

import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.report.records import Device, Operator, Round, Run, Series
from tests.report.conftest import a_run, rounds

texts = st.text(max_size=12)
milliseconds = st.floats(1e-3, 1e6)
facts = st.dictionaries(texts, st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), texts), max_size=3)
turns = st.builds(
    Round,
    number=st.integers(0, 99),
    latencies_ms=st.lists(milliseconds, min_size=1, max_size=5).map(tuple),
    load_ms=milliseconds,
    first_ms=milliseconds,
    warm_ups=st.integers(0, 99),
    peak_memory_kb=st.none() | st.integers(0, 2**40),
    celsius=st.none() | st.floats(-20, 120),
)
profiles = st.lists(st.builds(Operator, texts, texts, st.integers(0, 99), milliseconds), max_size=2).map(tuple)
series = st.builds(
    Series,
    file=texts,
    sha256=texts,
    bytes=st.integers(0, 2**40),
    threads=st.integers(1, 8),
    rounds=st.lists(turns, max_size=3).map(tuple),
    facts=facts,
    profile=profiles,
)
runs = st.builds(
    Run,
    device=st.builds(Device, texts, texts, facts),
    engine=texts,
    settings=facts,
    series=st.lists(series, max_size=3).map(tuple),
    reference=st.lists(milliseconds, max_size=2).map(tuple),
    warnings=st.lists(texts, max_size=2).map(tuple),
    started=texts,
    finished=st.none() | texts,
    error=st.none() | texts,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(runs)
def test_a_run_survives_json(run):
    assert Run.from_json(json.loads(json.dumps(run.to_json()))) == run


def test_a_run_survives_a_file(tmp_path):
    run = a_run()
    assert Run.load(run.save(tmp_path / "latency-pixel.json")) == run


def leaves(value, path=()):
    """Where something could be damaged."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_put_anywhere_is_read_or_refused(data):
    facts = json.loads(json.dumps(a_run(models=("lvt",), count=2).to_json()))
    path = data.draw(st.sampled_from([path for path in leaves(facts) if path]))
    place = facts
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(anything)
    try:
        run = Run.from_json(facts)
    except ValueError:
        return
    for each in run.series:  # what was accepted can be calculated with
        if each.rounds:
            assert all(map(math.isfinite, (each.median_ms, each.p90_ms, each.spread)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 1"),
        ({"surprise": 1}, "Unknown: ['surprise']"),
        ({"engine": None}, "run.engine"),
        ({"series": {}}, "run.series"),
        ({"reference": [float("nan")]}, "run.reference[0]"),
    ],
)
def test_refusals_say_where(change, words):
    with pytest.raises(ValueError, match="Expected") as caught:
        Run.from_json({**a_run().to_json(), **change})
    assert words in str(caught.value)


def test_a_round_without_latencies_is_damaged():
    facts = a_run().to_json()
    facts["series"][0]["rounds"][3]["latencies_ms"] = []
    with pytest.raises(ValueError, match=r"latencies above 0 at run\.series\[0\]\.rounds\[3\]"):
        Run.from_json(facts)


def test_files_that_are_no_records(tmp_path):
    for content in (b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"version": 1}', b"1" * 5000):
        (tmp_path / "latency-x.json").write_bytes(content)
        with pytest.raises(ValueError, match="latency-x"):
            Run.load(tmp_path / "latency-x.json")


def test_figures_are_numpys():
    each = Series("a", "", 1, 1, rounds(10.0))
    medians = [np.median(turn.latencies_ms) for turn in each.rounds]
    assert each.median_ms == pytest.approx(np.median(medians))
    pooled = np.concatenate([turn.latencies_ms for turn in each.rounds])
    assert each.p90_ms == pytest.approx(np.quantile(pooled, 0.9))
    assert each.spread == pytest.approx(
        statistics.median(abs(m - np.median(medians)) for m in medians) / each.median_ms
    )
