"""A run's rows as a table: in a terminal, in Markdown, and as plain cells for whoever else draws one."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from keras_effvit.report import text
from keras_effvit.report.notices import notices
from keras_effvit.report.records import Run
from keras_effvit.report.rows import Row
from keras_effvit.report.statistics import Estimate

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: How a notice begins where there is no colour.
MARKS = {"bad": "!!", "warn": "!", "note": "-"}
STYLES = {"bad": "bold red", "warn": "yellow", "note": "dim"}


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        title: above it.
        cell: of a row.
        right: whether it holds numbers.
        always: whether it stays when no row has anything to say.
        rank: where there is no room, the columns of the highest go first; those of 0 stay.
    """

    title: str
    cell: Callable[[Row], str]
    right: bool = True
    always: bool = False
    rank: int = 0


def interval(estimate: Estimate | None, form: Callable[[float | None], str]) -> str:
    """The ends of an interval: "11.9 to 12.4"; empty without one.

    Args:
        estimate: whose it is.
        form: of a number.
    """
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{form(estimate.low)} to {form(estimate.high)}"


def columns(rows: Sequence[Row], baseline: str | None = None) -> list[Column]:
    """The columns that have something to say of these rows.

    Args:
        rows: of the table.
        baseline: of the ratios, as given to `rows`.
    """
    beside = "of float32" if baseline is None else f"of {text.plain(baseline, 40)}"
    every = [
        Column("model", lambda row: row.model, right=False, always=True),
        Column("precision", lambda row: row.precision or text.NOTHING, right=False, always=True),
        Column("threads", lambda row: str(row.series.threads), always=True),
        Column("median ms", _median, always=True),
        Column("95 % interval", lambda row: interval(row.median, text.milliseconds) or text.NOTHING, rank=7),
        Column("p90 ms", lambda row: text.milliseconds(row.series.p90_ms if row.median else None), always=True, rank=3),
        Column("spread", lambda row: text.percent(row.series.spread if row.median else None), always=True, rank=4),
        Column(beside, lambda row: text.factor(row.ratio and row.ratio.value)),
        Column("MB", lambda row: text.megabytes(row.series.bytes), always=True, rank=1),
        Column("params", lambda row: text.count(row.number("params")), rank=9),
        Column("MACs", lambda row: text.count(row.number("macs")), rank=8),
        Column("partitions", partitions, rank=2),
        Column("agreement", lambda row: text.percent(row.number("agreement")), rank=6),
        Column("top-1", lambda row: text.percent(row.number("top1")), rank=5),
    ]
    return [each for each in every if each.always or any(each.cell(row) != text.NOTHING for row in rows)]


def _median(row: Row) -> str:
    if row.median is None:
        return text.NOTHING if row.series.error is None else "failed"
    return text.milliseconds(row.median.value)


def partitions(row: Row) -> str:
    """How many XNNPACK partitions a file runs in, and what is left over: "1", or "24, 42 outside".

    Args:
        row: of the file.
    """
    count, outside = row.number("partitions"), row.number("outside")
    if count is None:
        return text.NOTHING
    return f"{count:g}" + (f", {outside:g} outside" if outside else "")


def markdown(rows: Sequence[Row], baseline: str | None = None) -> str:
    """The table in Markdown, its columns of equal width.

    Args:
        rows: of `rows`.
        baseline: as given to `rows`.

    Returns:
        Lines, without the last one's end.
    """
    shown = columns(rows, baseline)
    cells = [[text.cell(each.title) for each in shown], *([text.cell(c.cell(row)) for c in shown] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(shown))]
    lines = [
        " | ".join(
            each.rjust(width) if column.right else each.ljust(width)
            for each, width, column in zip(line, widths, shown, strict=True)
        )
        for line in cells
    ]
    rule = "|".join(
        "-" * (width + 1) + ":" if column.right else ":" + "-" * (width + 1)
        for width, column in zip(widths, shown, strict=True)
    )
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def fitting(shown: Sequence[Column], rows: Sequence[Row], width: int) -> list[Column]:
    """Columns for which there is room: a number that is cut off is worse than none.

    Args:
        shown: of `columns`.
        rows: of the table.
        width: in characters.
    """
    widths = {c.title: 2 + max(len(c.title), *(len(text.plain(c.cell(row))) for row in rows)) for c in shown if rows}
    kept = list(shown)
    for column in sorted(shown, key=lambda column: -column.rank):
        if column.rank and sum(widths.get(each.title, 0) for each in kept) > width:
            kept.remove(column)
    return kept


def rich_table(rows: Sequence[Row], baseline: str | None = None, *, width: int = 200) -> "Table":
    """The table for a terminal; models that run in pieces are red, the fastest row of each number of threads green.

    Args:
        rows: of `rows`.
        baseline: as given to `rows`.
        width: of the terminal; columns for which it has no room are left out.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown = fitting(columns(rows, baseline), rows, width)
    for column in shown:
        side = "right" if column.right else "left"
        table.add_column(Text(column.title), justify=side, no_wrap=True, overflow="fold")
    fastest = _fastest(rows)
    for row in rows:
        cells = [Text(text.plain(column.cell(row))) for column in shown]
        for column, cell in zip(shown, cells, strict=True):
            if column.title == "median ms":
                cell.stylize("bold green" if row in fastest else "bold red" if row.series.error else "bold")
            if column.title == "partitions" and row.number("outside"):
                cell.stylize("red")
        table.add_row(*cells)
    return table


def print_run(run: Run, rows: Sequence[Row], *, baseline: str | None = None, console: "Console | None" = None) -> None:
    """Prints a run: the device, the table, and what to know before believing it.

    Args:
        run: the run.
        rows: of it.
        baseline: as given to `rows`.
        console: to print to; the terminal if `None`.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    console.print(
        Text(f"{text.plain(run.device.name)} ({text.plain(run.device.kind)}), {text.plain(run.engine)}", "bold")
    )
    console.print(rich_table(rows, baseline, width=console.width), "")
    for notice in notices(run):
        console.print(Text(f"{MARKS[notice.level]} {text.plain(notice.text, 400)}", STYLES[notice.level]))


def _fastest(rows: Iterable[Row]) -> list[Row]:
    best: dict[int, Row] = {}
    for row in rows:
        known = best.get(row.series.threads)
        if row.median and (known is None or known.median is None or row.median.value < known.median.value):
            best[row.series.threads] = row
    return list(best.values())
