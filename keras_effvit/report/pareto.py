"""Latency against size, work and accuracy, with the models that no other beats in both."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

from keras_effvit.report.labels import place
from keras_effvit.report.rows import PRECISIONS, Row
from keras_effvit.report.svg import GRID, INK, MUTED, PALETTE, PAPER
from keras_effvit.report.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A shape for every precision; what is none of them is a cross.
MARKERS: dict[str, str] = dict(zip(PRECISIONS, "os^PvD", strict=True))
OTHER_MARKER = "X"
#: Beyond this factor from smallest to largest an axis is logarithmic.
LOGARITHMIC = 6.0
#: Inches, for the page on a desk and in a hand.
WIDE, NARROW = (7.6, 5.0), (3.8, 4.8)


@dataclass(frozen=True)
class Axis:
    """What latency is held against.

    Attributes:
        name: of the fact.
        title: of the axis.
        scale: what one unit of the axis is.
        heading: of the plot.
        front: what sets the models on the front apart.
        flat: whether latency lies flat, as the field draws accuracy; else it is upright.
    """

    name: str
    title: str
    scale: float
    heading: str
    front: str
    flat: bool = False


#: A model with more parameters, or more work, in less time is the better one: both stand for what it can learn.
AXES = (
    Axis("top1", "top-1 accuracy, %", 0.01, "Latency and accuracy", "none as fast is more accurate", flat=True),
    Axis(
        "agreement", "agreement with Keras, %", 0.01, "Latency and agreement", "none as fast agrees better", flat=True
    ),
    Axis("macs", "MACs, millions", 1e6, "Latency and work", "none as fast does more"),
    Axis("params", "parameters, millions", 1e6, "Latency and size", "none as fast is larger"),
)


@dataclass(frozen=True)
class Point:
    """A file in a plot.

    Attributes:
        latency: in milliseconds.
        low: where its interval begins.
        high: where its interval ends.
        value: what latency is held against.
        model: the file's.
        family: the model's.
        precision: the file's.
    """

    latency: float
    low: float
    high: float
    value: float
    model: str
    family: str
    precision: str


def points(rows: Sequence[Row], axis: Axis) -> tuple[Point, ...]:
    """The rows of which both numbers are known.

    Args:
        rows: of one number of threads.
        axis: what latency is held against.
    """
    found = []
    for row in rows:
        value = row.number(axis.name)
        if row.median is not None and value is not None and value > 0:
            low, high = row.median.low or row.median.value, row.median.high or row.median.value
            names = (plain(row.model, 28), plain(row.family, 28), row.precision)
            found.append(Point(row.median.value, low, high, value / axis.scale, *names))
    return tuple(found)


def axes_of(rows: Sequence[Row]) -> tuple[Axis, ...]:
    """What there is to plot; how well files agree with Keras stands in for an accuracy that nobody measured.

    Args:
        rows: to be plotted.
    """
    measured = any(row.number("top1") is not None for row in rows)
    return tuple(axis for axis in AXES if axis.name != ("agreement" if measured else "top1"))


def front(costs: Sequence[tuple[float, float]]) -> list[int]:
    """Which pairs no other pair is better than in one number without being worse in the other.

    Args:
        costs: pairs, less being better in both.

    Returns:
        Their indices, by the first number.

    Example:
        >>> front([(1, 5), (2, 2), (3, 3), (4, 1)])
        [0, 1, 3]
    """
    chosen: list[int] = []
    for index in sorted(range(len(costs)), key=lambda index: costs[index]):
        if not chosen or costs[index][1] < costs[chosen[-1]][1] or costs[index] == costs[chosen[-1]]:
            chosen.append(index)
    return chosen


def draw(found: Sequence[Point], axis: Axis, *, title: str, size: tuple[float, float] = WIDE) -> "Figure":
    """The plot.

    Args:
        found: at least one, of `points`.
        axis: of them.
        title: above it.
        size: in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=144, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)  # measures the labels
    axes = figure.add_subplot(facecolor=PAPER)
    where = [(p.latency, p.value) if axis.flat else (p.value, p.latency) for p in found]
    families = list(dict.fromkeys(p.family for p in found))
    colours = {family: PALETTE[number % len(PALETTE)] for number, family in enumerate(families)}
    _axes(axes, where, ("latency, ms", axis.title) if axis.flat else (axis.title, "latency, ms"), title)
    best = [where[index] for index in front([(p.latency, -p.value) for p in found])]
    line = {"color": MUTED, "linewidth": 1.1, "linestyle": (0, (4, 2)), "zorder": 2}
    axes.plot(*zip(*best, strict=True), drawstyle="steps-post" if axis.flat else "steps-pre", **line)
    for p, (x, y) in zip(found, where, strict=True):
        between = ([p.low, p.high], [y, y]) if axis.flat else ([x, x], [p.low, p.high])
        axes.plot(*between, color=colours[p.family], linewidth=2.4, alpha=0.45, solid_capstyle="butt", zorder=2.5)
        marker = MARKERS.get(p.precision, OTHER_MARKER)
        axes.plot(x, y, marker, color=colours[p.family], markersize=7.5, markeredgecolor=PAPER, zorder=4)
    axes.annotate(
        f"Pareto front: {axis.front}",
        (0, 1),
        (0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
    )
    _legend(figure, colours, [p.precision for p in found], columns=4 if size[0] > 5 else 3)
    _names(figure, axes, found, where, colours, 8 if size[0] > 5 else 7)
    return figure


def png(figure: "Figure") -> bytes:
    """A figure as PNG.

    Args:
        figure: of `draw`.
    """
    content = BytesIO()
    with _quiet():
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def svg(figure: "Figure") -> str:
    """A figure as SVG, for `svg.tidy`.

    Args:
        figure: of `draw`.
    """
    content = StringIO()
    with _quiet():
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _quiet() -> warnings.catch_warnings:
    """A name may have a letter that the font has not; it is drawn as a box, which says it."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)


def _axes(axes: "Axes", where: Sequence[tuple[float, float]], titles: tuple[str, str], title: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    for each, values, name in zip((axes.xaxis, axes.yaxis), zip(*where, strict=True), titles, strict=True):
        low, high = min(values), max(values)
        set_scale, set_limits = (
            (axes.set_xscale, axes.set_xlim) if each is axes.xaxis else (axes.set_yscale, axes.set_ylim)
        )
        if low > 0 and high / low > LOGARITHMIC:
            set_scale("log")
            set_limits(low / (high / low) ** 0.1, high * (high / low) ** 0.12)
            each.set_major_locator(FixedLocator(_steps(*each.get_view_interval())))
            each.set_minor_locator(NullLocator())
        else:
            room = 0.12 * (high - low) or 0.1 * high or 1.0
            set_limits(low - room, high + 1.2 * room)
        each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        each.set_label_text(name, color=MUTED, fontsize=9)
        each.set_tick_params(colors=MUTED, labelsize=8.5, length=0)
    axes.grid(True, color=GRID, linewidth=0.8, zorder=0)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(GRID)
    axes.set_axisbelow(True)
    axes.set_title(plain(title, 60), loc="left", color=INK, fontsize=10.5, fontweight="bold", pad=19, parse_math=False)


def _steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between two numbers, or only 1, 10, 100, ... if these are many."""
    every = [m * 10.0**power for power in range(-9, 16) for m in (1, 2, 5) if low <= m * 10.0**power <= high]
    return every if len(every) <= 8 else every[::3] if len(every[::3]) > 2 else every[::2]


def _legend(figure: "Figure", colours: dict[str, str], precisions: list[str], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=name) for name, colour in colours.items()]
    for precision in sorted(set(precisions), key=lambda name: list(MARKERS).index(name) if name in MARKERS else 99):
        marker = MARKERS.get(precision, OTHER_MARKER)
        name = plain(precision, 20) or "unknown"
        handles.append(Line2D([], [], marker=marker, linestyle="", color=MUTED, label=name))
    names = [str(handle.get_label()) for handle in handles]
    legend = figure.legend(
        handles, names, loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5, labelcolor=INK
    )
    for entry in legend.get_texts():
        entry.set_parse_math(False)


