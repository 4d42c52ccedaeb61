"""Parameters and MACs of the tables of the four papers, beside the figures that the papers print.

python benchmarks/paper_tables.py [--papers sepvit lvt lightvit efficientvit] [--tables 6 7] [--json results.json]
python benchmarks/paper_tables.py --show tflite/results/paper-tables.json
python benchmarks/paper_tables.py --latency [--sides 128 ... 512] [--rounds 10] [--json results.json]

Counts are of the models as the package builds them, in the graph; no image runs through one. Heads of dense models and
blocks of other papers are counted in closed form. Where the papers count in another way, both counts are shown, and
their figure is held against theirs. `--latency` times what EfficientViT's figures 2 and 5 are about, on this machine.
A JSON file that exists keeps what is not counted anew.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.papers import efficientvit, latency, lightvit, lvt, sepvit  # noqa: E402
from benchmarks.papers.rows import BILLION, MILLION, Counts, Printed, Row, Table, meets  # noqa: E402

TABLES: tuple[Table, ...] = (*sepvit.TABLES, *lvt.TABLES, *lightvit.TABLES, *efficientvit.TABLES)
PAPERS = tuple(dict.fromkeys(table.paper for table in TABLES))
UNKNOWN = "not known here"
HEADER = ("row", "params", "MACs", "params as the paper counts", "MACs as the paper counts", "paper M", "paper G",
          "M met", "G met", "paper top-1", "note")  # fmt: skip


def verdicts(theirs: Counts, printed: Printed) -> dict[str, bool | None]:
    """Which printed figures a count rounds to; `None` where none is known."""
    return {
        "params": meets(theirs.params, printed.params, MILLION) if printed.params else None,
        "macs": meets(theirs.macs, printed.macs, BILLION) if printed.macs else None,
    }


def count(row: Row) -> dict[str, Any]:
    """A row of the record."""
    counts = row.count()
    theirs = row.as_paper(counts) if row.as_paper else counts
    return {
        "label": row.label,
        **asdict(counts),
        "as_paper": asdict(theirs) if row.as_paper else None,
        "printed": asdict(row.printed),
        "met": verdicts(theirs, row.printed),
        "note": row.note,
    }


def describe(table: Table, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A table of the record."""
    return {
        **{key: getattr(table, key) for key in ("paper", "number", "title", "convention", "unknown")},
        "heading": table.heading,
        "rows": list(rows),
    }


def _line(row: dict[str, Any]) -> Sequence[str]:
    theirs = row["as_paper"] or {}
    printed, met = row["printed"], {True: "yes", False: "no", None: "-"}
    return (
        row["label"],
        f"{row['params']:,}",
        f"{row['macs']:,}",
        *(f"{theirs[key]:,}" if key in theirs and theirs[key] != row[key] else "same" for key in ("params", "macs")),
        *(printed[key] or UNKNOWN for key in ("params", "macs")),
        *(met[row["met"][key]] for key in ("params", "macs")),
        printed["top1"] or UNKNOWN,
        row["note"],
    )


def markdown(table: dict[str, Any]) -> str:
    """A table of the record for people, in Markdown."""
    lines = [table["heading"]]
    if table["convention"]:
        lines.append(f"How the paper counts: {table['convention']}.")
    if table["unknown"]:
        lines.append(f"{UNKNOWN.capitalize()}: {table['unknown']}")
    if table["rows"]:
        cells = [HEADER, (":--", *("--:",) * 9, ":--"), *map(_line, table["rows"])]
        lines += ["", *("| " + " | ".join(line) + " |" for line in cells)]
    return "\n".join(lines)


def save(path: Path, tables: Sequence[dict[str, Any]], latencies: dict[str, Any] | None) -> None:
    """Writes the record; what an older one has and this run has not stays, in the papers' order."""
    from keras_effvit.atomic import write_json

    old = json.loads(path.read_text()) if path.exists() else {}
    known = {table["heading"]: table for table in (*old.get("tables", ()), *tables)}
    ordered = [known[table.heading] for table in TABLES if table.heading in known]
    write_json(path, {"tables": ordered, "latency": latencies or old.get("latency")})


def chosen(papers: Sequence[str], numbers: Sequence[int]) -> list[Table]:
    """The tables of some papers; with numbers, those that have one of them or may have it."""
    return [table for table in TABLES if table.paper in papers and (not numbers or table.is_one_of(set(numbers)))]


def show(record: dict[str, Any]) -> None:
    """Prints a record."""
    for table in record["tables"]:
        print(markdown(table), end="\n\n")
    if record["latency"]:
        print(latency.table(record["latency"]))


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--papers", nargs="+", choices=PAPERS, default=PAPERS)
    parser.add_argument("--tables", nargs="+", type=int, default=[], help="their numbers; all by default")
    parser.add_argument("--json", type=Path, help="the record to write")
    parser.add_argument("--show", type=Path, metavar="RESULTS", help="only this: the tables of a record")
    parser.add_argument("--latency", action="store_true", help="only this: softmax and linear attention, timed")
    parser.add_argument("--sides", nargs="+", type=int, default=latency.SIDES, help="of the images that are timed")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    if options.show:
        show(json.loads(options.show.read_text()))
        return
    if options.latency:
        times = latency.measure(options.sides, options.rounds)
        print(latency.table(times))
        if options.json:
            save(options.json, [], times)
        return
    done = []
    for table in chosen(options.papers, options.tables):
        done.append(describe(table, map(count, table.rows)))
        print(markdown(done[-1]), end="\n\n", flush=True)
        if options.json:
            save(options.json, done, None)


if __name__ == "__main__":
    main()
