"""The papers' recipes: a row for each."""

from dataclasses import replace
from typing import Any

from keras_effvit.models.registry import families, list_models, models_of
from keras_effvit.training.augment import Augment
from keras_effvit.training.recipe import Recipe

# What a paper does not print is what its authors' code has, and otherwise says so.
RECIPES: dict[str, Recipe] = {
    "sepvit": Recipe(
        name="sepvit",
        learning_rate=1e-3, final_rate=1e-5, warmup_rate=1e-6, warmup_epochs=5, weight_decay=0.05, clip=5.0,
        augment=Augment(
            crop_scale=(0.08, 1.0), flip=0.5, rand_augment=(2, 9, 0.5), color_jitter=0.4, erasing=0.25,
            mixup=0.8, cutmix=1.0, switch=0.5,
        ),
    ),
    "lvt": Recipe(
        name="lvt",
        learning_rate=1.6e-3, final_rate=1e-5, warmup_rate=1e-6, warmup_epochs=20, weight_decay=0.05,
        token_loss=0.5,
        augment=Augment(crop_scale=(0.08, 1.0), flip=0.5, rand_augment=(2, 9, 0.5), erasing=0.25),
    ),
    "lightvit": Recipe(
        name="lightvit",
        learning_rate=1e-3, final_rate=1e-6, warmup_rate=1e-7, warmup_epochs=20, weight_decay=0.04,
        undecayed=("token", "bias_table"),
        augment=Augment(
            crop_scale=(0.08, 1.0), flip=0.5, rand_augment=(2, 9, 0.5), color_jitter=0.3, erasing=0.25,
            mixup=0.2, cutmix=1.0,
        ),
    ),
    # 2.5e-4 for every 128 images. How strong its mixing is, is nowhere said: as in LightViT here. The authors also vary
    # the images' size from batch to batch and let the stochastic depth grow, which `fit` does not.
    "efficientvit": Recipe(
        name="efficientvit", epochs=320,
        learning_rate=2e-3, final_rate=0.0, warmup_rate=0.0, warmup_epochs=20, weight_decay=0.1, clip=2.0,
        ema=0.9998, loss="sigmoid", statistics_images=16_000,
        augment=Augment(crop_scale=(0.08, 1.0), flip=0.5, mixup=0.2, cutmix=1.0),
    ),
}  # fmt: skip
#: What single models of a family do differently.
OWN: dict[str, dict[str, Any]] = {"sepvit_base": {"warmup_epochs": 20, "weight_decay": 0.1}}


def recipe_for(model: str) -> Recipe:
    """The recipe that a model's authors trained it by.

    Args:
        model: one of `list_models()`, or a family: `"sepvit"`, `"lvt"`, `"lightvit"` or `"efficientvit"`.

    Raises:
        ValueError: if there is none.

    Example:
        >>> recipe_for("lvt").learning_rate, recipe_for("sepvit_base").weight_decay
        (0.0016, 0.1)
    """
    if model in RECIPES:
        return RECIPES[model]
    for family in families():
        if model in models_of(family):
            return replace(RECIPES[family.partition("_")[0]], **OWN.get(model, {}))
    raise ValueError(f"Expected one of {list(RECIPES)} or {list_models()}. Received: {model!r}")
