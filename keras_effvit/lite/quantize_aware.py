"""Training for integers: a graph that rounds, while it learns, wherever its file will."""

from pathlib import Path
from typing import Any

import keras

from keras_effvit.layers.lowerings import lowering
from keras_effvit.lite.calibration import images_of
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.exporting import in_float32
from keras_effvit.lite.fake_quant import FakeQuant
from keras_effvit.lite.graph import Graph, flatten, scales_pixels
from keras_effvit.lite.placement import Placement
from keras_effvit.lite.recipe import Recipe, load_recipe


def quantize_aware(
    model: keras.Model,
    config: str | Path | Recipe = "int8",
    *,
    calibration: Any = None,
    momentum: float = 0.99,
) -> Graph:
    """The model, rounding weights and activations as a recipe's file will, ready for `compile` and `fit`.

    Batch normalisation uses its moving statistics and leaves them as they are. `convert` makes a file of the result
    without any images: the ranges were learnt. `restore_weights` brings the weights back into a model like the one it
    was made of.

    Args:
        model: a functional model with one input.
        config: a precision, the path of a recipe, or a recipe.
        calibration: images to set the ranges by before training, as of `convert`; the first batch does it otherwise.
        momentum: of the ranges' moving average.

    Returns:
        A model that trains and saves like any other.

    Raises:
        LiteError: if the recipe rounds nothing, or what cannot be simulated.

    Example:
        >>> aware = quantize_aware(SepViTLite(classes=10, classifier_activation=None), calibration=images)
        >>> aware.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> aware.fit(images, labels)
        >>> convert(aware).save("sepvit_lite.tflite")
    """
    recipe = load_recipe(config)
    with lowering(hard_swish=recipe.hard_swish, one_key="product"):
        graph = flatten(in_float32(model))
    aware = Placement(graph, recipe, momentum).place()
    if calibration is not None:
        observe(aware, images_of(calibration, aware.inputs[0].shape[1:], scale=not scales_pixels(model)))
    return aware


def observe(aware: keras.Model, images: Any, batch: int = 8) -> None:
    """Sets the ranges of a graph by images, without training.

    Args:
        aware: of `quantize_aware`.
        images: (n, height, width, channels), as they go into the model.
        batch: images at a time.
    """
    quantizers = quantizers_of(aware)
    for quantizer in quantizers:
        quantizer.seen.assign(0.0)
        quantizer.observing = True
    try:
        for start in range(0, len(images), batch):
            aware(images[start : start + batch], training=False)
    finally:
        for quantizer in quantizers:
            quantizer.observing = False


def recipe_of(model: keras.Model) -> Recipe | None:
    """What a graph was made to round for; `None` of any other model.

    Args:
        model: any model.

    Raises:
        LiteError: if nothing was learnt yet.
    """
    if not isinstance(model, Graph) or "recipe" not in model.notes:
        return None
    blank = [quantizer.name for quantizer in quantizers_of(model) if not keras.ops.convert_to_numpy(quantizer.seen)]
    if blank:
        raise LiteError(
            f"Expected a model that was trained or calibrated. Received: {model.name} with {len(blank)} ranges that "
            f"nothing has set, such as that of {blank[0]}; `fit` or `observe` sets them"
        )
    return Recipe.from_json(model.notes["recipe"])


def quantizers_of(aware: keras.Model) -> list[FakeQuant]:
    """What learns a range in a graph."""
    return [layer for layer in aware.layers if isinstance(layer, FakeQuant) and layer.learns]