def _names(
    figure: "Figure",
    axes: "Axes",
    found: Sequence[Point],
    where: Sequence[tuple[float, float]],
    colours: dict[str, str],
    size: float,
) -> None:
    """Names every model once, at its fastest file."""
    with _quiet():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    fastest = {}
    for index, p in enumerate(found):
        if p.model not in fastest or p.latency < found[fastest[p.model]].latency:
            fastest[p.model] = index
    pixels = [tuple(pair) for pair in axes.transData.transform(where)]
    left, bottom, right, top = axes.get_window_extent().extents
    texts = [
        axes.annotate(
            name,
            where[index],
            fontsize=size,
            color=INK,
            parse_math=False,
            va="center",
            ha="center",
            zorder=5,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": PAPER, "alpha": 0.6, "linewidth": 0},
        )
        for name, index in fastest.items()
    ]
    with _quiet():
        sizes = [(each.get_window_extent().width, each.get_window_extent().height) for each in texts]
    centres = place([pixels[index] for index in fastest.values()], sizes, pixels, (left, bottom, right, top))
    for each, centre, index in zip(texts, centres, fastest.values(), strict=True):
        x, y = axes.transData.inverted().transform(centre)
        each.set_position((x, y))
        _leader(axes, centre, pixels[index], colours[found[index].family], sizes[texts.index(each)])


def _leader(axes: "Axes", centre: tuple[float, float], point: tuple[float, float], colour: str, size: tuple) -> None:
    """A thin line from a name to its point, where these are apart."""
    reach = (abs(centre[0] - point[0]) - size[0] / 2, abs(centre[1] - point[1]) - size[1] / 2)
    if max(reach) < 16:
        return
    ends = axes.transData.inverted().transform([centre, point])
    axes.plot(ends[:, 0], ends[:, 1], color=colour, linewidth=0.7, alpha=0.7, zorder=1.8)
