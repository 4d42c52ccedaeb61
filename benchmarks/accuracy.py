"""What every precision costs in accuracy: a small model of each family, trained here, converted, measured.

    python benchmarks/accuracy.py [--families NAME ...] [--data drawn digits] [--jobs 2] [--json RESULTS]
    python benchmarks/accuracy.py --table tflite/results/accuracy.json

The models are EfficientViT-B0 and, of the other families, the smallest variant with fewer blocks (`small_specs`). On
the drawn data set a model is trained from nothing; on scikit-learn's handwritten digits (the extra `benchmark`) the
same model goes on from there, as a user's would. The files are run on all test images by LiteRT: float32, float16,
dynamic, int8 calibrated with training images, TensorFlow's own int8 conversion, and int8 after quantisation-aware
training. A drop is in points of the float32 file's accuracy; beside it stands on how many images a file and the float32
file agree, which says more than a difference of two accuracies can.

Every row is written as soon as it is there, and every epoch is kept in `--folder`: a run that was killed goes on, and
rows of the same settings stay. A row tells the processor's seconds, which grow by up to a third beside other work;
those of a resumed one are only what was left to do. Models so small leave half of two cores idle: with `--jobs 2` two
families are at work at once, each in a process of its own, whose words are in `--folder`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from text_table import table_of

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
DATA = ("drawn", "digits")
PRECISIONS = ("float32", "float16", "dynamic", "int8")
KINDS = (*PRECISIONS, "stock_int8", "int8_qat")
#: Two windows of SepViT and one of LightViT across the first map.
SIDE = 56
CALIBRATION = 256
#: What a precision may lose, in points of accuracy; where it loses more, the row tells the layers.
ALLOWED = {"int8": 0.5, "int8_qat": 0.1}
#: Where int8 loses more, the row also tells what is lost with these layers in float: rounding errors of the first ones
#: go through all others.
FRONT = "stem"


@dataclass(frozen=True)
class Budget:
    """What a data set takes to learn.

    Attributes:
        train: images to learn from.
        test: images to measure on: so many that the allowed drops are whole numbers of them.
        epochs: in float.
        rate: of the model's own, the share in float.
        rounded_epochs: in rounded numbers.
    """

    train: int
    test: int
    epochs: int
    rate: float
    rounded_epochs: int


BUDGETS = {"drawn": Budget(8000, 5000, 5, 1.0, 2), "digits": Budget(797, 1000, 12, 0.5, 6)}
#: The highest learning rate of each family's model, for batches of 32.
RATES = {"sepvit": 5e-4, "lvt": 1e-3, "lightvit": 2e-3, "efficientvit": 3e-3}


def small_specs() -> dict[str, tuple[Any, Any]]:
    """The functions of each family and the row of its small model."""
    from keras_effvit.models import efficientvit_b, lightvit, lvt, sepvit

    return {
        "sepvit": (sepvit.FAMILY, replace(sepvit.SEPVIT["Lite"], depths=(1, 1, 2, 1))),
        "lvt": (lvt.FAMILY, replace(lvt.LVT_ROWS["LVT"], depths=(1, 1, 1, 1))),
        "lightvit": (
            lightvit.FAMILY,
            replace(lightvit.LIGHTVIT["Tiny"], channels=(32, 64, 128), depths=(1, 2, 2)),
        ),
        "efficientvit": (efficientvit_b.FAMILY, efficientvit_b.EFFICIENTVIT_B["B0"]),
    }


def images_of(name: str) -> tuple[Any, Any]:
    """Training and test images of a data set."""
    from keras_effvit.training import arrays, drawn
    from keras_effvit.training.drawing import EASY

    budget = BUDGETS[name]
    if name == "drawn":
        return drawn(budget.train, SIDE, seed=0, **EASY), drawn(budget.test, SIDE, seed=1, **EASY)
    try:
        from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports]: it is asked for below
    except ModuleNotFoundError:
        raise SystemExit("the digits are scikit-learn's: pip install '.[benchmark]', or --data drawn") from None
    from PIL import Image

    digits = load_digits()
    scaled = (255 / 16 * digits.images).astype(np.uint8)
    pixels = np.stack(
        [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in scaled]
    )
    numbers = np.random.default_rng(0).permutation(len(pixels))
    everything = arrays(pixels, digits.target, [str(digit) for digit in range(10)])
    return everything.subset(numbers[: budget.train]), everything.subset(numbers[-budget.test :])


def gather(images: Any) -> tuple[np.ndarray, np.ndarray]:
    """All images as models take them, and their labels."""
    from keras_effvit.preprocessing import Evaluation
    from keras_effvit.training import evaluation_batches

    batches = evaluation_batches(images, evaluation=Evaluation(SIDE, SIDE), batch_size=256)
    return np.concatenate([x.numpy() for x, _ in batches]), images.labels


def recipe(name: str, data: str) -> Any:
    """The paper's recipe for so few images and steps: its optimiser and clipping, and little else."""
    from keras_effvit.training import Augment, recipe_for

    return replace(
        recipe_for(name).fine_tune(),
        name="accuracy",
        batch_size=32,
        learning_rate=RATES[name] * BUDGETS[data].rate,
        final_rate=0.0,
        warmup_epochs=1.5,  # of 30: a twentieth of the steps
        weight_decay=0.01,
        clip=1.0,
        loss="softmax",
        label_smoothing=0.0,
        ema=None,
        statistics_images=2000,
        augment=Augment(flip=0.5 if data == "drawn" else 0.0),
    )


