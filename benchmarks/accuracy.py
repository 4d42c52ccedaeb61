"""What every precision costs in accuracy: a small model of each family, trained here, converted, measured.

    python benchmarks/accuracy.py [--models NAME ...] [--data drawn digits] [--json tflite/results/accuracy.json]
    python benchmarks/accuracy.py --table tflite/results/accuracy.json

On the drawn data set a model is trained from nothing; on scikit-learn's handwritten digits (`pip install scikit-learn`)
the same model goes on from there, as a user's would. The files are run on all test images by LiteRT: float32, float16,
dynamic, int8 calibrated with training images, TensorFlow's own int8 conversion, and int8 after quantisation-aware
training. A drop is in points of the float32 file's accuracy; beside it stands on how many images a file and the float32
file agree, which says more than a difference of two accuracies can.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
MODELS = ("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_b0")
DATA = ("drawn", "digits")
PRECISIONS = ("float32", "float16", "dynamic", "int8")
#: Eight windows of seven pixels: what SepViT and LightViT cut without padding.
SIDE = 56
CALIBRATION = 128


@dataclass(frozen=True)
class Budget:
    """What a data set takes to learn: images, and epochs in float and in rounded numbers."""

    train: int
    test: int
    epochs: int
    rate: float
    rounded_epochs: int


BUDGETS = {"drawn": Budget(6000, 3000, 10, 1e-3, 1), "digits": Budget(1200, 597, 8, 5e-4, 2)}


def images_of(name: str) -> tuple[Any, Any]:
    """Training and test images of a data set."""
    from keras_effvit.training import arrays, drawn

    budget = BUDGETS[name]
    if name == "drawn":
        return drawn(budget.train, SIDE, seed=0, clutter=0.0), drawn(budget.test, SIDE, seed=1, clutter=0.0)
    try:
        from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports]: it is asked for below
    except ModuleNotFoundError:
        raise SystemExit("the digits are scikit-learn's: pip install scikit-learn, or --data drawn") from None
    from PIL import Image

    digits = load_digits()
    scaled = (255 / 16 * digits.images).astype(np.uint8)
    pixels = np.stack(
        [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in scaled]
    )
    numbers = np.random.default_rng(0).permutation(len(pixels))
    everything = arrays(pixels, digits.target, [str(digit) for digit in range(10)])
    return everything.subset(numbers[: budget.train]), everything.subset(numbers[budget.train :])


def gather(images: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images as models take them, and their labels."""
    from keras_effvit.preprocessing import Evaluation
    from keras_effvit.training import evaluation_batches

    batches = evaluation_batches(images, evaluation=Evaluation(SIDE, SIDE), batch_size=256)
    return np.concatenate([x.numpy() for x, _ in batches]), images.labels


def recipe(name: str, budget: Budget) -> Any:
    """The paper's recipe for so few images: its optimiser, decay, clipping and loss, and little else."""
    from keras_effvit.training import Augment, recipe_for

    return replace(
        recipe_for(name).fine_tune(),
        name="accuracy",
        batch_size=32,
        learning_rate=budget.rate,
        label_smoothing=0.05,
        ema=None,
        statistics_images=0,
        augment=Augment(),
    )


def logits(content: bytes, images: np.ndarray) -> np.ndarray:
    from keras_effvit.lite.comparison import file_outputs

    [found] = file_outputs(content, images).values()
    return found


def measure(model: Any, data: str, train: Any, test: Any) -> dict[str, Any]:
    """A model on a data set, which it goes on learning, in every precision."""
    from lite import stock

    from keras_effvit import lite

    budget, ours = BUDGETS[data], recipe(model.name, BUDGETS[data])
    row: dict[str, Any] = {"model": model.name, "data": data, "train": len(train), "test": len(test)}
    start = time.perf_counter()
    ours.fit(model, train, epochs=budget.epochs, batch_size=32, verbose=2)
    row["seconds_training"] = round(time.perf_counter() - start)
    images, labels = gather(test)
    calibration = gather(train.subset(range(CALIBRATION)))[0]
    float_file = lite.convert(model, "float32", calibration=calibration).content
    files: dict[str, bytes | str] = {"float32": float_file}
    files |= {each: lite.convert(model, each, calibration=calibration).content for each in PRECISIONS[1:]}
    files["stock_int8"] = stock(model, calibration)
    start = time.perf_counter()
    rounded = ours.finetune_quantized(model, train, epochs=budget.rounded_epochs, batch_size=32, verbose=2)
    row["seconds_rounded"] = round(time.perf_counter() - start)
    files["int8_qat"] = lite.convert(rounded).content
    exact = logits(float_file, images).argmax(-1)
    for precision, content in files.items():
        row[precision] = accuracy(content, images, labels, exact)
    return row


def accuracy(content: bytes | str, images: np.ndarray, labels: np.ndarray, exact: np.ndarray) -> dict[str, Any]:
    """Share of right answers, what float32 has more of them in points, and on how many images both agree."""
    from keras_effvit.lite import inspect

    if isinstance(content, str):
        return {"error": content}
    try:
        inspect(content, invoke=True)  # in a process of its own, which stock files may abort
        found = logits(content, images).argmax(-1)
    except ValueError as error:
        return {"error": str(error)[:160]}
    right = float(np.mean(found == labels))
    return {
        "accuracy": right,
        "drop": 100 * (float(np.mean(exact == labels)) - right),
        "agreement": float(np.mean(found == exact)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracies in percent, and the drop in points, as the README has them."""
    kinds = (*PRECISIONS, "stock_int8", "int8_qat")
    lines = [("data", "model", *(kind.replace("_", " ") for kind in kinds)), (":--", ":--", *("--:" for _ in kinds))]
    lines += [(row["data"], row["model"], *(_cell(row[kind], kind) for kind in kinds)) for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(found: dict[str, Any], kind: str) -> str:
    if "error" in found:
        return "aborts"
    return f"{found['accuracy']:.2%}" + ("" if kind == "float32" else f" ({-found['drop']:+.2f})")


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=DATA)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only this: the table of a JSON file")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    import keras

    import keras_effvit

    data = {name: images_of(name) for name in options.data}
    rows = []
    for name in options.models:
        keras.utils.set_random_seed(0)
        model = keras_effvit.create_model(name, input_shape=(SIDE, SIDE, 3), classes=10, classifier_activation=None)
        for each, (train, test) in data.items():
            rows.append(measure(model, each, train, test))
            print(json.dumps(rows[-1]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
