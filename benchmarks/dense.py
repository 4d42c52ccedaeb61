"""Trains a segmenter and a detector on drawn scenes, and measures what every precision costs them.

    python benchmarks/dense.py [--tasks segmenter detector] [--json tflite/results/dense.json] [--pictures FOLDER]
    python benchmarks/dense.py --table tflite/results/dense.json

Both start from nothing. Minutes are those of the processor, all cores together, for training alone; they grow by
up to a third beside other work. With `TF_NUM_INTRAOP_THREADS=1` both can train at once, each on a core. The files are
run by LiteRT on all test scenes; a drop is in points of the float32 file's mIoU or AP50.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from text_table import table_of

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]
PRECISIONS = ("float32", "dynamic", "int8")
CALIBRATION = 128


@dataclass(frozen=True)
class Budget:
    """What a task takes to learn."""

    backbone: str
    side: int
    train: int
    test: int
    epochs: int
    rate: float
    batch: int = 8
    #: Of things, as a share of the scene.
    radius: tuple[float, float] = (0.15, 0.3)


BUDGETS = {
    "segmenter": Budget("efficientvit_b0", 96, 6000, 500, 10, 3e-3, radius=(0.2, 0.33)),
    "detector": Budget("efficientvit_b0", 96, 3000, 500, 8, 2e-3),
}
#: How many there are in a scene.
THINGS = (1, 3)
#: Of SegFormer's decoder, which is made for 150 classes: a quarter of it.
CHANNELS = 64


def scenes_of(budget: Budget) -> tuple[Any, Any]:
    """Training and test scenes, drawn once."""
    from keras_effvit.tasks.scenes import drawn_scenes

    size = budget.side, budget.side
    counts = budget.train, budget.test
    drawn = (drawn_scenes(n, size, seed, things=THINGS, radius=budget.radius) for seed, n in enumerate(counts))
    train, test = (scenes.in_memory() for scenes in drawn)
    return train, test


def learnt(task: str, budget: Budget, train: Any) -> tuple[Any, float]:
    """A trained model, and the minutes of processor time that it took."""
    from keras_effvit.tasks.changes import Change
    from keras_effvit.tasks.detection_losses import yolox_loss
    from keras_effvit.tasks.fitting import fit_detector, fit_segmenter
    from keras_effvit.tasks.segformer import SegFormer
    from keras_effvit.tasks.yolox import EfficientViTDet

    shape = budget.side, budget.side, 3
    common: dict[str, Any] = {
        "epochs": budget.epochs,
        "batch_size": budget.batch,
        "learning_rate": budget.rate,
        "change": Change(flip=0.5),
        "verbose": 2,
    }
    start = time.process_time()
    if task == "segmenter":
        model = SegFormer(budget.backbone, classes=len(train.semantic_classes), input_shape=shape, channels=CHANNELS)
        fit_segmenter(model, train, **common)
    else:
        model = EfficientViTDet(budget.backbone, classes=len(train.classes), input_shape=shape)
        # Boxes of a new model touch nothing; with GIoU they find their way.
        fit_detector(model, train, loss=partial(yolox_loss, overlap="giou"), **common)
    return model, (time.process_time() - start) / 60


def figures(task: str, model: Any, test: Any) -> dict[str, float]:
    """What a model or a file reaches."""
    from keras_effvit.tasks.measuring import measure_detector, measure_segmenter

    if task == "segmenter":
        found = measure_segmenter(model, test)
        return {"miou": found.mean, "pixel_accuracy": found.pixel_accuracy}
    found = measure_detector(model, test)
    return {"ap50": found.ap50, "ap": found.ap}


def measure(task: str, budget: Budget, pictures: Path | None) -> dict[str, Any]:
    """A task from scenes to files."""
    from keras_effvit import lite
    from keras_effvit.preprocessing import preprocess_input
    from keras_effvit.tasks.pictures import detection_grid, segmentation_grid

    train, test = scenes_of(budget)
    model, minutes = learnt(task, budget, train)
    row: dict[str, Any] = {"task": task, **vars(budget), "cpu_minutes": round(minutes, 2)}
    row["keras"] = figures(task, model, test)
    print(json.dumps(row), flush=True)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        model.save(pictures / f"{task}.keras")
        grid = segmentation_grid if task == "segmenter" else detection_grid
        grid(model, test.subset(range(12)), pictures / f"{task}.png")
    images = np.stack([train[place].image for place in range(CALIBRATION)])
    calibration = preprocess_input(images.astype("float32"))
    for precision in PRECISIONS:
        converted = lite.convert(model, precision, calibration=calibration)
        row[precision] = figures(task, converted.content, test) | {"bytes": len(converted.content)}
        print(json.dumps(row), flush=True)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Figures in percent, and the drop in points."""
    head = ("task", "backbone", "side", "CPU minutes", "figure", "Keras", *PRECISIONS)
    lines = [head, (":--", ":--", *("--:" for _ in head[2:]))]
    for row in rows:
        name = "miou" if row["task"] == "segmenter" else "ap50"
        exact = row["float32"][name]
        cells = [
            f"{row[p][name]:.2%}" + ("" if p == "float32" else f" ({100 * (row[p][name] - exact):+.2f})")
            for p in PRECISIONS
        ]
        facts = (
            row["task"],
            row["backbone"],
            str(row["side"]),
            f"{row['cpu_minutes']:.0f}",
            name,
            f"{row['keras'][name]:.2%}",
        )
        lines.append((*facts, *cells))
    return table_of(lines)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--tasks", nargs="*", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--epochs", type=int, help="another number of epochs, as for a quick look")
    parser.add_argument("--train", type=int, help="another number of scenes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder for grids of images, truths and predictions")
    parser.add_argument("--table", type=Path, metavar="RESULTS", help="only this: the table of a JSON file")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())))
        return
    import keras

    from keras_effvit.atomic import write_json

    rows: list[dict[str, Any]] = []
    for task in options.tasks:
        keras.utils.set_random_seed(0)
        changes = {name: value for name in ("epochs", "train") if (value := getattr(options, name))}
        row = measure(task, Budget(**vars(BUDGETS[task]) | changes), options.pictures)
        if options.json and options.json.exists():  # read late: another task may have been measured meanwhile
            rows = json.loads(options.json.read_text())
        rows = [*(each for each in rows if each["task"] != task), row]
        rows.sort(key=lambda each: list(BUDGETS).index(each["task"]))
        if options.json:
            write_json(options.json, rows)
    print(table(rows))


if __name__ == "__main__":
    main()
