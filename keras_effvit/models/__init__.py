"""The zoo: a file for every family, and the registry over them."""

# Importing a family registers its variants, so this is the order in which they are listed.
# isort: off
from keras_effvit.models import sepvit as sepvit
from keras_effvit.models import lvt as lvt
from keras_effvit.models import lightvit as lightvit
from keras_effvit.models import efficientvit_base as efficientvit_base
from keras_effvit.models import efficientvit_b as efficientvit_b
# isort: on

from keras_effvit.models.macs import count_macs
from keras_effvit.models.registry import (
    ModelInfo,
    create_backbone,
    create_model,
    evaluation_of,
    list_models,
    model_info,
)

__all__ = ["ModelInfo", "count_macs", "create_backbone", "create_model", "evaluation_of", "list_models", "model_info"]