def settings(name: str, data: str, before: list[str]) -> dict[str, Any]:
    """What decides a row; rows of other settings are made anew."""
    budgets = {each: asdict(BUDGETS[each]) for each in (*before, data)}
    return {"side": SIDE, "calibration": CALIBRATION, "rate": RATES[name], "budgets": budgets}


def create(name: str) -> Any:
    """A model without stochastic depth, which so few steps have no use for."""
    import keras

    from keras_effvit.models.assemble import DEFAULTS, assemble

    keras.utils.set_random_seed(0)
    own = {"input_shape": (SIDE, SIDE, 3), "classes": 10, "classifier_activation": None, "drop_path_rate": 0.0}
    return assemble(*small_specs()[name], **{**DEFAULTS, **own})


def logits(content: bytes, images: np.ndarray) -> np.ndarray:
    from keras_effvit.lite.comparison import file_outputs

    [found] = file_outputs(content, images).values()
    return found


def processor_seconds() -> float:
    """Of this process and of the children that are over."""
    return sum(os.times()[:4])


def train_float(name: str, model: Any, data: str, train: Any, folder: Path) -> None:
    """Trains a model on a data set, or loads what came of it before."""
    recipe(name, data).fit(model, train, epochs=BUDGETS[data].epochs, batch_size=32, verbose=2, folder=folder / "float")


def measure(name: str, model: Any, data: str, images: tuple[Any, Any], folder: Path) -> dict[str, Any]:
    """A model on a data set, which it goes on learning, in every precision."""
    from lite import stock

    from keras_effvit import lite

    train, test = images
    row: dict[str, Any] = {"model": name, "data": data, "resumed": folder.exists(), "seconds": {}}
    clock = Clock(row["seconds"])
    train_float(name, model, data, train, folder)
    clock.stop("training")
    pixels, labels = gather(test)
    calibration = gather(train.subset(range(CALIBRATION)))[0]
    files = {each: lite.convert(model, each, calibration=calibration).content for each in PRECISIONS}
    theirs = stock(model, calibration)
    clock.stop("converting")
    rounded = recipe(name, data).finetune_quantized(
        model, train, epochs=BUDGETS[data].rounded_epochs, batch_size=64, verbose=2, folder=folder / "rounded"
    )
    files["int8_qat"] = lite.convert(rounded).content
    clock.stop("rounded_training")
    exact = logits(files["float32"], pixels).argmax(-1)
    row |= {kind: accuracy(files.get(kind, theirs), pixels, labels, exact) for kind in KINDS}
    clock.stop("measuring")
    for kind, allowed in ALLOWED.items():
        if row[kind]["drop"] > allowed:
            row[kind]["layers"] = noisiest(model, files[kind], pixels)
    if "layers" in row["int8"]:
        island = lite.convert(model, "int8", calibration=calibration, islands=[FRONT])
        row["int8"]["float_front"] = accuracy(island.content, pixels, labels, exact)
    return row


class Clock:
    """Writes down what parts of the work cost, in seconds of one processor."""

    def __init__(self, seconds: dict[str, int]):
        self.seconds = seconds
        self.last = processor_seconds()

    def stop(self, part: str) -> None:
        now = processor_seconds()
        self.seconds[part], self.last = round(now - self.last), now


