"""Efficient vision transformers in Keras 3, on their way to a phone."""

from keras_effvit import layers, weights
from keras_effvit.models import (
    ModelInfo,
    create_backbone,
    create_model,
    list_models,
    model_info,
)
from keras_effvit.models.sepvit import SepViTBase, SepViTLite, SepViTSmall, SepViTTiny
from keras_effvit.preprocessing import decode_predictions, preprocess_input

__all__ = [
    "ModelInfo",
    "SepViTBase",
    "SepViTLite",
    "SepViTSmall",
    "SepViTTiny",
    "create_backbone",
    "create_model",
    "decode_predictions",
    "layers",
    "list_models",
    "model_info",
    "preprocess_input",
    "weights",
]

__version__ = "0.1.0"
