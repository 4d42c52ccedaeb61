"""The one door to tensorflow-model-optimization, which turns `tf.keras` into Keras 2 wherever it is imported first."""

import os
from functools import cache
from types import SimpleNamespace

LEGACY = "TF_USE_LEGACY_KERAS"


@cache
def tfmot() -> SimpleNamespace:
    """The parts of it that know no Keras, schedules of pruning and masks; the environment stays as it was."""
    import tensorflow as tf

    _ = tf.keras.Model  # bound to Keras 3 from here on
    before = os.environ.get(LEGACY)
    try:
        from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl, pruning_schedule
    finally:
        if before is None:
            os.environ.pop(LEGACY, None)
        else:
            os.environ[LEGACY] = before
    return SimpleNamespace(Pruning=pruning_impl.Pruning, schedules=pruning_schedule)
