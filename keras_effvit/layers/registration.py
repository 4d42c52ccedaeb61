"""What makes a layer ours: the package it is saved under, and how one holds others."""

import functools
from collections.abc import Callable

import keras

PACKAGE = "keras_effvit"

#: Class decorator: makes a layer loadable from a `.keras` file after `import keras_effvit`.
serializable = keras.saving.register_keras_serializable(package=PACKAGE)


class Composite(keras.layers.Layer):
    """A layer that holds others and lends them its dtype policy; it creates them in `build`.

    Keras gives a new layer the global policy. A composite made with a policy of its own, or loaded from a file that was
    saved under another, would otherwise run its parts in the wrong precision.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _under_own_policy(cls.build)


def _under_own_policy(build: Callable) -> Callable:
    @functools.wraps(build)
    def wrapped(layer, *args, **kwargs):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(layer.dtype_policy)
        try:
            return build(layer, *args, **kwargs)
        finally:
            keras.config.set_dtype_policy(before)

    return wrapped
