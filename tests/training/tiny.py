"""The smallest model that has all a run must bring back: moving statistics, stochastic depth, dropout; and its data."""

from dataclasses import replace

import keras
import numpy as np

from keras_effvit.layers.drop_path import DropPath
from keras_effvit.training import Images, Recipe, arrays
from keras_effvit.training.augment import Augment

CLASSES = 3
SIDE = 32
RECIPE = Recipe(
    name="tiny",
    epochs=4,
    batch_size=16,
    learning_rate=3e-3,
    final_rate=1e-5,
    warmup_rate=1e-5,
    warmup_epochs=1,
    weight_decay=0.05,
    clip=1.0,
    augment=Augment(crop_scale=(0.5, 1.0), flip=0.5),
)
#: Everything that has a state.
FULL = replace(RECIPE, name="full", ema=0.99999, augment=replace(RECIPE.augment, mixup=0.2, cutmix=1.0, erasing=0.25))


def model(seed: int = 0, *, norm: bool = True, drop: bool = True, activation: str | None = "softmax") -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, 4, "same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(name="norm")(x) if norm else x
    branch = keras.layers.Conv2D(8, 3, 1, "same", activation="gelu", name="conv")(x)
    x = x + (DropPath(0.2, name="drop_path")(branch) if drop else branch)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.1, name="dropout")(x) if drop else x
    x = keras.layers.Dense(CLASSES, name="head")(x)
    if activation is not None:
        x = keras.layers.Activation(activation, name="predictions")(x)
    return keras.Model(image, x, name="tiny")


def images(count: int, seed: int = 0) -> Images:
    """Three classes that a linear model can tell: one channel of noise is brighter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    pixels = rng.integers(0, 160, (count, SIDE, SIDE, 3))
    pixels[np.arange(count), :, :, labels] += 60
    return arrays(pixels.astype(np.uint8), labels, ("red", "green", "blue"))


def weights(trained: keras.Model) -> list[np.ndarray]:
    return [np.array(value) for value in trained.get_weights()]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(first, second, strict=True))
