"""Official weights: the authors' names, and putting their arrays into our models."""

from keras_effvit.weights.load import WeightReport, load_state_dict

__all__ = ["WeightReport", "load_state_dict"]
