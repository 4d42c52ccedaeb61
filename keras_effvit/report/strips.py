"""Two small figures: which partition runs every operator, and how the rounds of a series lie."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from keras_effvit.report import text
from keras_effvit.report.collect import Placed
from keras_effvit.report.rows import Row
from keras_effvit.report.svg import box, picture, words

WIDTH, HEIGHT, ROW = 360, 26, 26
#: Partitions take these in turn, so that neighbours differ.
SHADES = ("inside", "inside-2")
#: A run of operators is at least so wide, or one left outside among a thousand could not be seen.
THINNEST = 1.5


def partition_strip(operators: Sequence[Placed]) -> str:
    """Every operator in the order of execution, blue where a partition of XNNPACK runs it, red where none does.

    Args:
        operators: of an artifact.

    Returns:
        SVG for the page, or nothing without operators.
    """
    if not operators:
        return ""
    runs = [(partition, list(group)) for partition, group in groupby(operators, key=lambda each: each.partition)]
    step = WIDTH / len(operators)
    drawn, reds, left = [], [], 0.0
    for partition, group in runs:
        width = step * len(group)
        if partition is None:
            names = ", ".join(f"{count} {name}" for name, count in Counter(each.name for each in group).items())
            reds.append(box(left, 0, max(width, THINNEST), HEIGHT, fill="outside", title=f"outside: {names}"))
        else:
            title = f"partition {partition + 1}: {len(group)} operators"
            drawn.append(box(left, 0, width, HEIGHT, fill=SHADES[partition % len(SHADES)], title=title))
        left += width
    outside = sum(each.partition is None for each in operators)
    label = f"{len(operators)} operators, {outside} of them outside of XNNPACK"
    return picture("".join([*drawn, *reds]), WIDTH, HEIGHT, label, stretch=True)


def left_outside(operators: Sequence[Placed]) -> list[tuple[str, int, tuple[str, ...]]]:
    """What no partition runs: kinds, how many of each, and the layers they come from; the most frequent first.

    Args:
        operators: of an artifact.
    """
    outside = [each for each in operators if each.partition is None]
    return [
        (name, count, tuple(dict.fromkeys(each.layer for each in outside if each.name == name)))
        for name, count in Counter(each.name for each in outside).most_common()
    ]


def round_dots(rows: Sequence[Row]) -> str:
    """A line for every number of threads: a dot for every round's median, its interval as a band, its median a stroke.

    Args:
        rows: of one file.

    Returns:
        SVG for the page, or nothing before the first round.
    """
    rows = [row for row in rows if row.median is not None]
    ends = [turn.median_ms for row in rows for turn in row.series.rounds]
    ends += [end for row in rows if row.median for end in (row.median.low, row.median.high) if end is not None]
    if not ends:
        return ""
    low, high = min(ends), max(ends)
    # Equal rounds would fill the width with noise: the strip spans at least a tenth of its middle.
    room = max(0.05 * (low + high) / 2 - (high - low) / 2, 0.06 * (high - low))
    low, high = max(low - room, 0.0), high + room
    scale = (WIDTH - 44) / (high - low)
    lines = [_dots(row, ROW * number, low, scale) for number, row in enumerate(rows)]
    axis = ROW * len(rows) + 12
    lines += [
        words(36, axis, text.milliseconds(low), style="note", anchor="start"),
        words(WIDTH, axis, f"{text.milliseconds(high)} ms", style="note", anchor="end"),
    ]
    return picture("".join(lines), WIDTH, axis + 4, "The rounds' medians")


def _dots(row: Row, top: float, low: float, scale: float) -> str:
    middle = top + ROW / 2
    estimate = row.median
    assert estimate is not None
    drawn = [words(0, middle + 4, f"{row.series.threads} thr", style="note")]
    drawn.append(box(36, middle - 0.5, WIDTH - 40, 1, fill="rule"))
    if estimate.low is not None and estimate.high is not None:
        title = f"95 % interval: {text.milliseconds(estimate.low)} to {text.milliseconds(estimate.high)} ms"
        width = (estimate.high - estimate.low) * scale
        drawn.append(box(38 + (estimate.low - low) * scale, middle - 8, width, 16, fill="band", radius=2, title=title))
    drawn.append(box(37.25 + (estimate.value - low) * scale, middle - 10, 1.5, 20, fill="stroke"))
    for turn in row.series.rounds:
        warmth = "" if turn.celsius is None else f", {turn.celsius:.1f} °C"
        title = (
            f"<title>{text.escape(f'round {turn.number + 1}: {text.milliseconds(turn.median_ms)} ms{warmth}')}</title>"
        )
        x = 38 + (turn.median_ms - low) * scale
        drawn.append(f'<circle class="dot" cx="{x:.2f}" cy="{middle:.2f}" r="3.6">{title}</circle>')
    return "".join(drawn)
