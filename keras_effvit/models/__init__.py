"""The zoo: a file for every family, and the registry over them."""

from keras_effvit.models import efficientvit_b as efficientvit_b
from keras_effvit.models import efficientvit_base as efficientvit_base
from keras_effvit.models import lightvit as lightvit
from keras_effvit.models import lvt as lvt
from keras_effvit.models import sepvit as sepvit  # importing a family registers its variants
from keras_effvit.models.macs import count_macs
from keras_effvit.models.registry import ModelInfo, create_backbone, create_model, list_models, model_info

__all__ = ["ModelInfo", "count_macs", "create_backbone", "create_model", "list_models", "model_info"]
