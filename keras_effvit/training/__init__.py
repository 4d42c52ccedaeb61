"""From images to a trained model: data, augmentation, the papers' recipes."""

from keras_effvit.training.augment import Augment
from keras_effvit.training.batches import evaluation_batches, steps_per_epoch, training_batches
from keras_effvit.training.drawing import drawn
from keras_effvit.training.folders import image_folder
from keras_effvit.training.images import Images, Skipped, arrays

__all__ = [
    "Augment",
    "Images",
    "Skipped",
    "arrays",
    "drawn",
    "evaluation_batches",
    "image_folder",
    "steps_per_epoch",
    "training_batches",
]
