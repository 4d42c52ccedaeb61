"""Writes the tables and the picture of `why-int8.md` from the records under `tflite/results`.

python docs/figures.py
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))
RECORDS = DOCS.parent / "tflite" / "results"
PAGE, PICTURE = DOCS / "why-int8.md", DOCS / "pictures" / "int8-instructions.svg"
#: Models of the picture: one of every family, the last with a stock file that aborts.
DRAWN = ("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_b0")
FILES = {"float32": "float32", "int8": "our int8", "stock_int8": "stock int8"}
PRODUCTS, OTHERS, CONVERSIONS, MATMULS_OUTSIDE, OTHERS_OUTSIDE = (
    "products and convolutions",
    "other operators",
    "between float and int8",
    "matmuls outside",
    "others outside",
)
#: Okabe and Ito's, which people of any colour vision tell apart: blues stay inside, reds are outside.
COLOURS = {
    PRODUCTS: "#0072b2",
    OTHERS: "#56b4e9",
    CONVERSIONS: "#e6c700",
    MATMULS_OUTSIDE: "#d55e00",
    OTHERS_OUTSIDE: "#cc79a7",
}
WIDTH, LEFT, RIGHT, BAR, GAP, BETWEEN, TOP = 760, 190, 70, 17, 5, 14, 62


def record(name: str) -> Any:
    """What is in a record."""
    return json.loads((RECORDS / f"{name}.json").read_text())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Markdown whose columns stand under each other, the first ones to the left."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [
            cell.ljust(width) if n < left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    rule = [":" + "-" * (width - 1) if n < left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])


def operators() -> str:
    """Where every operator runs."""
    said = {"inside": "inside", "outside": "**outside**", "float": "stays float"}
    rows = [[row["operator"], said[row["float32"]], said[row["int8"]]] for row in record("int8")["operators"]]
    return table(["operator", "float32", "stock int8"], sorted(rows, key=lambda row: row[2] != "inside"), left=3)


def stock() -> str:
    """Stock conversion beside ours, on the host."""
    rows = []
    for row in record("lite-host"):
        ours, theirs = row["int8"], row["stock_int8"]
        runs = "partitions" in theirs
        rows.append(
            [
                row["model"],
                str(theirs["partitions"]) if runs else "aborts",
                str(theirs["outside"]) if runs else "-",
                f"{theirs['of_our_int8']:.1f}x" if runs else "-",
                f"{theirs['of_our_int8'] * ours['of_float32']:.2f}x" if runs else "-",
                f"{ours['of_float32']:.2f}x",
            ]
        )
    head = [
        "model",
        "stock partitions",
        "operators outside",
        "stock of our int8",
        "stock of float32",
        "ours of float32",
    ]
    return table(head, rows)


def islands() -> str:
    """One kind of island at a time in integers."""
    rows = [
        [
            "nothing: the precision `int8`" if row["in_int8_too"] == "none" else row["in_int8_too"],
            str(row["partitions"]),
            str(row["outside"]),
            f"{row['snr_db']:.1f}",
        ]
        for row in record("int8")["islands"]["files"]
    ]
    return table(["in int8 as well", "partitions", "operators outside", "signal to noise, dB"], rows)


def models() -> str:
    """What is left of the signal."""
    rows = []
    for row in record("int8")["models"]:
        cells = [row["model"]]
        for kind in ("stock_int8", "int8_full", "int8"):
            snr = row[kind].get("snr_db")
            cells += ["aborts" if snr is None else f"{snr:.1f} dB", str(row[kind].get("partitions", "-"))]
        rows.append(cells)
    head = ["model", "stock int8", "partitions", "`int8_full`", "partitions", "`int8`", "partitions"]
    return table(head, rows)


def arm() -> str:
    """Executed instructions, and how many of stock int8's are outside."""
    rows = []
    for row in record("arm-instructions"):
        cells = [row["model"]]
        for kind in FILES:
            found = row[kind].get("instructions")
            cells.append("aborts" if found is None else f"{found / 1e6:.1f} M")
        outside = shares(row["stock_int8"]) if "operators" in row["stock_int8"] else {}
        total = sum(outside.values())
        cells.append(
            f"{(outside[MATMULS_OUTSIDE] + outside[OTHERS_OUTSIDE]) / total:.0%}".replace("%", " %") if total else "-"
        )
        rows.append(cells)
    return table(["model", "float32", "our int8", "stock int8", "stock's outside XNNPACK"], rows)


def shares(file: Mapping[str, Any]) -> dict[str, int]:
    """Instructions of one file by what they are for."""
    found = dict.fromkeys(COLOURS, 0)
    for each in file["operators"]:
        found[_kind(each["name"], each["place"])] += each["instructions"]
    return found


def _kind(name: str, place: str) -> str:
    if place != "xnnpack":
        return MATMULS_OUTSIDE if name == "BATCH_MATMUL" else OTHERS_OUTSIDE
    if any(word in name for word in ("GEMM", "DWConv")):
        return PRODUCTS
    return CONVERSIONS if name.startswith("Convert") else OTHERS


def picture() -> str:
    """Instructions of every file as bars, cut by what they are for."""
    rows = {row["model"]: row for row in record("arm-instructions")}
    longest = max(rows[name][kind].get("instructions", 0) for name in DRAWN for kind in FILES)
    scale = (WIDTH - LEFT - RIGHT) / longest
    parts, y = [*_legend()], float(TOP)
    for name in DRAWN:
        parts.append(_text(0, y + BAR - 4, name, weight="bold"))
        for kind, title in FILES.items():
            parts.append(_text(LEFT - 8, y + BAR - 4, title, anchor="end"))
            parts += _bar(rows[name][kind], y, scale)
            y += BAR + GAP
        y += BETWEEN
    label = "Executed ARM instructions of one inference, by file and by what they are for"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 0 {WIDTH + 24} {y:.0f}" role="img" aria-label="{label}" '
        'font-family="sans-serif" font-size="12" fill="#1c2127">\n'
        f'<rect x="-12" width="{WIDTH + 24}" height="{y:.0f}" rx="4" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(file: Mapping[str, Any], y: float, scale: float) -> list[str]:
    if "operators" not in file:
        return [_text(LEFT, y + BAR - 4, "aborts in DIV", colour="#5a6572")]
    parts, x = [], float(LEFT)
    for kind, count in shares(file).items():
        width = count * scale
        parts.append(f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[kind]}"/>')
        x += width
    return [*parts, _text(x + 6, y + BAR - 4, f"{file['instructions'] / 1e6:.0f} M")]


def _legend() -> list[str]:
    parts, x, y = [_text(0, 18, "Million ARM instructions of one inference at 224 x 224", weight="bold")], 0.0, 32
    for kind, colour in COLOURS.items():
        parts.append(f'<rect x="{x:.0f}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(x + 17, y + 10, kind))
        x += 38 + 6.6 * len(kind)
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal", colour: str = "") -> str:
    fill = f' fill="{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}"{fill}>{text}</text>'


TABLES: dict[str, Callable[[], str]] = {
    "operators": operators,
    "stock": stock,
    "islands": islands,
    "models": models,
    "arm": arm,
}


def main() -> None:
    """Writes both."""
    from keras_effvit.atomic import replacing

    text = PAGE.read_text()
    for name, write in TABLES.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not end:
            raise SystemExit(f"Expected a place for the table {name!r} in {PAGE}. Received: none")
        text = f"{before}{start}{write()}\n{end}{after}"
    with replacing(PAGE) as temporary:
        temporary.write_text(text)
    with replacing(PICTURE) as temporary:
        temporary.write_text(picture())


if __name__ == "__main__":
    main()
