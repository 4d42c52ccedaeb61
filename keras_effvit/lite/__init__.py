"""From Keras to a `.tflite` file that is one XNNPACK partition: converted, looked into, proven."""

from keras_effvit.lite.calibration import Calibration
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.comparison import LayerError, Parity, compare, walk
from keras_effvit.lite.conversion import Converted, convert
from keras_effvit.lite.delegates import Refusal, gpu_refusals, nnapi_refusals
from keras_effvit.lite.evaluation import Accuracy, evaluate
from keras_effvit.lite.graph import Graph, flatten, restore_weights
from keras_effvit.lite.inspection import Inspection, inspect
from keras_effvit.lite.metadata import read_metadata
from keras_effvit.lite.pruning import constant_sparsity, polynomial_decay, prune, sparsity
from keras_effvit.lite.quantize_aware import observe, quantize_aware
from keras_effvit.lite.recipe import Recipe, Rule, load_recipe
from keras_effvit.lite.strip import draw_strip
from keras_effvit.lite.timing import host_times
from keras_effvit.lite.tuning import Candidate, Tuned, tune

__all__ = [
    "sparsity",
    "prune",
    "polynomial_decay",
    "constant_sparsity",
    "quantize_aware",
    "observe",
    "restore_weights",
    "flatten",
    "Graph",
    "Accuracy",
    "Calibration",
    "Candidate",
    "Converted",
    "Inspection",
    "LayerError",
    "LiteError",
    "Parity",
    "Recipe",
    "Refusal",
    "Rule",
    "Tuned",
    "compare",
    "convert",
    "draw_strip",
    "evaluate",
    "gpu_refusals",
    "host_times",
    "inspect",
    "load_recipe",
    "nnapi_refusals",
    "read_metadata",
    "tune",
    "walk",
]