def noisiest(model: Any, content: bytes, images: np.ndarray) -> list[dict[str, Any]]:
    """The ten layers after which the file is farthest from Keras, in decibels: the mean over sixteen images."""
    from keras_effvit import lite

    found: dict[str, list[float]] = {}
    for image in images[:16]:
        for error in lite.walk(model, content, image):
            found.setdefault(error.layer, []).append(error.snr_db)
    means = {layer: round(float(np.mean(each)), 1) for layer, each in found.items()}
    return [{"layer": layer, "snr_db": means[layer]} for layer in sorted(means, key=lambda name: means[name])[:10]]


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
    right, before = int(np.sum(found == labels)), int(np.sum(exact == labels))
    return {
        "accuracy": right / len(labels),
        "drop": round(100 * (before - right) / len(labels), 3),
        "agreement": float(np.mean(found == exact)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Accuracies in percent, and the difference in points, as the README has them."""
    lines = [("data", "model", *(kind.replace("_", " ") for kind in KINDS)), (":--", ":--", *("--:" for _ in KINDS))]
    lines += [(row["data"], row["model"], *(_cell(row[kind], kind) for kind in KINDS)) for row in rows]
    return table_of(lines)


def _cell(found: dict[str, Any], kind: str) -> str:
    if "error" in found:
        return "aborts"
    return f"{found['accuracy']:.2%}" + ("" if kind == "float32" else f" ({0.0 - found['drop']:+.2f})")


def read(path: Path | None) -> list[dict[str, Any]]:
    """A record's rows of the models that there are."""
    rows = json.loads(path.read_text())["rows"] if path is not None and path.exists() else []
    return [row for row in rows if row["model"] in RATES]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    from keras_effvit.atomic import write_json
    from keras_effvit.training.runs import versions

    machine = {"cores": os.cpu_count(), "processor": platform.machine()}
    write_json(path, {"machine": machine, "versions": versions(), "rows": rows})


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows, of which those that are there already are kept."""
    rows = read(options.json)
    images = {name: images_of(name) for name in options.data}
    for name in options.families:
        model, before = create(name), []
        for data, both in images.items():
            wanted, folder = settings(name, data, before), options.folder / name / "-".join((*before, data))
            before.append(data)
            if any((row["model"], row["data"], row["settings"]) == (name, data, wanted) for row in rows):
                train_float(name, model, data, both[0], folder)
                continue
            row = {**measure(name, model, data, both, folder), "settings": wanted}
            rows = merged(rows, [row])
            print(json.dumps(row), flush=True)
            if options.json:
                write(options.json, rows)
    return rows


def merged(rows: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the table's order, the new ones in place of old ones of the same model and data."""
    named = {(row["model"], row["data"]): row for row in [*rows, *new]}
    return sorted(named.values(), key=lambda row: (DATA.index(row["data"]), list(RATES).index(row["model"])))


def run_side_by_side(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows, of several families at once; each has a share of the cores."""
    rows = read(options.json)
    threads = str(max(1, (os.cpu_count() or 1) // options.jobs))
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    options.folder.mkdir(parents=True, exist_ok=True)

    def one(name: str) -> list[dict[str, Any]]:
        own = options.folder / f"{name}.json"
        write(own, merged([row for row in rows if row["model"] == name], read(own)))
        words = [sys.executable, __file__, "--families", name, "--data", *options.data, "--jobs", "1"]
        with (options.folder / f"{name}.log").open("a") as log:
            done = subprocess.run(
                [*words, "--json", str(own), "--folder", str(options.folder)],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"{name} failed; what it said is in {log.name}")
        return read(own)

    with ThreadPoolExecutor(options.jobs) as pool:
        for name, found in zip(options.families, pool.map(one, options.families), strict=True):
            print(f"{name} is done", file=sys.stderr)
            rows = merged(rows, found)
            if options.json:
                write(options.json, rows)
    return rows


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--families", nargs="*", default=list(RATES), choices=list(RATES))
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=DATA)
    parser.add_argument("--json", type=Path, help="where the rows are written, and kept ones come from")
    parser.add_argument("--folder", type=Path, default=Path("artifacts/accuracy"), help="of the training runs")
    parser.add_argument("--jobs", type=int, default=1, help="families at work at once")
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only this: the table of a JSON file")
    options = parser.parse_args()
    run_all = run if options.jobs == 1 else run_side_by_side
    print(table(read(options.table) if options.table else run_all(options)))


if __name__ == "__main__":
    main()
