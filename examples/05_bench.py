"""Measures two models in float32 and int8 on the attached phone, and writes the record and a page about it.

Without a phone the same program measures this machine, and says so: those figures are not a phone's. A phone needs USB
debugging, and this machine `adb`. The small setting shows the way; `--side 224 --rounds 5` measures.

    python examples/05_bench.py [--models sepvit_lite efficientvit_b0] [--side 64] [--rounds 2] [--host]
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_effvit
from keras_effvit import device, lite, report
from keras_effvit.device.errors import AdbMissing, NoDevice
from keras_effvit.report.rows import rows


def attached_phone() -> device.Phone | None:
    try:
        return device.Adb().phone()
    except (AdbMissing, NoDevice) as missing:
        print(f"No phone: {missing}")
        return None


def liven(model: keras.Model) -> None:
    """Stands in for training: a signal that stays one, for the ranges of int8. Latency does not depend on weights."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "kernel":
            depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1
            fan_in = np.prod(weight.shape[:2] if depthwise else weight.shape[:-1])
            weight.assign(rng.normal(0, (1.5 / fan_in) ** 0.5, weight.shape))


def convert(names: list[str], side: int, folder: Path) -> dict[str, Path]:
    """Files by name, each with its manifest beside it, where the report finds what there is to say of them."""
    images = np.random.default_rng(0).standard_normal((4, side, side, 3)).astype("float32")
    files = {}
    for name in names:
        model = keras_effvit.create_model(name, input_shape=(side, side, 3), classifier_activation=None)
        liven(model)
        for precision in ("float32", "int8"):
            converted = lite.convert(model, precision, calibration=images)
            files[f"{name}_{precision}"] = converted.save_artifacts(folder)
    return files


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["sepvit_lite", "efficientvit_b0"])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn, at the least")
    parser.add_argument("--host", action="store_true", help="measure this machine, whatever is attached")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bench"))
    options = parser.parse_args()
    phone = None if options.host else attached_phone()
    files = convert(options.models, options.side, options.folder)

    record = options.folder / f"latency-{'phone' if phone else 'host'}.json"
    record.unlink(missing_ok=True)  # a record that is there would be gone on with
    listeners = device.Listeners(output=record, warn=print)
    plan = device.Plan(runs=10, seconds=options.seconds)
    if phone is None:
        print("Measuring this machine, on one thread. These figures are not a phone's.")
        run = device.bench_host(files, device.Schedule(rounds=options.rounds, plan=plan), listeners=listeners)
    else:  # on one thread, and on as many as it has big cores
        schedule = device.Schedule(threads=(), rounds=options.rounds, plan=plan)
        run = device.bench_phone(files, phone, schedule, listeners=listeners)
    report.print_run(run, rows(run))
    print(f"record {record}")
    print(f"page   {report.build(options.folder, options.folder / 'report')}")


if __name__ == "__main__":
    main()
