"""From a folder of artifacts to the report: a page, its Markdown, and the plots."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from keras_effvit.atomic import replacing
from keras_effvit.report import pareto
from keras_effvit.report.collect import Collection, collect
from keras_effvit.report.notices import notices
from keras_effvit.report.page import Part, Plot, page
from keras_effvit.report.records import Run
from keras_effvit.report.rows import Row, rows
from keras_effvit.report.svg import tidy
from keras_effvit.report.table import markdown
from keras_effvit.report.text import cell, plain

#: A plot of fewer models shows nothing that the table does not.
FEWEST_POINTS = 2


def build(
    folder: str | Path,
    output: str | Path,
    *,
    baseline: str | None = None,
    look: bool = True,
    title: str = "Latency on the device",
) -> Path:
    """Writes `index.html`, `report.md` and `pareto-*.png` and `.svg`, each whole or not at all.

    Args:
        folder: of artifacts: `latency-*.json`, `*.tflite`, and what lies beside them, at any depth.
        output: a folder; it is made if it is not there.
        baseline: the file that ratios are to, in the runs that have it; else each model's own float32.
        look: into `.tflite` files without an inspection, which takes seconds each.
        title: of the page.

    Returns:
        The page's path.

    Raises:
        NotADirectoryError: if `folder` is none.
        ValueError: if no run has the baseline. Damaged files are no error: the page names them.

    Example:
        >>> build("artifacts", "artifacts/report")
        PosixPath('artifacts/report/index.html')
    """
    found, output = collect(folder, look=look), Path(output)
    files = sorted({series.file for run in found.runs.values() for series in run.series})
    if baseline is not None and baseline not in files:
        raise ValueError(f"Expected a baseline among {files}. Received: {baseline!r}")
    output.mkdir(parents=True, exist_ok=True)
    parts = [
        _part(name, run, slug, found, baseline, output)
        for (name, run), slug in zip(found.runs.items(), _slugs(found.runs), strict=True)
    ]
    _write(output / "report.md", _markdown(parts, found, title).encode())
    return _write(output / "index.html", page(parts, found.artifacts, found.damaged, title=title).encode())


def _part(name: str, run: Run, slug: str, found: Collection, baseline: str | None, output: Path) -> Part:
    mine = baseline if any(series.file == baseline for series in run.series) else None
    lines = rows(run, baseline=mine, artifacts=found.artifacts)
    return Part(name, run, lines, mine, tuple(_plots(lines, slug, output)))


def _plots(lines: Sequence[Row], slug: str, output: Path) -> Iterator[Plot]:
    for threads in sorted({row.series.threads for row in lines}):
        mine = [row for row in lines if row.series.threads == threads]
        for axis in pareto.axes_of(mine):
            dots = pareto.points(mine, axis)
            if len({dot.model for dot in dots}) < FEWEST_POINTS or len({dot.value for dot in dots}) < FEWEST_POINTS:
                continue
            title = f"{axis.heading}, {threads} thread{'s' if threads > 1 else ''}"
            name = f"pareto-{slug}-{axis.name}-{threads}t"
            wide = pareto.draw(dots, axis, title=title)
            _write(output / f"{name}.png", pareto.png(wide))
            _write(output / f"{name}.svg", tidy(pareto.svg(wide), prefix="p", label=title).encode())
            narrow = pareto.svg(pareto.draw(dots, axis, title=title, size=pareto.NARROW))
            yield Plot(name, title, threads, tidy(narrow, prefix=f"{name}-", label=title, inline=True))


def _slugs(names: Mapping[str, Run]) -> list[str]:
    """A short name for every run, from its file's, and no two the same."""
    taken: list[str] = []
    for name in names:
        stem = Path(name).stem.removeprefix("latency-").lower()
        slug = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40] or "run"
        number = 2
        unique = slug
        while unique in taken:
            unique, number = f"{slug}-{number}", number + 1
        taken.append(unique)
    return taken


def _markdown(parts: Sequence[Part], found: Collection, title: str) -> str:
    lines = [f"# {cell(title)}", ""]
    for part in parts:
        run = part.run
        lines += [
            f"## {cell(run.device.name)}",
            "",
            f"{cell(run.device.kind)}, {cell(run.engine)}, {cell(run.started)}",
        ]
        lines += ["", *(f"* **{each.level}**: {cell(plain(each.text, 500))}" for each in notices(run)), ""]
        if part.rows:
            lines += [markdown(part.rows, part.baseline), ""]
        lines += [f"![{cell(plot.title)}]({plot.name}.png)" for plot in part.plots]
        lines.append("")
    if found.damaged:
        lines += ["## Left out", "", *(f"* {cell(each.path)}: {cell(each.reason)}" for each in found.damaged), ""]
    return "\n".join(lines).rstrip() + "\n"


def _write(path: Path, content: bytes) -> Path:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path
