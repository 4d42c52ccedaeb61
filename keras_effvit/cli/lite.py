"""`convert`, `tune`, `inspect` and `evaluate`: models as `.tflite` files."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import keras

from keras_effvit import lite
from keras_effvit.device import Adb, phone_times
from keras_effvit.lite.images import labelled_images
from keras_effvit.lite.metadata import wants_scaled
from keras_effvit.lite.recipe import PRECISIONS
from keras_effvit.lite.tables import columns, inspection_lines, tuning_lines
from keras_effvit.lite.timing import host_times
from keras_effvit.models import create_model


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds this file's commands.

    Args:
        commands: of the program.
    """
    command = commands.add_parser("convert", help="a model into a .tflite file that is one XNNPACK partition")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", help="the .tflite file to write")
    where.add_argument("--artifacts", help="a folder to write <model>/<precision>/model.tflite into, for a report")
    _add_model_arguments(command, precision=None)  # what a model was trained for, or float32
    command.add_argument("--labels", help="a text file with a class on every line, to travel inside")
    command.add_argument("--input-type", default="float32", choices=("float32", "int8", "uint8"))
    command.add_argument("--output-type", default="float32", choices=("float32", "int8", "uint8"))
    command.set_defaults(command=_convert)

    command = commands.add_parser("tune", help="a recipe with the changes that measure faster on this machine")
    command.add_argument("-o", "--output", required=True, help="the recipe to write, a JSON file for --precision")
    _add_model_arguments(command, precision="int8")
    command.add_argument("--rounds", type=int, default=40, help="how often every file is timed")
    command.add_argument("-s", "--serial", help="the phone to measure on, instead of this machine")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=_tune)

    command = commands.add_parser("inspect", help="what is in a .tflite file, and what runs outside of XNNPACK")
    command.add_argument("file")
    command.add_argument("--operators", action="store_true", help="list every operator and its Keras layer")
    command.add_argument("--picture", help="a PNG file to draw the partitions into")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=_inspect)

    command = commands.add_parser(
        "evaluate", help="accuracy of a .tflite file on a folder with a folder for every class"
    )
    command.add_argument("file")
    command.add_argument("data", help="a folder with a folder of images for every class")
    command.add_argument("--processes", type=int, default=1)
    command.add_argument("--progress", help="a JSON file; an interrupted run goes on where it was")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=_evaluate)


def _model(options: argparse.Namespace) -> keras.Model:
    """A model of the zoo by name, or one that Keras saved."""
    if options.model.endswith(".keras"):
        return keras.models.load_model(options.model, compile=False)
    shape = (options.size, options.size, 3) if options.size else None
    return create_model(
        options.model,
        weights=options.weights,
        input_shape=shape,
        classes=options.classes,
        classifier_activation=None,
        include_preprocessing=options.include_preprocessing,
        accept_license=options.accept_license,
    )


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    """How a model becomes integers: the options that `_add_model_arguments` gives every command that asks."""
    return {name: getattr(options, name) for name in ("precision", "calibration", "method", "islands")}


def _convert(options: argparse.Namespace) -> str:
    labels = Path(options.labels).read_text().splitlines() if options.labels else None
    converted = lite.convert(
        _model(options),
        **_recipe(options),
        labels=labels,
        input_type=options.input_type,
        output_type=options.output_type,
    )
    path = converted.save(options.output) if options.output else converted.save_artifacts(options.artifacts)
    parity, found = converted.parity, converted.inspection
    rows = [
        ("file", f"{path}, {len(converted.content):,} bytes"),
        ("XNNPACK", f"{found.partitions} partition(s), {len(found.outside)} operator(s) outside"),
        ("against Keras", f"{parity.snr_db:.1f} dB, agreement {parity.agreement:.1%} on {parity.images} images"),
    ]
    return "\n".join(columns(rows))


def _tune(options: argparse.Namespace) -> str:
    tuned = lite.tune(
        _model(options),
        **_recipe(options),
        rounds=options.rounds,
        measure=phone_times(Adb().phone(options.serial)) if options.serial else host_times,
        verbose=not options.json,
    )
    path = tuned.save(options.output)
    if options.json:
        return json.dumps({**tuned.to_json(), "measured_on": options.serial or "host"}, indent=2)
    return "\n".join(
        [
            *tuning_lines(tuned),
            f"measured on {options.serial}" if options.serial else "host measurements, on one thread; not a phone's",
            f"{tuned.recipe.name}: {tuned.ratio:.3f} of the base's time; written to {path}",
        ]
    )


def _inspect(options: argparse.Namespace) -> str:
    found = lite.inspect(options.file)
    if options.picture:
        lite.draw_strip(found, options.picture, Path(options.file).name)
    if options.json:
        return json.dumps({**found.to_json(), "facts": lite.read_metadata(options.file)}, indent=2)
    return "\n".join(inspection_lines(found, operators=options.operators))


def _evaluate(options: argparse.Namespace) -> str:
    found, facts = lite.inspect(options.file, invoke=True), lite.read_metadata(options.file)
    shape = found.tensors[next(iter(found.inputs.values()))].shape[1:]
    accuracy = lite.evaluate(
        options.file,
        labelled_images(options.data, shape, scale=wants_scaled(facts)),
        processes=options.processes,
        progress=options.progress,
        verbose=not options.json,
    )
    if options.json:
        return json.dumps(dataclasses.asdict(accuracy), indent=2)
    return f"top-1 {accuracy.top1:.2%}, top-5 {accuracy.top5:.2%} of {accuracy.images:,} images"


def _add_model_arguments(command: argparse.ArgumentParser, precision: str | None) -> None:
    """A model, and how it becomes a file."""
    usual = precision or "float32, or what the model was trained for"
    command.add_argument("model", help="a name that `list` prints, or a .keras file")
    command.add_argument(
        "--precision", default=precision, help=f"one of {', '.join(PRECISIONS)}, or a recipe's path; by default {usual}"
    )
    command.add_argument("--calibration", help="a folder of images like those the app will see")
    command.add_argument("--method", default="min_max", help="min_max, moving_average or percentile")
    command.add_argument("--weights", help='"official", or the path of a file of weights')
    command.add_argument("--accept-license", action="store_true", help="of official weights that are not free")
    command.add_argument("--classes", type=int, default=1000)
    command.add_argument("--size", type=int, help="side of the images, 224 by default")
    command.add_argument("--include-preprocessing", action="store_true", help="take pixels in [0, 255]")
    command.add_argument("--islands", action="append", default=[], help="layers to leave in float, as an expression")
