"""From images to a trained model: data, augmentation, the papers' recipes."""

from keras_effvit.training.drawing import drawn
from keras_effvit.training.images import Images, Skipped, arrays

__all__ = ["Images", "Skipped", "arrays", "drawn"]
