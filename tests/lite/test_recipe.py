"""Recipes as data."""

import json

import pytest

from keras_effvit import lite
from keras_effvit.lite import LiteError, Recipe, Rule
from keras_effvit.lite.inspection import Inspection, Operator
from keras_effvit.lite.quantization import assign
from keras_effvit.lite.recipe import PRECISIONS


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_precision_has_a_recipe(name):
    recipe = lite.load_recipe(name)
    assert recipe.name == name
    assert recipe.needs_calibration == (name in ("int8", "int8_full", "int16x8"))
    assert lite.load_recipe(recipe) is recipe


def test_a_recipe_of_ones_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(lite.load_recipe("int8").to_json()))
    assert lite.load_recipe(path) == lite.load_recipe("int8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expected a recipe"),
        ("{}", "Expected a recipe"),
        ('{"name": "x", "description": "", "rules": [{"operators": ["ADD"], "mode": "fast"}]}', "mode must be one of"),
        ('{"name": "x", "description": "", "rules": [], "surprise": 1}', "surprise"),
    ],
)
def test_what_is_no_recipe(content, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(LiteError, match=message):
        lite.load_recipe(path)


@pytest.mark.parametrize(
    ("bits", "message"),
    [({"activation_bits": 4}, "8 or 16. Received: 4"), ({"weight_bits": 4}, "weights in 8 bits. Received: 4")],
)
def test_bits_that_no_kernel_has(bits, message):
    with pytest.raises(LiteError, match=message):
        Rule(("ADD",), "integer", **bits)


def file_with(*operators):
    entries = tuple(
        Operator(index, name, layer, (), (), custom=False, partition=None)
        for index, (name, layer) in enumerate(operators)
    )
    return Inspection(0, entries, (), 0, {}, {}, {})


def test_the_last_rule_that_fits_an_operator_has_it():
    first, second = Rule(("CONV_2D", "ADD"), "static"), Rule(("CONV_2D",), "dynamic", "stage2")
    recipe = Recipe("mine", "", (first, second)).with_islands(["head"])
    found = file_with(
        ("CONV_2D", "stage1"), ("CONV_2D", "stage2/proj"), ("ADD", "stage2"), ("ADD", "head_add"), ("MUL", "stage1")
    )
    chosen = {rule: [operator.index for operator in operators] for rule, operators in assign(found, recipe).items()}
    assert chosen == {first: [0, 2], second: [1]}


def test_integers_are_written_by_one_writer():
    with pytest.raises(LiteError, match=r"'integer' go with 'keep' only. Received: \['integer', 'static'\] in mine"):
        Recipe("mine", "", (Rule(("*",), "integer"), Rule(("CONV_2D",), "static")))
    assert Recipe("mine", "", (Rule(("*",), "integer"),)).with_islands(["head"]).in_integers
