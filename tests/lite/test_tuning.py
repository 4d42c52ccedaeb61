"""Recipes by measurement. Nothing here is timed but by the one test of the clock: stand-ins say what takes how long."""

import json
import math
import re

import keras
import numpy as np
import pytest

from keras_effvit import lite
from keras_effvit.lite import LiteError, Recipe, Rule, tuning
from keras_effvit.lite.changes import SPELLINGS, Change, Spelling, changed, changes_for, plan
from keras_effvit.lite.exporting import export_float
from keras_effvit.lite.inspection import Inspection, inspect
from keras_effvit.lite.timing import ROUNDS_A_LOAD, check_times, ratio
from tests.lite.conftest import alive, convert, converted, images, model_of

B0 = "efficientvit_b0"
pytestmark = pytest.mark.xdist_group("tuning")


def stopwatch(base=1.0, **seconds):
    """A measurement with prescribed times; of what is put together, the product of what its parts save."""

    def measure(files, rounds):
        measure.calls.append((tuple(files), rounds))
        shares = {name: math.prod(seconds.get(part, 1.0) for part in name.split(" + ")) for name in files}
        return {name: [base * seconds.get(name, shares[name])] * rounds for name in files}

    measure.calls = []
    return measure


def remembering(function, key):
    """The function, which does the same work once."""
    cache = {}

    def once(*arguments, **options):
        known = key(*arguments, **options)
        if known not in cache:
            cache[known] = function(*arguments, **options)
        return cache[known]

    return once, cache


