"""The report as one HTML page that needs nothing else: no network, no script, no other file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_effvit.report import text
from keras_effvit.report.cards import model_cards
from keras_effvit.report.collect import Artifact, Damaged
from keras_effvit.report.headline import headline
from keras_effvit.report.notices import Notice, notices
from keras_effvit.report.records import Run
from keras_effvit.report.rows import Row
from keras_effvit.report.style import css
from keras_effvit.report.table import columns
from keras_effvit.report.text import escape

#: A longer table scrolls in its box, under its heading, so that the plots below are found.
MOST_ROWS = 20
_HEADINGS = {"bad": "Careful:", "warn": "Mind:", "note": "Note:"}


@dataclass(frozen=True)
class Plot:
    """A plot for the page.

    Attributes:
        name: of its files, without a suffix.
        title: in words.
        threads: of its files.
        drawn: SVG, narrow enough for a hand; a desk takes three of them side by side.
    """

    name: str
    title: str
    threads: int
    drawn: str


@dataclass(frozen=True)
class Part:
    """A run and what belongs to it.

    Attributes:
        source: the file it was read from.
        run: the run.
        rows: of it.
        baseline: of their ratios.
        plots: of them.
    """

    source: str
    run: Run
    rows: tuple[Row, ...]
    baseline: str | None
    plots: tuple[Plot, ...]


def page(parts: Sequence[Part], artifacts: Sequence[Artifact], damaged: Sequence[Damaged], *, title: str) -> str:
    """The page.

    Args:
        parts: runs, the latest first.
        artifacts: files, measured or not.
        damaged: what could not be read.
        title: at its top.

    Returns:
        HTML in Unicode.
    """
    measured = {row.series.sha256 for part in parts for row in part.rows}
    waiting = [each for each in artifacts if each.sha256 is None or each.sha256 not in measured]
    found = f"{_many(len(parts), 'run')}, {_many(len(artifacts), 'model file')}"
    if damaged:
        found += f", {_many(len(damaged), 'damaged file')} left out"
    links = "".join(f'<a href="#run-{n}">{escape(part.run.device.name, 60)}</a>' for n, part in enumerate(parts, 1))
    body = [
        f'<header><h1>{escape(title)}</h1><p class="sub">{found}</p>',
        f"<nav>{links}</nav></header>" if len(parts) > 1 else "</header>",
        *(_run(part, artifacts, number) for number, part in enumerate(parts, 1)),
        _nothing() if not parts and not artifacts else "",
        _waiting(waiting),
        _damaged(damaged),
        "<footer>Made by keras_effvit from the records in this folder. This file needs no other.</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css()}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _run(part: Part, artifacts: Iterable[Artifact], number: int) -> str:
    run = part.run
    return "\n".join(
        [
            f'<section class="run" id="run-{number}"><h2>{escape(run.device.name)}</h2>',
            _chips(run),
            _notices(notices(run)),
            table(part.rows, part.baseline) if part.rows else '<p class="quiet">Nothing was measured.</p>',
            _plots(part.plots),
            "<h3>Model by model</h3>" + model_cards(part.rows, artifacts) if part.rows else "",
            _provenance(part),
            "</section>",
        ]
    )


def _plots(plots: Sequence[Plot]) -> str:
    """Those of the first number of threads are seen at once, the others unfold."""
    parts = []
    for threads in dict.fromkeys(plot.threads for plot in plots):
        figures = "".join(f'<figure class="card">{plot.drawn}</figure>' for plot in plots if plot.threads == threads)
        drawn = f'<div class="plots">{figures}</div>'
        if parts:
            heading = f"<summary>Plots of {threads} threads</summary>"
            drawn = f'<details class="card">{heading}<div class="inner">{drawn}</div></details>'
        parts.append(drawn)
    return "".join(parts)


def _chips(run: Run) -> str:
    chips = (f"<li><b>{escape(name)}</b>{escape(value)}</li>" for name, value in headline(run))
    return f'<ul class="chips">{"".join(chips)}</ul>'


def _notices(found: Sequence[Notice]) -> str:
    lines = (f'<li class="{each.level}"><b>{_HEADINGS[each.level]}</b> {escape(each.text, 500)}</li>' for each in found)
    return f'<ul class="notices">{"".join(lines)}</ul>' if found else ""


def table(rows: Sequence[Row], baseline: str | None) -> str:
    """The summary, which scrolls in its box where it is too wide; a bar behind each time shows it beside the longest.

    Args:
        rows: of a run.
        baseline: of their ratios.
    """
    shown = columns(rows, baseline)
    longest = max((row.median.value for row in rows if row.median), default=1.0)
    lines, before = [], ""
    for row in rows:
        cells = []
        for number, column in enumerate(shown):
            kind, style = "num" if column.right else "", ""
            if column.title == "median ms" and row.median:
                kind, style = "num time", f' style="--share:{100 * row.median.value / longest:.1f}%"'
            if column.title == "partitions" and row.number("outside"):
                kind = "num red"
            kind = "again" if number == 0 and row.model == before else kind
            tag = 'th scope="row"' if number == 0 else "td"
            cells.append(f'<{tag} class="{kind}"{style}>{escape(column.cell(row), 60)}</{tag[:2]}>')
        lines.append(f'<tr class="{"" if row.model == before else "group"}">{"".join(cells)}</tr>')
        before = row.model
    heads = "".join(f'<th scope="col" class="{"num" if c.right else ""}">{escape(c.title)}</th>' for c in shown)
    tall = "tall" if len(rows) > MOST_ROWS else ""
    return (
        f'<div class="card scroll {tall}" tabindex="0" role="region" aria-label="Summary"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _provenance(part: Part) -> str:
    run = part.run
    facts: dict[str, Any] = {"record": part.source, "started": run.started, "finished": run.finished or "cut short"}
    if run.reference:
        facts["reference, ms"] = ", ".join(text.milliseconds(each) for each in run.reference)
    if run.drift is not None:
        facts["drift"] = f"{100 * run.drift:+.1f} %"
    hashes = {f"{series.file}": series.sha256 for series in run.series}
    return (
        '<details class="card"><summary>Provenance<span class="quiet">settings, device, hashes</span></summary>'
        f'<div class="inner">{_facts("Run", facts)}{_facts("Settings", run.settings)}'
        f"{_facts('Device', run.device.facts)}{_facts('SHA-256 of the files', hashes, code=True)}</div></details>"
    )


def _facts(title: str, facts: Mapping[str, Any], *, code: bool = False) -> str:
    shown = (text.fact(value, 600) for value in facts.values())
    values = (f"<code>{escape(value)}</code>" if code else escape(value, 600) for value in shown)
    lines = "".join(f"<dt>{escape(n, 60)}</dt><dd>{value}</dd>" for n, value in zip(facts, values, strict=True))
    return f"<h4>{escape(title)}</h4><dl>{lines}</dl>" if facts else ""


def _waiting(artifacts: Sequence[Artifact]) -> str:
    """Files nobody has measured, which is worth knowing: a table without them looks complete."""
    if not artifacts:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(each.name, 60)}</th><td class="num">{text.megabytes(each.bytes)}</td>'
        f'<td class="num">{escape(text.fact(each.facts.get("partitions")), 20)}</td>'
        f'<td class="num">{escape(text.fact(each.facts.get("outside")), 20)}</td></tr>'
        for each in artifacts
    )
    heads = '<th scope="col">file</th>' + "".join(
        f'<th scope="col" class="num">{name}</th>' for name in ("MB", "partitions", "outside")
    )
    return (
        '<section class="rest"><h2>Not measured</h2><div class="card scroll"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div></section>"
    )


def _damaged(damaged: Sequence[Damaged]) -> str:
    if not damaged:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(each.path)}</th><td class="long">{escape(each.reason, 300)}</td></tr>'
        for each in damaged
    )
    return (
        '<section class="rest"><h2>Left out</h2><p class="sub">These files could not be used.</p>'
        f'<div class="card scroll"><table><tbody>{lines}</tbody></table></div></section>'
    )


def _nothing() -> str:
    return (
        '<section class="rest"><p>There is nothing to report yet: no <code>latency-*.json</code> and no '
        "<code>.tflite</code> file was found.</p></section>"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
