"""`Recipe.finetune_quantized`: a few epochs to get used to integers, with the model itself in float as the teacher."""

import numpy as np

from keras_effvit.lite.graph import Graph
from keras_effvit.lite.quantize_aware import observe, quantize_aware
from keras_effvit.training.fitting import fit
from keras_effvit.training.job import Job

#: On how many images the ranges of activations are first seen.
CALIBRATION = 256


def finetune_quantized(job: Job, precision: str) -> Graph:
    """What `Recipe.finetune_quantized` does.

    Args:
        job: of the float model, which is its own teacher.
        precision: what to simulate.
    """
    graph = quantize_aware(job.model, precision)
    for layer in graph._flatten_layers():
        if isinstance(getattr(layer, "rate", None), float):
            layer.rate = 0.0  # the teacher drops nothing either
    observe(graph, np.concatenate([x for x, _ in job.prepared(job.some(CALIBRATION))]))
    fit(Job(job.recipe, graph, job.train, job.val, job.settings, job.folder, job.model, job.strategy))
    return graph