@pytest.fixture(scope="module", autouse=True)
def exported():
    """All tests of this file try the same recipes on the same model; every file is made once."""
    export, files = remembering(tuning.export_float, lambda model, hard_swish, **_: hard_swish)
    steps = {
        "export_float": export,
        "quantize": remembering(tuning.quantize, lambda content, found, recipe, ranges: (content, recipe.rules))[0],
        "inspect": remembering(tuning.inspect, lambda content, layers=(), invoke=False: (content, invoke))[0],
        "file_outputs": remembering(tuning.file_outputs, lambda content, images: (content, images.tobytes()))[0],
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, step in steps.items():
            patch.setattr(tuning, name, step)
        yield files


def tune(measure, precision="int8", **options):
    options = {"calibration": images(side=64), "verbose": False, "rounds": 3, "most_loss_db": 2.0, **options}
    return lite.tune(model_of(B0, 64), precision, measure=measure, **options)


def row(tuned, name):
    (candidate,) = (candidate for candidate in tuned.candidates if candidate.name == name)
    return candidate


def kept(tuned):
    return {candidate.name for candidate in tuned.candidates if candidate.kept}


# --- Who wins.


def test_what_is_tried():
    tuned = tune(stopwatch())
    names = [candidate.name for candidate in tuned.candidates]
    assert names[:6] == [
        *("base", "hard-swish reassociated", "hard-swish in int8", "additions in int8"),
        *("hard-swish and additions in int8", "matmuls in int8"),
    ]
    assert {"stem in float", "stage1 in float", "stage1_down/expand in float"} <= set(names)
    assert len(names) == len(set(names)) <= 14
    assert (tuned.recipe, tuned.ratio, kept(tuned)) == (lite.load_recipe("int8"), 1.0, {"base"})
    fields = json.loads(json.dumps(tuned.to_json()))
    assert [candidate["name"] for candidate in fields["candidates"]] == names


def test_the_fastest_wins_and_what_it_does_travels():
    measure = stopwatch(0.01, **{"additions in int8": 0.9, "stem in float": 0.95, "stage1 in float": 1.2})
    tuned = tune(measure, least_gain=0.06)
    assert kept(tuned) == {"additions in int8"}
    winner = row(tuned, "additions in int8")
    assert (tuned.recipe, tuned.ratio) == (winner.recipe, pytest.approx(0.9))
    assert (winner.milliseconds, winner.ratio) == (pytest.approx(9), pytest.approx(0.9))
    assert (winner.partitions, winner.outside) == (1, 0)
    assert winner.snr_db is not None
    assert winner.snr_db > 20
    assert row(tuned, "stem in float").verdict == "no faster than base"
    assert tuned.recipe.name == "int8_tuned"
    assert tuned.recipe.description.endswith("Changed: additions in int8.")
    # All beside the base, then the winner beside it once more.
    assert measure.calls[0] == (tuple(c.name for c in tuned.candidates if c.milliseconds), 3)
    assert measure.calls[-1] == (("base", "additions in int8"), 3)


def test_winners_are_put_together_as_long_as_that_is_faster():
    both = "stem in float + additions in int8"
    measure = stopwatch(
        **{"stem in float": 0.8, "additions in int8": 0.9, "stage1 in float": 0.95, f"{both} + stage1 in float": 0.72}
    )
    tuned = tune(measure, most_loss_db=99)
    assert kept(tuned) == {"stem in float", "additions in int8", both}
    assert tuned.ratio == pytest.approx(0.72)
    assert row(tuned, f"{both} + stage1 in float").verdict == f"no faster than {both}"
    modes = {(rule.operators, rule.mode) for rule in tuned.recipe.rules}
    assert {(("ADD",), "static"), (("*",), "keep")} <= modes
    # An island stays one, whatever is put into integers before or after.
    assert tuned.recipe.rules[-1] == Rule(("*",), "keep", "^stem([_/]|$)")


def test_noise_does_not_count():
    tuned = tune(stopwatch(**{"additions in int8": 0.995, "stem in float": 0.991}))
    assert (kept(tuned), tuned.ratio) == ({"base"}, 1.0)
    assert tune(stopwatch(**{"additions in int8": 0.995}), least_gain=0).ratio == 0.995


def test_a_lucky_winner_is_measured_again():
    luck = iter([0.9])

    def measure(files, rounds):
        now = next(luck, 1.01)
        return {name: [now if name == "stem in float" else 1.0] * rounds for name in files}

    tuned = tune(measure)
    assert (tuned.recipe, tuned.ratio, kept(tuned)) == (lite.load_recipe("int8"), 1.0, {"base"})
    assert row(tuned, "stem in float").verdict == "not confirmed: 1.010 when measured again"


def test_ratios_are_taken_inside_a_round():
    """A machine that slows down for a while does not make a winner."""

    def measure(files, rounds):
        load = [1.0, 1.0, 5.0, 5.0, 5.0]
        return {name: [now * (0.9 if name == "additions in int8" else 1.0) for now in load] for name in files}

    assert row(tune(measure, rounds=5), "additions in int8").ratio == pytest.approx(0.9)


def test_what_leaves_the_partition_never_wins(monkeypatch):
    softmax = Change("activations in int8", (Rule(("HARD_SWISH", "RELU"), "static"),))
    monkeypatch.setattr(tuning, "changes_for", lambda *_: [softmax, Change("stem", (Rule(("*",), "keep", "^stem"),))])
    tuned = tune(stopwatch(**{"activations in int8": 0.1, "stem": 0.9}), most_loss_db=99)
    loser = row(tuned, "activations in int8")
    assert loser.partitions is not None
    assert loser.partitions > 1
    assert re.match(r"leaves the partition: \d+, \d+ operators outside", loser.verdict)
    assert kept(tuned) == {"stem"}


def test_what_is_too_noisy_never_wins():
    times = {"additions in int8": 0.1, "hard-swish in int8": 0.2, "stage1_down/expand in float": 0.9}
    tuned = tune(stopwatch(**times), most_loss_db=0)
    base = row(tuned, "base").snr_db
    assert base is not None
    for candidate in tuned.candidates[1:]:
        assert candidate.snr_db is not None
        assert (candidate.snr_db < base) == candidate.verdict.startswith("too noisy")
    assert row(tuned, "additions in int8").verdict.startswith("too noisy: ")
    assert not kept(tuned) & {"additions in int8", "hard-swish in int8"}


def test_what_the_quantizer_refuses_is_told(monkeypatch):
    bad = Change("divisions", (Rule(("DIV",), "static"),))
    monkeypatch.setattr(tuning, "changes_for", lambda *_: [bad])
    measure = stopwatch()
    tuned = tune(measure)
    candidate = row(tuned, "divisions")
    assert (candidate.milliseconds, candidate.partitions, candidate.kept) == (None, None, False)
    assert re.match("refused: .*DIV", candidate.verdict)
    assert measure.calls == [(("base",), 3)]


# --- What is made of it.


def types_of(found, kind):
    return {found.tensors[operator.outputs[0]].type for operator in found.operators if operator.name == kind}


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("additions in int8", {"ADD"}),
        ("hard-swish in int8", {"ADD", "MUL"}),
        ("concatenations in int8", {"CONCATENATION"}),
        ("stem in float", set()),
    ],
)
def test_a_saved_recipe_converts_to_what_it_names(name, operators, tmp_path):
    tuned = tune(stopwatch(**{name: 0.5}), most_loss_db=99)
    assert kept(tuned) == {name}
    path = tuned.save(tmp_path / "mine.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.json"]
    assert lite.load_recipe(path) == tuned.recipe
    file = convert(B0, 64, path)
    found = file.inspection
    assert (found.partitions, found.outside) == (1, ())
    assert file.manifest["recipe"]["name"] == "int8_tuned"
    for kind in ("ADD", "MUL", "CONCATENATION", "BATCH_MATMUL"):
        assert ("INT8" in types_of(found, kind)) == (kind in operators), kind
    # Hard-swish is whole in integers or not at all: what is added to it in float would cut every convolution off.
    if name == "hard-swish in int8":
        assert "HARD_SWISH" not in found.counts()
    stem = {
        found.tensors[operator.outputs[0]].type
        for operator in found.operators
        if operator.layer.startswith("stem") and operator.name.endswith("CONV_2D")
    }
    assert stem == {"FLOAT32" if name == "stem in float" else "INT8"}


