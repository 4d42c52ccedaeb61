"""What the files of `keras_effvit.lite` cost beside stock conversion and other networks, on this machine.

python benchmarks/lite.py [--models NAME ...] [--rounds 15] [--json results.json]
python benchmarks/lite.py --pixels efficientvit_b0

Every round runs each file once, one after the other, on one thread; a ratio is taken inside a round, and the median of
the ratios is printed. Stock is TensorFlow's converter with full-int8 quantisation and its own defaults. These are the
times of an x86 machine, not of a phone.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from text_table import table_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PRECISIONS = ("float32", "float16", "dynamic", "int8")
SIDE = 224


def calibration(count: int = 16, side: int = SIDE) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, side, side, 3)).astype(np.float32)


def alive(model):
    """The weights of the tests' golden outputs where there are some, others that keep a signal alive elsewhere."""
    from keras_effvit.weights import load_state_dict
    from tests.lite import conftest
    from tests.parity import Fixture

    if model.name in conftest.FIXTURES:
        load_state_dict(model, Fixture(conftest.FIXTURES[model.name]).state_dict())
        return model
    return conftest.alive(model)


def stock(model, images: np.ndarray | None) -> bytes | str:
    """TensorFlow's own conversion, to float or to int8 throughout, or why there is none."""
    import keras
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(model)
        signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")]
        archive.add_endpoint("serve", lambda image: model(image, training=False), input_signature=signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if images is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[None]] for image in images)
        try:
            return converter.convert()
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"


