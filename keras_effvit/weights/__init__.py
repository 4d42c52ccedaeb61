"""Official weights: reading the authors' files, their names, and putting their arrays into our models."""

from keras_effvit.weights.load import WeightReport, load_state_dict
from keras_effvit.weights.pickle_machine import CheckpointError
from keras_effvit.weights.torch_reader import read_torch

__all__ = ["CheckpointError", "WeightReport", "load_state_dict", "read_torch"]