@pytest.mark.parametrize("name", ["sepvit_lite", pytest.param("lightvit_tiny", marks=pytest.mark.slow)])
def test_matmuls_in_integers_stay_in_the_partition(name):
    """XNNPACK takes them if the zero point on the right is 0; what moves numbers there has the same."""
    base, float_file = lite.load_recipe("int8"), converted(name, "float32", 64).inspection
    change = next(change for change in changes_for({"fused": float_file}, base) if change.name == "matmuls in int8")
    file = convert(name, 64, changed(base, [change]))
    found = file.inspection
    assert (found.partitions, found.outside) == (1, ())
    assert file.parity.snr_db > 20
    matmuls = [[found.tensors[i] for i in o.inputs] for o in found.operators if o.name == "BATCH_MATMUL"]
    assert sum(left.type == "INT8" for left, _ in matmuls) > len(matmuls) / 2
    for left, right in matmuls:
        # LightViT's first block has a constant on the left, the global tokens.
        assert left.type == right.type
        assert right.zero_point == (0 if right.type == "INT8" else None)
        assert (right.type == "FLOAT32") <= (name == "lightvit_tiny")


# --- Other recipes.


def test_a_float_recipe_has_only_hard_swish_to_spell():
    tuned = tune(stopwatch(**{"hard-swish reassociated": 0.5}), "float32")
    assert [candidate.name for candidate in tuned.candidates] == ["base", "hard-swish reassociated"]
    assert tuned.recipe.hard_swish == "reassociated"
    assert tuned.recipe.rules == ()
    assert tuned.to_json()["candidates"][0]["snr_db"] is None


def test_nothing_to_try(monkeypatch):
    monkeypatch.setattr(tuning, "changes_for", lambda *_: [])
    measure = stopwatch()
    tuned = tune(measure, "float32")
    assert (tuned.recipe, tuned.ratio, kept(tuned)) == (lite.load_recipe("float32"), 1.0, {"base"})
    assert measure.calls == []


