"""`list`, `info` and `import`: the models, and files of weights."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from keras_effvit.atomic import replacing
from keras_effvit.lite.tables import columns
from keras_effvit.models import ModelInfo, create_model, list_models, model_info
from keras_effvit.weights import read_checkpoint
from keras_effvit.weights.guess import ArraySet, array_sets, guess
from keras_effvit.weights.load import load_checkpoint

COLUMNS = ("model", "parameters", "MACs", "paper", "top-1")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds this file's commands.

    Args:
        commands: of the program.
    """
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


def _readable(value: object) -> str:
    if isinstance(value, tuple):
        return " x ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
