"""EfficientViT's segmenters on large images: time and memory as the image grows, in one interleaved run.

python benchmarks/large_images.py [--models efficientvit_b0 ...] [--rounds 5] [--output RESULTS]
python benchmarks/large_images.py --table tflite/results/large-images-host.json

Attention of linear cost is what makes a time per pixel that does not grow. Weights are drawn: they change no latency.
Every turn is a process of its own, whose largest memory is in the record. The times are this machine's, not a phone's.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from text_table import table_of

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
RESULTS = ROOT / "tflite" / "results" / "large-images-host.json"
SIZES = ((512, 512), (512, 1024), (1024, 2048))
#: What a time per pixel is held against.
YARDSTICK = (512, 1024)
#: Inferences under the profiler, and the least share of the time that makes an operator worth a row.
PROFILE_RUNS, LEAST_SHARE = 10, 0.02


def write_file(backbone: str, size: tuple[int, int], folder: Path) -> tuple[Path, dict]:
    """A segmenter's float32 file, logits at an eighth of the image, and what there is to say of it."""
    from lite import alive

    from keras_effvit import lite
    from keras_effvit.tasks import EfficientViTSegB

    model = alive(EfficientViTSegB(backbone, input_shape=(*size, 3), resize=False))
    converted = lite.convert(model, "float32")
    path = converted.save(folder / f"{backbone}_{size[0]}x{size[1]}.tflite")
    return path, {
        "model": f"{backbone} segmenter",
        "size": list(size),
        "params": model.count_params(),
        "partitions": converted.inspection.partitions,
        "outside": len(converted.inspection.outside),
    }


def measure(backbones: Sequence[str], rounds: int, output: Path) -> None:
    from peers import bench

    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for backbone in backbones:
            for size in SIZES:
                path, facts = write_file(backbone, size, Path(folder))
                files[path.stem] = path, facts
        bench(files, rounds, output, profile_runs=PROFILE_RUNS)


def read(path: Path) -> dict[tuple[str, tuple[int, int]], Any]:
    """A record's series by model and size."""
    from keras_effvit.report.records import Run

    return {(each.facts["model"], tuple(each.facts["size"])): each for each in Run.load(path).series}


def growth(size: tuple[int, int]) -> float:
    """How many times the yardstick's pixels an image has."""
    return size[0] * size[1] / (YARDSTICK[0] * YARDSTICK[1])


def table(path: Path) -> str:
    """In Markdown: every size, and its time per pixel as a share of the yardstick's, the median inside the rounds."""
    series = read(path)
    lines: list[Sequence[str]] = [
        (
            "model",
            "image",
            "partitions",
            "ms",
            "ns a pixel",
            f"a pixel, of {YARDSTICK[0]} x {YARDSTICK[1]}'s",
            "peak MB",
        ),
        (":--", *("--:",) * 6),
    ]
    for (model, size), own in series.items():
        pixels, other = size[0] * size[1], series[model, YARDSTICK]
        ratios = [a.median_ms / b.median_ms / growth(size) for a, b in zip(own.rounds, other.rounds, strict=True)]
        peaks = [each.peak_memory_kb for each in own.rounds if each.peak_memory_kb is not None]
        lines.append(
            (
                *(model, f"{size[0]} x {size[1]}", str(own.facts["partitions"])),
                *(f"{own.median_ms:.1f}", f"{1e6 * own.median_ms / pixels:.0f}"),
                *(f"{statistics.median(ratios):.2f}x", f"{max(peaks) / 1000:.0f}" if peaks else "unknown"),
            )
        )
    return table_of(lines)


def operators_table(path: Path) -> str:
    """In Markdown: the largest image's operators, and what a pixel of it costs each, of the yardstick's."""
    series = read(path)
    lines: list[Sequence[str]] = [
        ("operator of XNNPACK", "calls", "share", "a pixel, of the smaller one's"),
        (":--", *("--:",) * 3),
    ]
    for (model, size), own in series.items():
        if size != SIZES[-1]:
            continue
        whole = sum(each.microseconds for each in own.profile)
        before = {(each.name, each.place): each.microseconds for each in series[model, YARDSTICK].profile}
        lines += [
            (
                *(each.name, str(each.calls), f"{each.microseconds / whole:.0%}"),
                f"{each.microseconds / before[each.name, each.place] / growth(size):.2f}x",
            )
            for each in own.profile
            if each.microseconds >= LEAST_SHARE * whole
        ]
    return table_of(lines)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["efficientvit_b0"], help="backbones of the segmenters")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only this: the table of a JSON file")
    options = parser.parse_args()
    if options.table is None:
        measure(options.models, options.rounds, options.output)
    print(table(options.table or options.output))
    print()
    print(operators_table(options.table or options.output))


if __name__ == "__main__":
    main()
