"""The recipes, held against what the papers and their authors' scripts say."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_effvit import create_model, list_models
from keras_effvit.training import RECIPES, Augment, Recipe, recipe_for
from keras_effvit.training.recipe import IMAGENET
from keras_effvit.training.schedule import undecayed

#: Rates at a batch of 1024: highest, last, first; warm-up and all epochs; decay, clipping, smoothing.
PRINTED = {
    "sepvit": (1e-3, 1e-5, 1e-6, 5, 300, 0.05, 5.0, 0.1),
    "lvt": (1.6e-3, 1e-5, 1e-6, 20, 300, 0.05, None, 0.1),
    "lightvit": (1e-3, 1e-6, 1e-7, 20, 300, 0.04, None, 0.1),
    "efficientvit": (8 * 2.5e-4, 0, 0, 20, 320, 0.1, 2.0, 0.1),
}
#: RandAugment, colour jitter, erasing, MixUp, CutMix.
AUGMENTED = {
    "sepvit": ((2, 9, 0.5), 0.4, 0.25, 0.8, 1.0),
    "lvt": ((2, 9, 0.5), 0.0, 0.25, 0.0, 0.0),
    "lightvit": ((2, 9, 0.5), 0.3, 0.25, 0.2, 1.0),
}


@pytest.mark.parametrize("name", PRINTED)
def test_figures_are_the_papers(name):
    row = RECIPES[name]
    assert row.batch_size == 1024
    assert (row.learning_rate, row.final_rate, row.warmup_rate, row.warmup_epochs, row.epochs) == PRINTED[name][:5]
    assert (row.weight_decay, row.clip, row.label_smoothing) == PRINTED[name][5:]
    assert row.augment.crop_scale == (0.08, 1.0)
    if name in AUGMENTED:
        figures = row.augment
        seen = figures.rand_augment, figures.color_jitter, figures.erasing, figures.mixup, figures.cutmix
        assert seen == AUGMENTED[name]


def test_what_only_one_paper_does():
    assert (RECIPES["efficientvit"].loss, RECIPES["efficientvit"].ema) == ("sigmoid", 0.9998)
    assert RECIPES["efficientvit"].statistics_images == 16_000
    assert RECIPES["lvt"].token_loss == 0.5
    base = recipe_for("sepvit_base")
    assert (base.warmup_epochs, base.weight_decay) == (20, 0.1)


def test_every_model_has_its_family_s_recipe():
    for name in list_models():
        assert recipe_for(name).name == name.partition("_")[0]
    with pytest.raises(ValueError, match="Received: 'resnet'"):
        recipe_for("resnet")


@pytest.mark.parametrize(
    ("name", "free"),
    [("sepvit_lite", set()), ("lightvit_tiny", {"token", "bias_table"}), ("efficientvit_b0", set()), ("lvt", set())],
)
def test_decay_leaves_alone_what_the_authors_say(name, free):
    model = create_model(name, input_shape=(64, 64, 3) if name != "sepvit_lite" else (224, 224, 3), classes=2)
    variables, left = model.trainable_variables, undecayed(model.trainable_variables, recipe_for(name).undecayed)
    names = {variable.name for variable in left}
    assert names == {variable.name for variable in variables if len(variable.shape) < 2} | free
    assert free | {"bias", "gamma", "beta"} <= {variable.name for variable in variables}
    if name == "sepvit_lite":
        assert "token" in {variable.name for variable in variables} - names, "window tokens are decayed"


def rates(recipe, steps_per_epoch, epochs, batch_size):
    optimizer = recipe.optimizer(
        [keras.Variable(np.zeros(2))], steps_per_epoch=steps_per_epoch, epochs=epochs, batch_size=batch_size
    )
    schedule = optimizer._learning_rate
    return [float(schedule(step)) for step in range(steps_per_epoch * epochs + 1)]


def test_rates_grow_with_the_batch_and_a_short_run_warms_up_as_long_a_share_of_it():
    recipe = RECIPES["sepvit"]
    whole = rates(recipe, 2, 300, 1024)
    assert (whole[0], max(whole), whole[-1]) == pytest.approx((1e-6, 1e-3, 1e-5), rel=1e-4)
    assert whole.index(max(whole)) == 2 * 5
    short = rates(recipe, 20, 30, 64)
    assert (short[0], max(short), short[-1]) == pytest.approx((1e-6 / 16, 1e-3 / 16, 1e-5 / 16), rel=1e-4)
    assert short.index(max(short)) == 20 * 0.5
    assert len(rates(replace(recipe, warmup_epochs=300), 1, 1, 64)) == 2, "one step is left after any warm-up"


def test_a_moving_average_forgets_over_the_same_share_of_a_run():
    recipe = RECIPES["efficientvit"]
    assert recipe.momentum(320 * IMAGENET // 1024) == pytest.approx(0.9998, abs=1e-8)
    # The average of a run of 4000 steps reaches back 50 steps, if that of 400 000 reaches back 5000.
    assert recipe.momentum(4000) == pytest.approx(1 - 1 / (5000 / (320 * IMAGENET / 1024) * 4000), abs=1e-8)
    assert recipe.momentum(1) == 0.0, "nothing to average"
    with pytest.raises(ValueError, match="ema=None"):
        RECIPES["lvt"].momentum(10)


def test_fine_tuning_is_gentler():
    for recipe in RECIPES.values():
        gentle = recipe.fine_tune()
        assert gentle.learning_rate <= recipe.learning_rate / 5
        assert gentle.epochs < recipe.epochs / 5
        assert gentle.augment.mixup == gentle.augment.cutmix == gentle.augment.erasing == 0
        assert (gentle.loss, gentle.weight_decay, gentle.clip) == (recipe.loss, recipe.weight_decay, recipe.clip)


def test_what_a_recipe_leaves_alone_stays_alone():
    """Training for integers went on with crops and colours that a model trained without them had never seen."""
    plain = replace(RECIPES["lvt"], augment=Augment(flip=0.5))
    wide = replace(RECIPES["lvt"], augment=Augment(crop_scale=(0.8, 0.9), color_jitter=0.1))
    for gentler in (Recipe.fine_tune, Recipe.quantized):
        assert gentler(plain).augment == plain.augment
        assert gentler(wide).augment == wide.augment
        assert gentler(RECIPES["lvt"]).augment == Augment(crop_scale=(0.35, 1.0), flip=0.5, color_jitter=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "`epochs` must be a positive integer. Received: epochs=0"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"learning_rate": math.nan}, "`learning_rate` must be positive"),
        ({"weight_decay": -0.1}, "`weight_decay` must not be negative"),
        ({"ema": 1.5}, "`ema` must be between 0 and 1"),
        ({"loss": "hinge"}, "Received: loss='hinge'"),
    ],
)
def test_figures_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPES["lvt"], **change)
