"""The page, model by model: what a file is, how its rounds lie, where it runs, and where its time goes."""

from collections.abc import Iterable, Mapping, Sequence

from keras_effvit.report import text
from keras_effvit.report.collect import Artifact
from keras_effvit.report.profile import bars, outside_share
from keras_effvit.report.rows import Row
from keras_effvit.report.strips import left_outside, partition_strip, round_dots
from keras_effvit.report.table import interval, partitions
from keras_effvit.report.text import escape

#: More models than these are folded, so that the page stays a page.
MOST_OPEN = 4


def model_cards(rows: Sequence[Row], artifacts: Iterable[Artifact]) -> str:
    """A box for every model, with its files side by side.

    Args:
        rows: of a run.
        artifacts: that may know which operators run where.
    """
    placed = {artifact.sha256 or artifact.name: artifact for artifact in artifacts if artifact.operators}
    models: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        models.setdefault(row.model, {}).setdefault(row.series.file, []).append(row)
    return "".join(_model(model, files, placed, folded=len(models) > MOST_OPEN) for model, files in models.items())


def _model(model: str, files: Mapping[str, list[Row]], placed: Mapping[str, Artifact], *, folded: bool) -> str:
    times = ", ".join(f"{rows[0].precision or file} {_time(rows[0])}" for file, rows in files.items())
    cards = "".join(_file(file, rows, placed) for file, rows in files.items())
    return (
        f'<details class="card model"{"" if folded else " open"}><summary>{escape(model)}'
        f'<span class="quiet">{escape(times)}</span></summary><div class="files">{cards}</div></details>'
    )


def _file(file: str, rows: Sequence[Row], placed: Mapping[str, Artifact]) -> str:
    row = rows[0]
    artifact = placed.get(row.series.sha256) or placed.get(file)
    parts = [
        f'<article class="file"><header><b>{escape(row.precision or file)}</b><span>{_time(row)}</span></header>',
        f'<p class="red">{escape(row.series.error, 500)}</p>' if row.series.error else "",
        _facts(row, file),
        _headed("Rounds", round_dots(rows)),
        _strip(artifact) if artifact else "",
        _profile(rows),
        "</article>",
    ]
    return "".join(parts)


def _time(row: Row) -> str:
    if row.median is None:
        return "failed" if row.series.error else "no round"
    return f"{text.milliseconds(row.median.value)} ms"


def _facts(row: Row, file: str) -> str:
    first = row.series.rounds[0] if row.series.rounds else None
    peaks = [turn.peak_memory_kb for turn in row.series.rounds if turn.peak_memory_kb is not None]
    facts = {
        "file": text.plain(file, 60),
        "95 % interval, ms": interval(row.median, text.milliseconds),
        "size": f"{text.megabytes(row.series.bytes)} MB",
        "parameters": text.count(row.number("params")),
        "MACs": text.count(row.number("macs")),
        "XNNPACK partitions": partitions(row),
        "agreement with Keras": text.percent(row.number("agreement")),
        "signal to noise": "" if row.number("snr_db") is None else f"{row.number('snr_db'):.1f} dB",
        "top-1": text.percent(row.number("top1"), 2),
        "to load": "" if first is None else f"{text.milliseconds(first.load_ms)} ms",
        "first inference": "" if first is None else f"{text.milliseconds(first.first_ms)} ms",
        "peak memory": f"{max(peaks) / 1000:.0f} MB" if peaks else "",
    }
    lines = (f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>" for n, v in facts.items() if v not in ("", text.NOTHING))
    return f"<dl>{''.join(lines)}</dl>"


def _headed(title: str, body: str) -> str:
    return f"<h4>{escape(title)}</h4>{body}" if body else ""


def _strip(artifact: Artifact) -> str:
    left = left_outside(artifact.operators)
    lines = "".join(
        f'<li><span class="swatch out"></span>{count} {escape(name, 40)} in {escape(", ".join(layers), 80)}</li>'
        for name, count, layers in left[:6]
    )
    if len(left) > 6:
        lines += f"<li>and {len(left) - 6} other kinds</li>"
    if not left:
        lines = '<li><span class="swatch"></span>XNNPACK runs every operator</li>'
    title = f"{len(artifact.operators)} operators by partition"
    return _headed(
        title, f'<div class="strip">{partition_strip(artifact.operators)}</div><ul class="left">{lines}</ul>'
    )


def _profile(rows: Sequence[Row]) -> str:
    row = next((row for row in rows if row.series.profile), None)
    if row is None:
        return ""
    threads = f"{row.series.threads} thread{'s' if row.series.threads > 1 else ''}"
    share = outside_share(row.series.profile)
    lost = f'<li><span class="swatch out"></span>{text.percent(share)} outside of XNNPACK</li>' if share else ""
    return _headed(f"Time by operator, {threads}", bars(row.series.profile) + f'<ul class="left">{lost}</ul>')
