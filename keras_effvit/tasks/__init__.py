"""Segmentation and detection: the dense models of the four papers, on any backbone of the zoo."""

# Importing a module of models enters its rows into the catalogue, so this is the order in which they are listed.
# isort: off
from keras_effvit.tasks.semantic_fpn import SemanticFPN
from keras_effvit.tasks.upernet import UperNet
from keras_effvit.tasks.segformer import SegFormer
from keras_effvit.tasks.efficientvit_seg import EfficientViTSeg
from keras_effvit.tasks.efficientvit_seg_b import EfficientViTSegB
# isort: on

from keras_effvit.tasks.assemble import Pyramid, finish_model, pyramid_of
from keras_effvit.tasks.fpn import feature_pyramid, three_stage_pyramid
from keras_effvit.tasks.registry import TaskRow, create_task, list_tasks, task_row

__all__ = [
    "EfficientViTSeg",
    "EfficientViTSegB",
    "Pyramid",
    "SegFormer",
    "SemanticFPN",
    "TaskRow",
    "UperNet",
    "create_task",
    "feature_pyramid",
    "finish_model",
    "list_tasks",
    "pyramid_of",
    "task_row",
    "three_stage_pyramid",
]
