"""Pictures of explanations: heat over the image it is of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_effvit.atomic import replacing
from keras_effvit.explain.gradcam import Heatmap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

INK, MUTED, PAPER = "#1c2127", "#5a6572", "#ffffff"
#: Light means much: lightness rises evenly, for people of any colour vision and in print.
COLOURS = "inferno"
#: How much of the picture heat covers, from where there is none to the hottest place.
COVER = (0.35, 0.8)
#: What lines and marks over pictures are drawn in: seen on every heat, with a dark edge.
MARK = "#56b4e9"
WIDTH, DPI = 8.4, 120
#: Inches for a row's title, and for that of a picture.
TITLE, CAPTION = 0.34, 0.22


@dataclass(frozen=True)
class Panel:
    """One picture of a row.

    Attributes:
        content: (height, width, 3) in [0, 1], or a matrix (height, width).
        caption: above it.
        marks: places to mark by a cross, (y, x) in pixels of the content.
        boxes: places to outline, (top, left, height, width) in pixels of the content.
    """

    content: np.ndarray
    caption: str = ""
    marks: tuple[tuple[float, float], ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Row:
    """Pictures beside each other.

    Attributes:
        title: above all of them.
        panels: from left to right.
        columns: how many would fill the width; more go into another line.
    """

    title: str
    panels: tuple[Panel, ...]
    columns: int = field(default=5)


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image under its heat, grey so that all colour is heat's.

    Args:
        pixels: (height, width, 3), uint8.
        heat: (height, width) in [0, 1].

    Returns:
        (height, width, 3) in [0, 1].

    Example:
        >>> overlay(found.pixels, found.heat).shape
        (224, 224, 3)
    """
    from matplotlib import colormaps

    grey = (pixels @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]
    cover = (COVER[0] + (COVER[1] - COVER[0]) * heat)[..., None]
    return (1 - cover) * grey + cover * colormaps[COLOURS](heat)[..., :3]


def draw_heatmaps(
    rows: Heatmap | Sequence[Heatmap] | Sequence[Sequence[Heatmap]], *, classes: Sequence[str] | None = None
) -> "Figure":
    """A grid of heat: every row begins with the image, and its columns are methods, classes or layers.

    Args:
        rows: heat maps of one image, or several of these; a row is of one image.
        classes: names for the numbers of classes.

    Raises:
        ValueError: if there is nothing to draw, or a class has no name.

    Example:
        >>> draw_heatmaps([heatmap(model, image, method) for method in ("gradcam", "scorecam")])
    """
    if isinstance(rows, Heatmap):
        rows = [rows]
    lines = [[each] if isinstance(each, Heatmap) else list(each) for each in rows]
    if not lines or not all(lines):
        raise ValueError("Expected heat maps. Received: none")
    most = max(each.target for line in lines for each in line)
    if classes is not None and most >= len(classes):
        raise ValueError(f"`classes` must have a name for every class to {most}. Received: {len(classes)} names")
    if all(len(line) == 1 for line in lines) and all((line[0].pixels == lines[0][0].pixels).all() for line in lines):
        lines = [[line[0] for line in lines]]
    made = []
    for line in lines:
        panels = [Panel(line[0].pixels / 255, "image")]
        panels += [Panel(overlay(each.pixels, each.heat), _caption(each, line, classes)) for each in line]
        title = _subject(line, classes)
        made.append(Row(title, tuple(panels), max(len(panels), 3)))
    return figure_of(made)


def _subject(line: Sequence[Heatmap], classes: Sequence[str] | None) -> str:
    first = line[0]
    layers = {each.layer for each in line if each.layer}
    about = [f"what speaks for {_name(first, classes)}"] if len({each.target for each in line}) == 1 else []
    return ", ".join([*about, *(f"at {layer}" for layer in layers if len(layers) == 1)])


def _caption(found: Heatmap, line: Sequence[Heatmap], classes: Sequence[str] | None) -> str:
    parts = []
    if len({each.target for each in line}) > 1:
        parts.append(_name(found, classes))
    if len({each.method for each in line}) > 1 or not parts:
        parts.append(TITLES[found.method])
    if len({each.layer for each in line if each.layer}) > 1 and found.layer:
        parts.append(found.layer)
    if not found.heat.any():
        parts.append("finds nothing")
    return "\n".join(parts)


TITLES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "scorecam": "Score-CAM",
    "saliency": "saliency",
    "smoothgrad": "SmoothGrad",
}


def _name(found: Heatmap, classes: Sequence[str] | None) -> str:
    name = f"class {found.target}" if classes is None else str(classes[found.target])
    return f"{name} ({found.probability:.0%})"


def figure_of(rows: Sequence[Row]) -> "Figure":
    """Rows of pictures, one below the other.

    Args:
        rows: at least one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [_height(row) for row in rows]
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    parts: list[SubFigure] = list(figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False).flat)
    for part, row, height in zip(parts, rows, heights, strict=True):
        _draw_row(part, row, height)
    return figure


def save(figure: "Figure", path: str | Path) -> Path:
    """Writes a figure as PNG, whole or not at all.

    Args:
        figure: of this package.
        path: of the picture.

    Returns:
        The path.

    Example:
        >>> save(draw_heatmaps(heatmap(model, image)), "why.png")
    """
    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return path


def _lines(row: Row) -> int:
    return -(-len(row.panels) // row.columns)


def _size(row: Row) -> tuple[float, float]:
    """Width and height of a row's pictures in inches, captions left out."""
    width = WIDTH / row.columns - 0.12
    height, across = row.panels[0].content.shape[:2]
    return width, width * height / across


def _caption_height(row: Row) -> float:
    return CAPTION * max(panel.caption.count("\n") + 1 if panel.caption else 0 for panel in row.panels)


def _height(row: Row) -> float:
    return (TITLE if row.title else 0.08) + _lines(row) * (_size(row)[1] + _caption_height(row) + 0.1)


def _draw_row(part: "SubFigure", row: Row, total: float) -> None:
    width, height = _size(row)
    if row.title:
        part.text(0.06 / WIDTH, 1 - 0.2 / total, row.title, color=INK, fontsize=10, va="center", parse_math=False)
    top = total - (TITLE if row.title else 0.08)
    for number, panel in enumerate(row.panels):
        line, column = divmod(number, row.columns)
        left = 0.06 + column * WIDTH / row.columns
        bottom = top - (line + 1) * (height + _caption_height(row)) - line * 0.1
        axes = part.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total))
        _draw_panel(axes, panel)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    from matplotlib.patches import Rectangle

    axes.imshow(panel.content, cmap=COLOURS, interpolation="nearest", aspect="auto", vmin=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(panel.caption, color=MUTED, fontsize=8.5, pad=3, parse_math=False)
    for top, left, height, width in panel.boxes:
        for colour, line in ((INK, 2.4), (MARK, 1.2)):
            box = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=line)
            axes.add_patch(box)
    for y, x in panel.marks:
        axes.plot(x, y, "+", color=INK, markersize=11, markeredgewidth=3.4)
        axes.plot(x, y, "+", color=MARK, markersize=10, markeredgewidth=1.8)
