"""`keras-effvit explain`, run as a user runs it."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_effvit import cli, create_model
from keras_effvit.samples import sample_image
from tests.explain.colours import colour_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "mine.keras"
    create_model("efficientvit_b0", input_shape=(64, 96, 3), classes=3, include_preprocessing=True).save(path)
    return str(path)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A small model, quickly explained."""
    path = tmp_path_factory.mktemp("explain") / "colours.keras"
    colour_model().save(path)
    return str(path)


def run(capsys, *arguments):
    status = cli.main(["explain", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_all_methods(colours, tmp_path, capsys):
    keras.utils.save_img(tmp_path / "photo.jpg", sample_image(120, 100))
    (tmp_path / "labels.txt").write_text("red\ngreen\n")
    output = tmp_path / "out.png"
    status, out, err = run(
        *(capsys, colours, tmp_path / "photo.jpg", "-o", output, "--method", "all", "--channels", 1),
        *("--target", 1, "--labels", tmp_path / "labels.txt"),
    )
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.strip().split("\n")]
    assert lines[0] == ["class", "probability", "method", "layer"]
    assert [line[0] for line in lines[1:6]] == ["1"] * 5
    assert [line[2:] for line in lines[4:6]] == [["saliency", "-"], ["smoothgrad", "-"]]
    assert out.endswith(f"written to {output}\n")
    assert Image.open(output).format == "PNG"


def test_the_drawn_landscape_a_layer_of_ones_own_and_two_classes(colours, tmp_path, capsys):
    classes = ("--target", 0, "--target", 1)
    status, out, _ = run(capsys, colours, "-o", tmp_path / "out.png", "--layer", "scale", *classes)
    assert status == 0
    rows = [line.split() for line in out.split("\n")[1:3]]
    assert [row[0] for row in rows] == ["0", "1"]
    assert [row[2:] for row in rows] == [["gradcam", "scale"]] * 2


def test_attention(model, tmp_path, capsys):
    status, out, _ = run(capsys, model, "-o", tmp_path / "out.png", "--attention", "stage3_block2_attn")
    assert status == 0
    assert [line.split()[:2] for line in out.split("\n")[1:3]] == [
        ["stage3_block2_attn", "linear"],
        ["stage3_block2_attn", "linear_5x5"],
    ]
    assert "4 heads x 24 pixels x 24 pixels" in out
    status, out, _ = run(capsys, model, "-o", tmp_path / "all.png", "--attention")
    assert [line.split()[1] for line in out.split("\n")[1:3]] == ["linear", "linear_5x5"]
    assert np.asarray(Image.open(tmp_path / "all.png")).std() > 10


def test_a_model_by_name_says_that_it_knows_nothing(tmp_path, capsys):
    options = ("--size", 64, "--classes", 2, "--include-preprocessing")
    status, _, err = run(capsys, "efficientvit_b0", *options, "-o", tmp_path / "out.png")
    assert status == 0
    assert err == "keras-effvit: initial weights, which know nothing; --weights gives them a file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jpg"], "Expected an image file. Received: none.jpg"),
        (["--layer", "colors"], "the nearest names are colours, "),
        (["--attention", "stage1"], "Expected a model with attention layers of keras_effvit. Received: functional"),
        (["--target", "2"], "`target` must be the number of one of 2 classes. Received: target=2"),
        (["--labels", "none.txt"], "No such file or directory: 'none.txt'"),
    ],
)
def test_mistakes_leave_no_picture(colours, tmp_path, capsys, arguments, message):
    status, out, err = run(capsys, colours, *arguments, "-o", tmp_path / "out.png")
    assert (status, out) == (2, "")
    assert err.startswith("keras-effvit: ")
    assert message in err
    assert not (tmp_path / "out.png").exists()