def measure(name: str, images: np.ndarray, rounds: int, references: dict[str, bytes], unseen: int = 0) -> dict:
    """One model in all precisions, beside its stock conversion and the references."""
    from keras_effvit import create_model, lite
    from keras_effvit.lite import inspect
    from keras_effvit.lite.comparison import file_outputs
    from keras_effvit.lite.timing import host_times, ratio

    model = alive(create_model(name, classifier_activation=None))
    row: dict[str, Any] = {"model": name}
    files: dict[str, bytes] = {}
    for precision in PRECISIONS:
        start = time.perf_counter()
        file = lite.convert(model, precision, calibration=images)
        facts: dict[str, Any] = {
            "seconds": round(time.perf_counter() - start, 1),
            "partitions": file.inspection.partitions,
            "outside": len(file.inspection.outside),
            "snr_db": round(file.parity.snr_db, 1),
            "agreement": file.parity.agreement,
            "megabytes": round(len(file.content) / 1e6, 2),
        }
        if unseen and precision == "int8":
            parity = lite.compare(model, file.content, calibration(len(images) + unseen)[len(images) :])
            facts["unseen"] = {"images": unseen, "agreement": parity.agreement, "snr_db": round(parity.snr_db, 1)}
        row[precision] = facts
        files[precision] = file.content
    theirs: dict[str, Any]
    plain = stock(model, images)
    if isinstance(plain, bytes):
        try:
            found = inspect(plain, invoke=True)
            file_outputs(plain, images[:4])  # zeros pass where images make a divisor 0
            theirs = {"partitions": found.partitions, "outside": len(found.outside)}
            files["stock_int8"] = plain
        except ValueError as error:
            theirs = {"error": str(error)[:160]}
    else:
        theirs = {"error": plain}
    row["stock_int8"] = theirs
    times = host_times({**files, **references}, rounds)
    row["milliseconds_float32"] = round(1000 * statistics.median(times["float32"]), 2)
    for precision in PRECISIONS[1:]:
        row[precision]["of_float32"] = round(ratio(times, precision, "float32"), 3)
    if "stock_int8" in files:
        row["stock_int8"]["of_our_int8"] = round(ratio(times, "stock_int8", "int8"), 2)
    row["float32_of"] = {other: round(ratio(times, "float32", other), 3) for other in references}
    row["int8_of"] = {other: round(ratio(times, "int8", other), 3) for other in references}
    row["peak_gigabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return row


def references() -> dict[str, bytes]:
    """The networks the papers compare with, stock-converted."""
    import keras

    nets = {
        "EfficientNetB0": keras.applications.EfficientNetB0(weights=None, classifier_activation=None),
        "EfficientNetB1": keras.applications.EfficientNetB1(weights=None, classifier_activation=None),
    }
    files = {name: stock(net, None) for name, net in nets.items()}
    side = nets["EfficientNetB1"].input_shape[1]  # 240, for which it was made
    files["EfficientNetB1 int8"] = stock(nets["EfficientNetB1"], 128 + 32 * calibration(4, side))
    return {name: content for name, content in files.items() if isinstance(content, bytes)}


#: Runs a file once in a process of its own and prints how many bytes that took beyond opening it.
MEMORY = """
import re, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

interpreter = Interpreter(model_content=open(sys.argv[1], "rb").read(), num_threads=1)
open("/proc/self/clear_refs", "w").write("5")  # the peak starts again from what is in use now
before = peak()
interpreter.allocate_tensors()
interpreter.invoke()
print(peak() - before)
"""


def by_pixels(name: str, rounds: int) -> list[dict]:
    """Time and memory per pixel of one model from small images to a street scene, all sizes in every round."""
    from keras_effvit import create_model
    from keras_effvit.lite.exporting import export_float
    from keras_effvit.lite.timing import host_times

    model = alive(create_model(name, input_shape=(None, None, 3), classifier_activation=None))
    sizes = [(224, 224), (448, 448), (512, 1024), (1024, 1024), (1024, 2048)]
    files = {size: export_float(model, image_shape=(*size, 3)) for size in sizes}
    times = host_times({f"{height}x{width}": content for (height, width), content in files.items()}, rounds)
    rows = []
    for (height, width), content in files.items():
        per_pixel = [seconds / (height * width) for seconds in times[f"{height}x{width}"]]
        first = [seconds / (224 * 224) for seconds in times["224x224"]]
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(content)
            file.flush()
            done = subprocess.run([sys.executable, "-c", MEMORY, file.name], capture_output=True, text=True, check=True)
        rows.append(
            {
                "size": f"{height}x{width}",
                "milliseconds": round(1000 * statistics.median(times[f"{height}x{width}"]), 2),
                "per_pixel_of_224": round(statistics.median(a / b for a, b in zip(per_pixel, first, strict=True)), 3),
                "bytes_per_pixel": round(int(done.stdout.split()[-1]) / (height * width)),
            }
        )
    return rows


def table(rows: list[dict]) -> str:
    """The README's table."""
    lines = [
        ("model", "float32 beside EfficientNet-B0", "int8 beside own float32", "stock int8 beside ours", "int8"),
        (":--", "--:", "--:", "--:", "--:"),
    ]
    for row in rows:
        theirs, ours = row["stock_int8"], row["int8"]
        stock = "aborts" if "error" in theirs else f"{theirs['of_our_int8']:.1f}x, {theirs['partitions']} partitions"
        beside = f"{row['float32_of']['EfficientNetB0']:.2f}x"
        size = f"{ours['snr_db']:.1f} dB, {ours['megabytes']:.1f} MB"
        lines.append((row["model"], beside, f"{ours['of_float32']:.2f}x", stock, size))
    return table_of(lines)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras_effvit import list_models

    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=list_models())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--unseen", type=int, default=0, help="so many other images to compare int8 and Keras on")
    parser.add_argument("--pixels", metavar="MODEL", help="only this: time and memory per pixel of one model")
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only this: the table of a JSON file")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    if options.pixels:
        for row in by_pixels(options.pixels, options.rounds):
            print(json.dumps(row), flush=True)
        return
    images, others, rows = calibration(), references(), []
    for name in options.models:
        rows.append(measure(name, images, options.rounds, others, options.unseen))
        print(json.dumps(rows[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    for key, title in (("of_float32", "int8 of own float32"),):
        values = [row["int8"][key] for row in rows]
        print(f"{title}: median {statistics.median(values):.3f}, worst {max(values):.3f}")
    faster = [row["stock_int8"]["of_our_int8"] for row in rows if "of_our_int8" in row["stock_int8"]]
    if faster:
        print(f"stock int8 of our int8: median {statistics.median(faster):.2f}, of {len(faster)} models that run")


if __name__ == "__main__":
    main()
