"""The table in a terminal and in Markdown, and what stands beside it."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from keras_effvit.report import text
from keras_effvit.report.notices import notices
from keras_effvit.report.records import Device
from keras_effvit.report.rows import family_of, rows, split_name
from keras_effvit.report.table import markdown, print_run
from tests.report.conftest import a_run, known, rounds


def printed(run, width=200, **options):
    out = io.StringIO()
    print_run(run, rows(run, **options), console=Console(file=out, width=width), **options)
    return out.getvalue()


def test_a_terminal_shows_the_figures():
    run = a_run(models=("lvt",))
    shown = printed(run)
    for series in run.series:
        assert text.milliseconds(series.median_ms) in shown
    assert "Google Pixel 8" in shown


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_narrow_terminal_gets_fewer_columns_and_no_half_numbers(width):
    run = a_run(threads=(1, 4))
    lines = printed(run, width).splitlines()
    assert max(map(len, lines)) <= width
    table = [line for line in lines if line.split()[1:2] in (["int8"], ["float32"])]
    assert len(table) == len(run.series)
    assert not any("…" in line for line in table)


def test_ratios_are_to_the_models_own_float32_or_to_what_is_asked_for():
    run = a_run(models=("lvt", "efficientnet_b0"))
    by_name = {row.series.file: row for row in rows(run)}
    assert by_name["lvt_float32"].ratio is None
    ours = known(by_name["lvt_int8"].ratio).value
    assert ours == pytest.approx(
        known(by_name["lvt_int8"].median).value / known(by_name["lvt_float32"].median).value, rel=0.05
    )
    beside = {row.series.file: row.ratio for row in rows(run, baseline="efficientnet_b0_int8")}
    assert known(beside["efficientnet_b0_int8"]).value == 1
    assert all(beside.values())
    with pytest.raises(ValueError, match="baseline"):
        rows(run, baseline="nothing")


def cells(line):
    """A Markdown row's cells, taken apart at the bars that are not escaped."""
    return [each.strip() for each in line.replace(r"\|", "\0").strip().strip("|").split("|")]


@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_name_breaks_a_markdown_table(name):
    run = a_run(models=("lvt",), precisions=("int8",))
    series = run.series[0]
    odd = type(series)(name, series.sha256, 1, 1, series.rounds, {"model": name, "precision": name})
    lines = markdown(rows(a_run(series=(odd,)))).splitlines()
    assert len(lines) == 3
    assert len({len(cells(line)) for line in lines}) == 1


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_name_steers_a_terminal(name):
    shown = text.plain(name)
    assert all(each.isprintable() for each in shown)
    run = a_run(models=("lvt",), precisions=("int8",), device=Device("phone", f"[bold]{name}[/nope]"))
    assert "[bold]" in printed(run)


def test_a_run_without_a_round_is_shown_as_one():
    run = a_run(models=("lvt",), count=0, finished=None, error="the cable was pulled")
    assert "cut short: the cable was pulled" in " ".join(printed(run).split())
    assert all(row.median is None for row in rows(run))


def test_notices_name_what_disturbs():
    warm = rounds(5.0)
    warm = tuple(type(turn)(**{**vars(turn), "celsius": 30.0 + turn.number}) for turn in warm)
    series = a_run(models=("lvt",)).series[0]
    run = a_run(
        series=(type(series)(**{**vars(series), "rounds": warm}),),
        reference=(8.0, 9.0),
        warnings=("The screen was off.",),
        device=Device("host", "a computer"),
        engine="benchmark_model",
    )
    found = [(each.level, each.text) for each in notices(run)]
    assert [level for level, _ in found] == ["bad", "warn", "warn", "note", "note"]
    words = " ".join(text for _, text in found)
    for part in ("12.5 % slower", "6.0 °C", "screen was off", "computer", "benchmark_model"):
        assert part in words
    assert notices(a_run()) == ()
    assert [each.level for each in notices(a_run(count=3))] == ["note"]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("sepvit_lite", "sepvit"),
        ("efficientvit_b1", "efficientvit"),
        ("MobileNetV3Large", "mobilenet"),
        ("EfficientNetB0", "efficientnetb"),
        ("lvt", "lvt"),
        ("vit", "vit"),
        ("", ""),
    ],
)
def test_families(model, family):
    assert family_of(model) == family


def test_names_are_taken_apart():
    assert split_name("sepvit_lite_int8_full") == ("sepvit_lite", "int8_full")
    assert split_name("lvt/float16/model") == ("lvt", "float16")
    assert split_name("int8") == ("int8", "")


@settings(deadline=None)
@given(st.floats(1e-3, 1e15))
def test_numbers_fit_their_columns(value):
    assert len(text.milliseconds(value)) <= 16
    assert len(text.count(value)) <= 11
    assert float(text.milliseconds(value)) == pytest.approx(value, rel=0.01, abs=6e-4)
