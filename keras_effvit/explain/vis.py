"""The one door to tf-keras-vis, which wants a flat model of one float input, a map on the way, and logits."""

import warnings
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import keras

from keras_effvit.explain.steps import Program

#: Name of the layer that gives the map, in the models made here.
MAP = "map"
#: What is known of tensors before they are there: shape and type, for any number of images.
Symbols = dict[int, keras.KerasTensor]


@cache
def tf_keras_vis() -> SimpleNamespace:
    """Its classes.

    Raises:
        ImportError: where TensorFlow's Keras is another one than Keras.
    """
    import tensorflow as tf

    if tf.keras.Model is not keras.Model:
        raise ImportError(
            "tf-keras-vis works with TensorFlow's Keras, which is another one here. Unset TF_USE_LEGACY_KERAS"
        )
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of names in scipy
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
        from tf_keras_vis.saliency import Saliency
        from tf_keras_vis.scorecam import Scorecam
    return SimpleNamespace(Gradcam=Gradcam, GradcamPlusPlus=GradcamPlusPlus, Saliency=Saliency, Scorecam=Scorecam)


class _Part(keras.layers.Layer):
    """Some steps of a program as a layer, which was told what it gives."""

    def __init__(self, run: Callable, given: list[keras.KerasTensor], name: str):
        super().__init__(name=name, dtype="float32", autocast=False)
        self.run = run
        self.given = given

    def call(self, *tensors):
        return self.run(*tensors)

    def compute_output_spec(self, *tensors):
        return list(self.given)


def model_around(program: Program, symbols: Symbols, cut: int | None) -> keras.Model:
    """A model as tf-keras-vis likes it, from an image to logits, that calls the steps of another.

    Args:
        program: the other model's.
        symbols: what is known of its tensors once an image went through.
        cut: number of the step that gives the map; without one the model has no layer `MAP`.
    """
    inputs = keras.Input(symbols[program.image].shape[1:], name="image")
    first = 0 if cut is None else cut + 1
    crossing = program.crossing(first)
    tensors = [inputs]
    if cut is not None:
        symbol = program.steps[cut].writes[0]
        crossing = [symbol, *(other for other in crossing if other != symbol)]
        tensors = _part(program, slice(0, first), [program.image], crossing, symbols)(inputs)
        tensors[0] = keras.layers.Activation("linear", name=MAP, dtype="float32")(tensors[0])
    [logits] = _part(program, slice(first, None), crossing, [program.logits], symbols)(*tensors)
    model = keras.Model([inputs], [logits])  # lists, as tf-keras-vis calls it
    model.run_eagerly = True  # a graph of it would be used once
    return model


def _part(program: Program, steps: slice, reads: list[int], writes: list[int], symbols: Symbols) -> _Part:
    def run(*tensors):
        known = dict(zip(reads, tensors, strict=True))
        for _ in program.run(known, steps):
            pass
        return [known[symbol] for symbol in writes]

    return _Part(run, [symbols[symbol] for symbol in writes], f"from_step_{steps.start}")
