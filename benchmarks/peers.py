"""Our families beside the convolutional networks that phones run today, float32 and int8, in one interleaved run.

python benchmarks/peers.py [-s SERIAL] [--rounds 7] [--output tflite/results/peers-host.json]
python benchmarks/peers.py --table tflite/results/peers-host.json

The peers are converted as their users convert them, by TensorFlow's converter; ours by `keras_effvit.lite`. Weights are
drawn: they change no latency. Without a phone the times are this machine's, which are not a phone's.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from text_table import table_of

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
RESULTS = ROOT / "tflite" / "results" / "peers-host.json"
#: What networks were made for, where that is not 224.
OWN_SIDES = {"EfficientNetB1": 240}
PEERS = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetB1")
OURS = ("efficientvit_b0", "efficientvit_base", "efficientvit_b1", "sepvit_lite", "lvt", "lightvit_tiny")
YARDSTICK = "MobileNetV3Large"
PRECISIONS = ("float32", "int8")


def peer_files(name: str, folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    import keras
    from lite import SIDE, calibration, stock

    from keras_effvit import lite

    side = OWN_SIDES.get(name, SIDE)
    net = getattr(keras.applications, name)(weights=None, classifier_activation=None, input_shape=(side, side, 3))
    images = 127.5 + 50 * calibration(8, side)  # they take pixels
    files = {}
    for precision in PRECISIONS:
        content = stock(net, None if precision == "float32" else images)
        if isinstance(content, str):
            raise SystemExit(f"{name} does not convert to {precision}: {content}")
        path = folder / f"{name}_{precision}.tflite"
        path.write_bytes(content)
        facts = {"model": name, "precision": precision, "params": net.count_params()}
        files[path.stem] = path, {**facts, "partitions": lite.inspect(content).partitions}
    return files


def our_files(name: str, folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    from lite import alive, calibration

    from keras_effvit import create_model, lite, model_info

    model, info, files = alive(create_model(name, classifier_activation=None)), model_info(name), {}
    for precision in PRECISIONS:
        converted = lite.convert(model, precision, calibration=calibration())
        path = converted.save(folder / f"{name}_{precision}.tflite")
        facts = {"model": name, "precision": precision, "params": info.params, "macs": info.macs}
        files[path.stem] = path, {**facts, "partitions": converted.inspection.partitions}
    return files


def bench(
    files: Mapping[str, tuple[Path, dict[str, Any]]],
    rounds: int,
    output: Path,
    serial: str | None = None,
    profile_runs: int = 0,
) -> None:
    """Measures files on a phone, or on this machine without one; a record that was there is replaced.

    Args:
        files: paths, and what there is to say of them, by name.
        rounds: of the run.
        output: the record.
        serial: of the phone.
        profile_runs: inferences to profile every file by.
    """
    from keras_effvit.device.adb import Adb
    from keras_effvit.device.benchmark import Schedule
    from keras_effvit.device.session import Listeners, bench_host, bench_phone

    listeners = Listeners(
        facts={name: facts for name, (_, facts) in files.items()},
        output=output,
        progress=lambda done, total, text: print(f"{done}/{total} {text}", file=sys.stderr),
        warn=lambda text: print(f"warning: {text}", file=sys.stderr),
    )
    paths, schedule = (
        {name: path for name, (path, _) in files.items()},
        Schedule(rounds=rounds, profile_runs=profile_runs),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    if serial:
        bench_phone(paths, Adb().phone(serial), schedule, listeners=listeners)
    else:
        bench_host(paths, schedule, listeners=listeners)


def measure(serial: str | None, rounds: int, output: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, tuple[Path, dict[str, Any]]] = {}
        for name in PEERS:
            files |= peer_files(name, Path(folder))
        for name in OURS:
            files |= our_files(name, Path(folder))
        bench(files, rounds, output, serial)


def table(path: Path) -> str:
    """In Markdown: every model in both precisions, and how many times the yardstick's time it takes."""
    from keras_effvit.report.records import Run, Series

    run = Run.load(path)
    series = {(each.facts["model"], each.facts["precision"]): each for each in run.series}

    def times(one: Series, other: Series) -> str:
        """The median of the ratios inside the rounds."""
        rounds = zip(one.rounds, other.rounds, strict=True)
        return f"{statistics.median(a.median_ms / b.median_ms for a, b in rounds):.2f}x"

    lines: list[Sequence[str]] = [
        ("model", "parameters", *(f"{p} ms" for p in PRECISIONS), *(f"{p} of {YARDSTICK}'s" for p in PRECISIONS),
         "int8 of own float32", "int8 partitions"),
        (":--", *("--:",) * 7),
    ]  # fmt: skip
    for name in dict.fromkeys(each.facts["model"] for each in run.series):
        own = [series[name, precision] for precision in PRECISIONS]
        yardsticks = [series[YARDSTICK, precision] for precision in PRECISIONS]
        lines.append(
            (
                *(name, f"{own[0].facts['params'] / 1e6:.1f} M"),
                *(f"{each.median_ms:.2f}" for each in own),
                *(times(*pair) for pair in zip(own, yardsticks, strict=True)),
                *(times(own[1], own[0]), str(own[1].facts["partitions"])),
            )
        )
    return table_of(lines)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", "--serial", help="of the phone to measure on; this machine without")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only this: the table of a JSON file")
    options = parser.parse_args()
    if options.table is None:
        measure(options.serial, options.rounds, options.output)
    print(table(options.table or options.output))


if __name__ == "__main__":
    main()
