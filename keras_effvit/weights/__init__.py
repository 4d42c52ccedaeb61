"""Weights from anywhere: reading files without trust, their names, and putting their arrays into our models."""

from keras_effvit.models.assemble import use_weight_loader
from keras_effvit.weights.constructor import load_into
from keras_effvit.weights.formats import Checkpoint, read_checkpoint
from keras_effvit.weights.load import load_state_dict, load_weights
from keras_effvit.weights.pickle_machine import CheckpointError
from keras_effvit.weights.report import WeightReport
from keras_effvit.weights.torch_reader import read_torch

use_weight_loader(load_into)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "WeightReport",
    "load_state_dict",
    "load_weights",
    "read_checkpoint",
    "read_torch",
]
