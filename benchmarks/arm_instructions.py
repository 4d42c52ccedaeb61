"""How many ARM instructions an inference takes: our files beside each other, and beside stock conversion.

python benchmarks/arm_instructions.py [--models NAME ...] [--side 224] [--operators] [--json results.json]
python benchmarks/arm_instructions.py --files model.tflite ... [--operators]

The files run on LiteRT on an emulated Cortex-A76 (int8 dot products, as phones have had them since 2018), on one
thread, and the emulator counts what it executes: the same number on every machine and in every run. It is no time:
loads that miss the caches, and what a core does at once, are not in it. But it is ARM's code, not this machine's.

Beside the count stand the multiplications in SDOT and FMLA instructions, as a share of the model's. Near 1 they are the
inference that was meant; depthwise convolutions in int8 multiply by other instructions, and padding makes it more.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from text_table import table_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
#: The smallest of each family, and one of the usual size.
MODELS = ("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_b0", "efficientvit_base", "efficientvit_b1")
#: What int8 should come to, of the model's own float32 and of stock conversion to int8.
AIM_OF_FLOAT, AIM_OF_STOCK = 0.5, 0.4


def convert(name: str, side: int) -> tuple[dict[str, bytes], int, str | None]:
    """Files of one model by precision, its multiplications, and why there is no stock conversion."""
    from benchmarks.lite import alive, calibration, stock
    from keras_effvit import create_model, lite
    from keras_effvit.models import count_macs

    model = alive(create_model(name, input_shape=(side, side, 3), classifier_activation=None))
    images = calibration(side=side)
    files = {precision: lite.convert(model, precision, calibration=images).content for precision in ("float32", "int8")}
    plain = stock(model, images)
    if isinstance(plain, bytes):
        return {**files, "stock_int8": plain}, count_macs(model), None
    return files, count_macs(model), plain


def measure(file: Path, macs: int | None, operators: bool) -> dict[str, Any]:
    """What one file executes."""
    from benchmarks.arm import counting
    from keras_effvit.device.errors import DeviceError

    try:
        answers = counting.count(file, profile=1 if operators else 0)
    except DeviceError as error:
        return {"error": str(error)[:200]}
    row: dict[str, Any] = {"instructions": counting.instructions(answers)}
    if macs is not None:
        counts = {kind: counting.instructions(counting.count(file, kind)) for kind in counting.MACS}
        multiplied = sum(count * counting.MACS[kind] for kind, count in counts.items())
        row |= {**counts, "multiplied_of_macs": round(multiplied / macs, 3)}
    if operators:
        row["operators"] = [
            {"name": each.name, "place": each.place, "calls": each.calls, "instructions": round(each.microseconds)}
            for each in answers.operators
        ]
    return row


def compare(name: str, side: int, operators: bool) -> dict[str, Any]:
    """One model: all files, and the ratios."""
    files, macs, refused = convert(name, side)
    row: dict[str, Any] = {"model": name, "side": side, "macs": macs}
    with tempfile.TemporaryDirectory() as folder:
        for precision, content in files.items():
            path = Path(folder) / f"{precision}.tflite"
            path.write_bytes(content)
            row[precision] = measure(path, macs, operators)
    if refused is not None:
        row["stock_int8"] = {"error": refused}
    for other in ("float32", "stock_int8"):
        if "instructions" in row[other] and "instructions" in row["int8"]:
            row[f"int8_of_{other}"] = round(row["int8"]["instructions"] / row[other]["instructions"], 3)
    return row


def table(rows: list[dict]) -> str:
    """For people, in Markdown; counts in millions."""
    lines = [
        ("model", "MACs", "float32", "int8", "stock int8", "int8 of float32", "int8 of stock"),
        (":--", *6 * ("--:",)),
    ]
    for row in rows:
        counts = [
            f"{row[kind]['instructions'] / 1e6:.1f}" if "instructions" in row[kind] else "aborts"
            for kind in ("float32", "int8", "stock_int8")
        ]
        ratios = [f"{row[key]:.2f}" if key in row else "-" for key in ("int8_of_float32", "int8_of_stock_int8")]
        lines.append((row["model"], f"{row['macs'] / 1e6:.0f}", *counts, *ratios))
    return table_of(lines)


def verdict(rows: list[dict]) -> list[str]:
    """Where the aims are met, and where not."""
    lines = []
    for key, aim in (("int8_of_float32", AIM_OF_FLOAT), ("int8_of_stock_int8", AIM_OF_STOCK)):
        ratios = {row["model"]: row[key] for row in rows if key in row}
        if ratios:
            above = ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items() if ratio > aim)
            middle = statistics.median(ratios.values())
            lines.append(f"{key}: median {middle:.3f}, aim {aim}; above it: {above or 'none'}")
    return lines


def operator_table(row: dict[str, Any], most: int = 15) -> str:
    """The operators that execute the most, of one file."""
    lines = []
    for each in row["operators"][:most]:
        share = each["instructions"] / row["instructions"]
        outside = "" if each["place"] == "xnnpack" else f"  ({each['place']})"
        lines.append(f"{each['instructions'] / 1e6:10.2f} M {share:6.1%} {each['calls']:4d} x  {each['name']}{outside}")
    return "\n".join(lines)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--side", type=int, default=224, help="of the images")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--operators", action="store_true", help="also by kind of operator")
    parser.add_argument("--files", nargs="*", type=Path, help="only this: these files")
    options = parser.parse_args()
    if options.files:
        for file in options.files:
            row = measure(file, None, options.operators)
            print(f"{file}: {row.get('error') or format(row['instructions'], ',')}", flush=True)
            if "operators" in row:
                print(operator_table(row))
        return
    rows = []
    for name in options.models:
        rows.append(compare(name, options.side, options.operators))
        print(json.dumps(rows[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n" + table(rows) + "\n")
    print("\n".join(verdict(rows)))
    if options.operators:
        for row in rows:
            for kind in ("float32", "int8", "stock_int8"):
                if "operators" in row[kind]:
                    print(f"\n{row['model']} {kind}\n{operator_table(row[kind])}")


if __name__ == "__main__":
    main()
