"""From images to a trained model: data, augmentation, the papers' recipes."""

from keras_effvit.training.augment import Augment
from keras_effvit.training.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_effvit.training.cache import cached
from keras_effvit.training.drawing import drawn
from keras_effvit.training.errors import TrainingError
from keras_effvit.training.folders import image_folder
from keras_effvit.training.images import Images, Skipped, arrays
from keras_effvit.training.papers import RECIPES, recipe_for
from keras_effvit.training.recipe import Recipe
from keras_effvit.training.records import records, write_records
from keras_effvit.training.runs import Epoch, Run, read_run
from keras_effvit.training.scale import strategy

__all__ = [
    "RECIPES",
    "Augment",
    "Epoch",
    "Images",
    "Recipe",
    "Run",
    "Skipped",
    "TrainingError",
    "arrays",
    "cached",
    "drawn",
    "evaluation_batches",
    "image_folder",
    "read_run",
    "recipe_for",
    "records",
    "steps_per_epoch",
    "strategy",
    "training_batches",
    "write_records",
]
