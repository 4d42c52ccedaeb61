"""What `keras-effvit train` says to do next: a command that the program itself understands."""

import argparse
import shlex
from pathlib import Path

import pytest

from keras_effvit import cli
from keras_effvit.cli import training


def advised(words):
    options = cli._parser().parse_args(words, argparse.Namespace(words=words))
    program, *command = shlex.split(training._next(options, Path("runs/a b")))
    assert program == "keras-effvit"
    return cli._parser().parse_args(command)


def test_a_folder_of_images_is_what_to_calibrate_on(tmp_path):
    folder = tmp_path / "my flowers"
    folder.mkdir()
    next_ = advised(["train", str(folder)])
    assert (next_.model, next_.calibration, next_.labels) == (
        "runs/a b/last.keras",
        str(folder),
        "runs/a b/classes.txt",
    )


@pytest.mark.parametrize("data", ["drawn", "records"])
def test_without_files_of_images_the_same_run_goes_on(data, tmp_path):
    if data == "records":
        (tmp_path / "part-0.tfrecord").touch()
    where = ["--demo"] if data == "drawn" else [str(tmp_path)]
    next_ = advised(["train", *where, "--model", "lvt", "--no-resume"])
    assert (next_.quantize, next_.model, next_.no_resume) == ("int8", "lvt", False)
    assert next_.folder == (None if data == "drawn" else str(tmp_path))
