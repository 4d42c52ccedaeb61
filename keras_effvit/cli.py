"""`keras-effvit`: the package's functions from a shell, one command for each."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_effvit import lite
from keras_effvit.atomic import replacing
from keras_effvit.lite.images import labelled_images
from keras_effvit.lite.recipe import PRECISIONS
from keras_effvit.lite.tables import columns, inspection_lines, tuning_lines
from keras_effvit.models import ModelInfo, create_model, list_models, model_info
from keras_effvit.weights import read_checkpoint
from keras_effvit.weights.guess import ArraySet, array_sets, guess
from keras_effvit.weights.load import load_checkpoint

COLUMNS = ("model", "parameters", "MACs", "paper", "top-1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; a wrong one ends with a message and status 2.

    Args:
        arguments: the words after the program's name; the process' own when `None`.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        print(options.command(options))
    except (ValueError, OSError) as error:
        print(f"keras-effvit: {error}", file=sys.stderr)
        return 2
    return 0


def model_table(infos: Sequence[ModelInfo]) -> str:
    """A Markdown table of models: what was counted, and beside it what the papers print.

    Args:
        infos: the rows.
    """
    rows = [COLUMNS, *(_row(info) for info in infos)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["| " + " | ".join(_align(row, widths)) + " |" for row in rows]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def _row(info: ModelInfo) -> tuple[str, ...]:
    paper = info.paper
    printed = "-" if paper.params_m is None else f"{paper.params_m} M, {paper.gmacs} G"
    top1 = "-" if paper.top1 is None else f"{paper.top1} %"
    return info.name, f"{info.params:,}", f"{info.macs:,}", printed, top1


def _align(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def _list(options: argparse.Namespace) -> str:
    names = list_models(options.pattern)
    if not names:
        raise ValueError(f"no model matches {options.pattern!r}; there are {', '.join(list_models())}")
    if options.names:
        return "\n".join(names)
    return model_table([model_info(name) for name in names])


def _info(options: argparse.Namespace) -> str:
    if options.model not in list_models() and Path(options.model).is_file():
        return _checkpoint_info(options)
    if options.model not in list_models():
        raise ValueError(
            f"Unknown model. Expected one of {', '.join(list_models())}, or a file of weights. "
            f"Received: {options.model!r}"
        )
    facts = dataclasses.asdict(model_info(options.model))
    if options.json:
        return json.dumps(facts, indent=2)
    facts["paper"] = ", ".join(f"{key} {value}" for key, value in facts["paper"].items() if value is not None) or "-"
    facts["options"] = ", ".join(f"{key}={value!r}" for key, value in facts["options"].items()) or "-"
    width = max(map(len, facts))
    return "\n".join(f"{key.ljust(width)}  {_readable(value)}" for key, value in facts.items())


def _checkpoint_info(options: argparse.Namespace) -> str:
    checkpoint = read_checkpoint(options.model)
    sets, model = array_sets(checkpoint), guess(checkpoint)
    if options.json:
        facts = {
            "format": checkpoint.format,
            "bytes": checkpoint.path.stat().st_size,
            "sets": [{"wrapper": found.wrapper, "arrays": found.arrays} for found in sets],
            "guess": model and dataclasses.asdict(model),
        }
        return json.dumps(facts, indent=2)
    return "\n".join(
        [
            f"{checkpoint.path.name}: {checkpoint.format}, {checkpoint.path.stat().st_size:,} bytes",
            *(line for found in sets for line in _array_lines(found)),
            f"model: {model or 'none of this package'}",
        ]
    )


def _array_lines(found: ArraySet) -> list[str]:
    """A heading for a dict of a file, and a line for every array in it."""
    rows = [
        (name, dtype, "x".join(map(str, shape)) or "scalar", f"{size:,}")
        for name, (dtype, shape, size) in found.arrays.items()
    ]
    heading = f"{'/'.join(found.wrapper) or 'top level'}: {len(rows)} arrays, {found.size:,} bytes"
    return [heading, *(f"  {line}" for line in columns(rows, frozenset({3})))]


def _import(options: argparse.Namespace) -> str:
    output = Path(options.output)
    if not output.name.endswith((".keras", ".weights.h5")):
        raise ValueError(f"expected a .keras or .weights.h5 file to write. Received: {options.output}")
    checkpoint = read_checkpoint(options.checkpoint)
    known = guess(checkpoint)
    name = options.model or (known and known.model)
    if name is None:
        raise ValueError(f"no model of this package has the names in {options.checkpoint}; `info` shows them")
    classes = options.classes or (known and known.classes) or 1000
    shape = (options.size, options.size, 3) if options.size else None
    model = create_model(name, classes=classes, input_shape=shape)
    report = load_checkpoint(
        model, checkpoint, strict=not options.no_strict, skip_head=options.skip_head or None, ema=options.ema
    )
    with replacing(output) as temporary:
        model.save(temporary) if output.suffix == ".keras" else model.save_weights(temporary)
    return f"{name}: {report}\nwritten to {output}"


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
    path = converted.save(options.output)
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
        verbose=not options.json,
    )
    path = tuned.save(options.output)
    if options.json:
        return json.dumps({**tuned.to_json(), "measured_on": "host"}, indent=2)
    return "\n".join(
        [
            *tuning_lines(tuned),
            "host measurements, on one thread; not a phone's",
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
    scale = facts.get("preprocessing", {"mean": True})["mean"] is not None
    accuracy = lite.evaluate(
        options.file,
        labelled_images(options.data, shape, scale=scale),
        processes=options.processes,
        progress=options.progress,
        verbose=not options.json,
    )
    if options.json:
        return json.dumps(dataclasses.asdict(accuracy), indent=2)
    return f"top-1 {accuracy.top1:.2%}, top-5 {accuracy.top5:.2%} of {accuracy.images:,} images"


def _readable(value: object) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keras-effvit", description="Efficient vision transformers for phones.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="the models, with counted parameters and MACs")
    command.add_argument("pattern", nargs="?", default="*", help="shell pattern, such as 'sepvit*'")
    command.add_argument("--names", action="store_true", help="names only, at once")
    command.set_defaults(command=_list)

    command = commands.add_parser("info", help="all that is known about one model, or what a file of weights holds")
    command.add_argument("model", help="a name that `list` prints, or the path of a file of weights")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=_info)

    command = commands.add_parser("import", help="a file of weights into a Keras model's file, without PyTorch")
    command.add_argument("checkpoint", help="a .pth, .pt, .ckpt, .bin, .safetensors, .npz, .keras or .weights.h5 file")
    command.add_argument("--model", help="a name that `list` prints; by default, what the file looks like")
    command.add_argument("-o", "--output", required=True, help="the .keras or .weights.h5 file to write")
    command.add_argument("--classes", type=int, help="of the classifier; by default, as many as in the file")
    command.add_argument("--size", type=int, help="side of the model's images, 224 by default")
    command.add_argument("--ema", action="store_true", help="take the moving average beside the weights")
    command.add_argument("--skip-head", action="store_true", help="leave the classifier at its initial values")
    command.add_argument("--no-strict", action="store_true", help="accept missing and unexpected entries")
    command.set_defaults(command=_import)
    _add_lite_commands(commands)
    return parser


def _add_lite_commands(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("convert", help="a model into a .tflite file that is one XNNPACK partition")
    command.add_argument("-o", "--output", required=True, help="the .tflite file to write")
    _add_model_arguments(command, precision=None)  # what a model was trained for, or float32
    command.add_argument("--labels", help="a text file with a class on every line, to travel inside")
    command.add_argument("--input-type", default="float32", choices=("float32", "int8", "uint8"))
    command.add_argument("--output-type", default="float32", choices=("float32", "int8", "uint8"))
    command.set_defaults(command=_convert)

    command = commands.add_parser("tune", help="a recipe with the changes that measure faster on this machine")
    command.add_argument("-o", "--output", required=True, help="the recipe to write, a JSON file for --precision")
    _add_model_arguments(command, precision="int8")
    command.add_argument("--rounds", type=int, default=40, help="how often every file is timed")
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
