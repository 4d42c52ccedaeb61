"""The command line, run as a user runs it."""

import json
import re

import pytest

from keras_effvit import cli, list_models, model_info


def run(capsys, *arguments):
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_list_names(capsys):
    assert run(capsys, "list", "--names") == (0, "\n".join(list_models()) + "\n", "")


def test_list_prints_counted_figures_beside_the_papers(capsys):
    status, out, _ = run(capsys, "list", "sepvit_l*")
    assert status == 0
    header, rule, row = out.strip().split("\n")
    assert len({len(header), len(rule), len(row)}) == 1
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["sepvit_lite", "3,661,128", "568,414,464", "3.7 M, 0.6 G", "72.3 %"]


def test_info(capsys):
    status, out, _ = run(capsys, "info", "sepvit_lite")
    assert status == 0
    assert re.search(r"^params +3,661,128$", out, re.MULTILINE)
    assert re.search(r"^input_shape +224 x 224 x 3$", out, re.MULTILINE)


def test_info_as_json(capsys):
    _, out, _ = run(capsys, "info", "sepvit_lite", "--json")
    assert json.loads(out)["macs"] == model_info("sepvit_lite").macs == 568_414_464


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "sepvit"], r"^keras-effvit: Unknown model. Expected one of .*sepvit_lite.* Received: 'sepvit'"),
        (["list", "resnet*"], r"^keras-effvit: no model matches 'resnet\*'; there are .*sepvit_lite"),
    ],
)
def test_a_mistake_is_explained_on_stderr(capsys, arguments, message):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert re.search(message, err)


def test_without_a_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "COMMAND" in capsys.readouterr().err
