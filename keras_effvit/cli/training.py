"""`train`: from a folder of images to a model, and to a file of integers if asked."""

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from keras_effvit import lite, training
from keras_effvit.lite.tables import columns
from keras_effvit.models import create_model, list_models
from keras_effvit.training import Images, Recipe
from keras_effvit.training.drawing import EASY
from keras_effvit.training.fitting import BEST, CLASSES, LAST, RUN
from keras_effvit.training.job import Job, Settings
from keras_effvit.training.scale import place_in
from keras_effvit.training.workers import end_with_parent, join, run_workers

#: What there is to train on where there is no folder: images of this size, and how many.
DEMO_SIZE, DEMO_IMAGES, DEMO_EPOCHS, DEMO_RATE = 64, 4000, 5, 3e-3
#: A model that begins with random weights wants more images than this.
FEW = 20_000
FINE_TUNE = "-fine-tune"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds this file's command.

    Args:
        commands: of the program.
    """
    command = commands.add_parser("train", help="a model on a folder of images, by its paper's recipe")
    command.add_argument(
        "folder", nargs="?", help="a folder with a folder for every class, or of TFRecord files; drawn images if none"
    )
    command.add_argument("--demo", action="store_true", help="train on drawn images")
    command.add_argument("--model", default="efficientvit_b0", help="a name that `list` prints, or a .keras file")
    command.add_argument("--weights", help='to begin with: "official", or the path of a file of weights')
    command.add_argument("--accept-license", action="store_true", help="of official weights that are not free")
    command.add_argument("--val", default="0.1", help="a folder like the first one, or a share of that")
    command.add_argument("-o", "--output", help="the folder to write, runs/<model> by default; a run in it goes on")
    command.add_argument("--no-resume", action="store_true", help="begin anew, over what is in the output folder")
    _add_figures(command)
    command.add_argument("--quantize", metavar="PRECISION", help="train for int8 or int8_full afterwards, and convert")
    command.add_argument("--quantize-epochs", type=int, default=4)
    command.add_argument("--workers", help="processes to start on this machine, or host:port,host:port of all workers")
    command.add_argument("--worker-index", type=int, help="which of those addresses this process is, from 0")
    command.set_defaults(command=_train)


def _add_figures(command: argparse.ArgumentParser) -> None:
    recipes = [name + suffix for name in training.RECIPES for suffix in ("", FINE_TUNE)]
    command.add_argument(
        "--recipe", choices=recipes, help="by default the model's own, to fine-tune where there are weights"
    )
    command.add_argument("--epochs", type=int, help="the recipe's by default")
    command.add_argument("--size", type=int, help="side of the images, 224 by default")
    command.add_argument("--batch", type=int, default=64, help="images of an update, on all workers together")
    command.add_argument("--accumulate", type=int, default=1, help="parts in which they go through the model")
    command.add_argument("--learning-rate", type=float, help="the highest; the recipe's for this batch by default")
    command.add_argument(
        "--mixed-precision", nargs="?", const="bfloat16", choices=("float16", "bfloat16"), help="half the memory"
    )
    command.add_argument("--teacher", help="a .keras file of a model to learn from")
    command.add_argument("--seed", type=int, default=0)


def _train(options: argparse.Namespace) -> str:
    output = Path(options.output or f"runs/{Path(options.model).stem}")
    if options.folder and options.demo:
        raise ValueError(f"expected a folder or --demo. Received: both, {options.folder}")
    if "TF_CONFIG" not in os.environ and options.workers:
        if options.workers.isdigit():
            return _start_workers(options, output)
        join(options.workers.split(","), _required_index(options))
    end_with_parent()
    strategy = training.strategy()
    before = keras.config.dtype_policy()
    if options.mixed_precision:
        keras.config.set_dtype_policy(f"mixed_{options.mixed_precision}")
    try:
        return _run(options, output, strategy)
    finally:
        keras.config.set_dtype_policy(before)


def _required_index(options: argparse.Namespace) -> int:
    if options.worker_index is None:
        raise ValueError("expected --worker-index beside addresses of workers. Received: none")
    return options.worker_index


def _start_workers(options: argparse.Namespace, output: Path) -> str:
    count = int(options.workers)
    if count < 1:
        raise ValueError(f"expected at least one worker. Received: --workers {count}")
    run_workers([sys.executable, "-m", "keras_effvit.cli", *options.words], count, output)
    return f"{count} workers are done; what the others said is in {output}/worker-*.log"


def _run(options: argparse.Namespace, output: Path, strategy: Any) -> str:
    train, val = _images(options)
    keras.utils.set_random_seed(options.seed)
    model = _model(options, len(train.classes))
    recipe = _recipe(options, model.name)
    teacher = keras.models.load_model(options.teacher, compile=False) if options.teacher else None
    place = place_in(strategy)
    if place.chief:
        _advise(options, train)
    common = {
        "batch_size": min(options.batch, len(train)),
        "seed": options.seed,
        "strategy": strategy,
        "resume": not options.no_resume,
    }
    recipe.fit(
        model,
        train,
        val,
        epochs=options.epochs,
        folder=output,
        teacher=teacher,
        accumulate=options.accumulate,
        **common,
    )
    rows = _rows(options, output)
    if options.quantize:
        rows += _quantize(options, output, recipe, model, (train, val), common)
    return "\n".join(columns(rows)) if place.chief else f"worker {place.worker} is done"


def _images(options: argparse.Namespace) -> tuple[Images, Images]:
    if not options.folder:
        size = options.size or DEMO_SIZE
        counts = DEMO_IMAGES, DEMO_IMAGES // 4
        train, val = (training.drawn(count, size, seed, **EASY) for seed, count in enumerate(counts))
        return train, val
    images = _read(options.folder)
    try:
        share = float(options.val)
    except ValueError:
        return images, _read(options.val, images.classes)
    return images.split(share, options.seed)


def _read(folder: str, classes: tuple[str, ...] | None = None) -> Images:
    path = Path(folder)
    return training.records(path) if _has_records(path) else training.image_folder(path, classes)


def _has_records(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.tfrecord*"))


def _model(options: argparse.Namespace, classes: int) -> keras.Model:
    if options.model.endswith(".keras"):
        return keras.models.load_model(options.model, compile=False)
    if options.model not in list_models():
        raise ValueError(
            f"Unknown model. Expected one of {', '.join(list_models())}, or a .keras file. Received: {options.model!r}"
        )
    size = options.size or (None if options.folder else DEMO_SIZE)
    return create_model(
        options.model,
        weights=options.weights,
        input_shape=(size, size, 3) if size else None,
        classes=classes,
        classifier_activation=None,
        accept_license=options.accept_license,
    )


def _recipe(options: argparse.Namespace, model: str) -> Recipe:
    """The model's own recipe, the one that is asked for, or for drawn images one that shows something in minutes."""
    asked = (options.recipe or "").removesuffix(FINE_TUNE)
    if not asked and model not in list_models():
        raise ValueError(f"expected --recipe for a model that is none of this package. Received: {model!r} without it")
    recipe = training.RECIPES[asked] if asked else training.recipe_for(model)
    known = options.weights or options.model.endswith(".keras")
    if options.recipe.endswith(FINE_TUNE) if options.recipe else known or not options.folder:
        recipe = recipe.fine_tune()
    rate = options.learning_rate
    if not options.folder and not asked and not known:
        recipe, rate = replace(recipe, epochs=DEMO_EPOCHS, warmup_epochs=1), rate or DEMO_RATE
    return recipe if rate is None else replace(recipe, learning_rate=rate, batch_size=options.batch)


