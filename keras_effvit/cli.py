"""`keras-effvit`: the package's functions from a shell, one command for each."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from keras_effvit.models import ModelInfo, list_models, model_info

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
    except ValueError as error:
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
    facts = dataclasses.asdict(model_info(options.model))
    if options.json:
        return json.dumps(facts, indent=2)
    facts["paper"] = ", ".join(f"{key} {value}" for key, value in facts["paper"].items() if value is not None) or "-"
    facts["options"] = ", ".join(f"{key}={value!r}" for key, value in facts["options"].items()) or "-"
    width = max(map(len, facts))
    return "\n".join(f"{key.ljust(width)}  {_readable(value)}" for key, value in facts.items())


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

    command = commands.add_parser("info", help="all that is known about one model")
    command.add_argument("model", help="a name that `list` prints")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(command=_info)
    return parser
