"""`keras-effvit`: the package's functions from a shell, one command for each."""

import argparse
import sys
from collections.abc import Sequence

from keras_effvit.cli import explaining, lite, measuring, models, training
from keras_effvit.device.errors import DeviceError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; a wrong one ends with a message and status 2.

    Args:
        arguments: the words after the program's name; the process' own when `None`.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words, argparse.Namespace(words=words))
    try:
        print(options.command(options))
    except (ValueError, OSError, DeviceError) as error:
        print(f"keras-effvit: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keras-effvit", description="Efficient vision transformers for phones.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in (models, training, explaining, lite, measuring):
        part.add_commands(commands)
    return parser