def _advise(options: argparse.Namespace, train: Images) -> None:
    fresh = not options.weights and not options.model.endswith(".keras")
    if options.folder and fresh and len(train) < FEW:
        print(
            f"keras-effvit: {len(train):,} images are few for a model that begins with random weights; "
            "--weights official begins with the authors', where there are any",
            file=sys.stderr,
        )


def _rows(options: argparse.Namespace, output: Path) -> list[tuple[str, str]]:
    run = training.read_run(output / RUN)
    best = run.best()
    rows = [
        ("model", f"{output / LAST}, {(output / LAST).stat().st_size:,} bytes"),
        ("accuracy", f"{run.final['val_accuracy']:.2%} of {run.plan['val']['images']:,} images"),
        ("best", f"{output / BEST}, {best:.2%}"),
        ("run", f"{output / RUN}, {len(run.epochs)} epochs in {sum(epoch.seconds for epoch in run.epochs):.0f} s"),
    ]
    if run.skipped:
        rows.append(("left out", f"{len(run.skipped)} images, named in {output / RUN}"))
    if not options.quantize:
        rows.append(("next", _next(options, output)))
    return rows


def _next(options: argparse.Namespace, output: Path) -> str:
    """A command for integers: by images to calibrate on or, where these are no files of their own, by more training."""
    if not options.folder or _has_records(Path(options.folder)):
        return shlex.join(
            ["keras-effvit", *(word for word in options.words if word != "--no-resume"), "--quantize", "int8"]
        )
    convert = ["convert", str(output / LAST), "--precision", "int8", "--calibration", options.folder]
    return shlex.join(["keras-effvit", *convert, "--labels", str(output / CLASSES), "-o", str(output / "model.tflite")])


def _quantize(
    options: argparse.Namespace,
    output: Path,
    recipe: Recipe,
    model: keras.Model,
    images: tuple[Images, Images],
    common: dict[str, Any],
) -> list[tuple[str, str]]:
    """Trains for integers, converts, and measures what the file is right about."""
    precision, (train, val) = options.quantize, images
    graph = recipe.finetune_quantized(
        model, train, val, epochs=options.quantize_epochs, precision=precision, folder=output / precision, **common
    )
    if not place_in(common["strategy"]).chief:
        return []
    path = lite.convert(graph, labels=val.classes).save(output / f"model-{precision}.tflite")
    job = Job(recipe, model, train, val, Settings(epochs=1, batch_size=1))
    pairs = ((x[0], int(y[0].argmax())) for x, y, _ in job.validation_data().as_numpy_iterator())
    accuracy = lite.evaluate(path, pairs)
    row = f"{path}, {path.stat().st_size:,} bytes, {accuracy.top1:.2%} of {accuracy.images:,} images"
    return [(precision, row), ("next", f"keras-effvit bench {path} --host")]