def test_a_users_islands_stay():
    tuned = tune(stopwatch(**{"additions in int8": 0.5}), islands=["^stage2"])
    found = convert(B0, 64, tuned.recipe).inspection
    assert types_of(found, "ADD") == {"INT8", "FLOAT32"}
    for operator in found.operators:
        if operator.layer.startswith("stage2") and operator.name in ("ADD", "CONV_2D"):
            assert found.tensors[operator.outputs[0]].type == "FLOAT32", operator.layer


def test_changes_in_any_order_are_the_same_recipe():
    found = inspect(converted(B0, "float32", 64).content)
    add, stem = Change("add", (Rule(("ADD",), "static"),)), Change("stem", (Rule(("*",), "keep", "^stem"),))
    base = lite.load_recipe("int8")
    assert plan(found, changed(base, [add, stem])) == plan(found, changed(base, [stem, add]))
    assert changed(base, []) is base
    assert changed(changed(base, [add]), [stem]).name == "int8_tuned"


def test_a_recipe_that_spells_hard_swish_apart_already(exported):
    tune(stopwatch())
    files: dict[Spelling, Inspection] = {spelling: inspect(exported[spelling]) for spelling in SPELLINGS}
    base = Recipe("mine", "", (Rule(("CONV_2D",), "static"),), "reassociated")
    spelled = next(change for change in changes_for(files, base) if change.hard_swish)
    assert (spelled.name, spelled.hard_swish) == ("hard-swish fused", "fused")


def test_a_model_without_hard_swish_is_spelled_in_one_way():
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    model = alive(keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))))
    base = Recipe("mine", "", (Rule(("CONV_2D",), "static"),), "reassociated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "export_float", export_float)
        tuned = lite.tune(model, base, calibration=images(side=16), measure=stopwatch(), rounds=1, verbose=False)
    assert [candidate.name for candidate in tuned.candidates] == ["base", "conv in float"]


# --- The clock.


def test_the_clock_really_runs():
    files = {"one": converted(B0, "float32", 64).content, "other": converted(B0, "int8", 64).content}
    rounds = ROUNDS_A_LOAD + 2
    times = lite.host_times(files, rounds)
    assert set(times) == set(files)
    assert check_times(times, files, rounds) is times
    assert all(0 < seconds < 60 for series in times.values() for seconds in series)


def test_ratio_is_the_median_inside_rounds():
    assert ratio({"a": [1.0, 4.0, 9.0], "b": [2.0, 2.0, 3.0]}, "a", "b") == 2.0


# --- What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "`rounds` must be at least 1. Received: rounds=0"),
        ({"least_gain": 1.0}, r"`least_gain` must be in \[0, 1\). Received: least_gain=1.0"),
        ({"most_loss_db": -1.0}, "`most_loss_db` must be at least 0"),
        ({"most_loss_db": math.nan}, "`most_loss_db` must be at least 0"),
        ({"precision": "int8_full"}, "run as one partition. Received: int8_full"),
        ({"precision": "int4"}, "`precision` must be one of"),
        ({"method": "median"}, "`method` must be one of"),
        ({"calibration": np.zeros((2, 32, 32, 3))}, "Expected images of shape"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(LiteError, match=message):
        tune(stopwatch(), **options)


@pytest.mark.parametrize(
    "measure",
    [
        lambda files, rounds: {},
        lambda files, rounds: {name: [1.0] for name in files},
        lambda files, rounds: {name: [0.0] * rounds for name in files},
        lambda files, rounds: {name: [math.nan] * rounds for name in files},
    ],
)
def test_a_measurement_that_is_none(measure):
    with pytest.raises(LiteError, match=r"Expected `measure` to give 3 times above 0 for every file. Received others"):
        tune(measure)


def test_a_model_that_was_trained_for_a_recipe():
    graph = lite.quantize_aware(model_of(B0, 64), "int8")
    lite.observe(graph, images(2, 64))
    with pytest.raises(LiteError, match="Expected a model that can become anything"):
        lite.tune(graph)
