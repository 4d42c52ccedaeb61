"""Efficient vision transformers in Keras 3, on their way to a phone."""

from keras_effvit import device, explain, layers, lite, report, weights
from keras_effvit.models import (
    ModelInfo,
    create_backbone,
    create_model,
    list_models,
    model_info,
)
from keras_effvit.models.efficientvit_b import EfficientViTB0, EfficientViTB1, EfficientViTB2, EfficientViTB3
from keras_effvit.models.efficientvit_base import EfficientViTBase
from keras_effvit.models.lightvit import LightViTBase, LightViTSmall, LightViTTiny
from keras_effvit.models.lvt import LVT, LVTLarge
from keras_effvit.models.sepvit import SepViTBase, SepViTLite, SepViTSmall, SepViTTiny
from keras_effvit.preprocessing import decode_predictions, preprocess_input

__all__ = [
    "EfficientViTB0",
    "EfficientViTB1",
    "EfficientViTB2",
    "EfficientViTB3",
    "EfficientViTBase",
    "LVT",
    "LVTLarge",
    "LightViTBase",
    "LightViTSmall",
    "LightViTTiny",
    "ModelInfo",
    "SepViTBase",
    "SepViTLite",
    "SepViTSmall",
    "SepViTTiny",
    "create_backbone",
    "create_model",
    "decode_predictions",
    "device",
    "explain",
    "layers",
    "lite",
    "list_models",
    "model_info",
    "preprocess_input",
    "report",
    "weights",
]

__version__ = "0.1.0"
