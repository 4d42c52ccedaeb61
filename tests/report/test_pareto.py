"""The front against brute force, and plots as files that others can read."""

import io
import itertools
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.pyplot as plt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_effvit.report import pareto
from keras_effvit.report.labels import around, overlap, place
from keras_effvit.report.rows import rows
from keras_effvit.report.svg import tidy
from tests.report.conftest import a_run

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


@settings(deadline=None)
@given(pairs)
def test_the_front_is_what_nothing_beats(costs):
    beaten = {
        i
        for i, one in enumerate(costs)
        for other in costs
        if other[0] <= one[0] and other[1] <= one[1] and other != one
    }
    chosen = pareto.front(costs)
    assert set(chosen) == set(range(len(costs))) - beaten
    assert [costs[i] for i in chosen] == sorted(costs[i] for i in chosen)


def a_plot(size=pareto.WIDE, axis=2, **names):
    found = pareto.points(rows(a_run()), pareto.AXES[axis])
    assert len(found) == 20
    return pareto.draw(found, pareto.AXES[axis], title=names.get("title", "Latency and work"), size=size)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_plot_is_a_picture(axis):
    with Image.open(io.BytesIO(pareto.png(a_plot(axis=axis)))) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == (round(7.6 * 144), round(5.0 * 144))
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 50


def test_svg_is_xml_that_scales_and_points_nowhere():
    written = pareto.svg(a_plot())
    for inline in (False, True):
        root = ET.fromstring(tidy(written, prefix="a-", label='what "is" seen', inline=inline))
        assert root.get("viewBox")
        assert root.get("width") is None
        ids = [each.get("id") for each in root.iter() if each.get("id")]
        assert len(ids) == len(set(ids))
        for each in root.iter():
            for name, value in each.attrib.items():
                assert "http" not in value
                if name.endswith("href"):
                    assert value.removeprefix("#") in ids


def test_inline_figures_take_the_pages_colours():
    inside = tidy(pareto.svg(a_plot()), prefix="a", label="", inline=True)
    assert "var(--c0)" in inside
    assert "#0072b2" not in inside
    assert "#0072b2" in tidy(pareto.svg(a_plot()), prefix="a", label="")


def test_the_same_rows_give_the_same_bytes():
    one, other = (tidy(pareto.svg(a_plot()), prefix="p", label="x") for _ in range(2))
    assert one == other
    assert pareto.png(a_plot()) == pareto.png(a_plot())


def test_matplotlib_is_left_as_it_was():
    before = dict(matplotlib.rcParams), plt.get_fignums(), matplotlib.get_backend()
    pareto.png(a_plot())
    assert (dict(matplotlib.rcParams), plt.get_fignums(), matplotlib.get_backend()) == before


def test_names_that_mean_something_to_matplotlib_are_only_text():
    pareto.png(a_plot(title=r"$\frac{1}$ \unknown 日本 $"))


def corners(box):
    left, bottom, right, top = box.extents
    return left, bottom, right, top


@pytest.mark.parametrize("size", [pareto.WIDE, pareto.NARROW])
def test_names_cover_neither_each_other_nor_leave_the_plot(size):
    figure = a_plot(size)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    names = [text for text in axes.texts if text.get_text() in {row.model for row in rows(a_run())}]
    assert len(names) == 10
    boxes = [corners(name.get_window_extent()) for name in names]
    for one, other in itertools.combinations(boxes, 2):
        assert overlap(one, other) < 0.02 * (one[2] - one[0]) * (one[3] - one[1])
    frame = corners(axes.get_window_extent())
    for box in boxes:
        assert overlap(box, frame) > 0.9 * (box[2] - box[0]) * (box[3] - box[1])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 400)), max_size=10))
def test_every_name_gets_a_place(points):
    sizes = [(60.0, 12.0)] * len(points)
    middles = place(points, sizes, points, (0, 0, 500, 400))
    assert len(middles) == len(points)
    for middle, size, point in zip(middles, sizes, points, strict=True):
        left, bottom, right, top = around(middle, size)
        assert max(left - point[0], point[0] - right, bottom - point[1], point[1] - top) < 60


def test_agreement_stands_in_for_an_accuracy_nobody_measured():
    plain = rows(a_run())
    assert [axis.name for axis in pareto.axes_of(plain)] == ["agreement", "macs", "params"]


@pytest.mark.parametrize("values", [(1.0, 1.0), (1e-6, 1e12), (5.0, 5.0000001)])
def test_any_range_can_be_drawn(values):
    found = [pareto.Point(v, v, v, v, f"m{n}", "m", "int8") for n, v in enumerate(values)]
    for axis in pareto.AXES:
        assert pareto.png(pareto.draw(found, axis, title="x"))
