"""Segmentation and detection: the dense models of the four papers, on any backbone of the zoo."""

from keras_effvit.tasks.assemble import Pyramid, finish_model, pyramid_of
from keras_effvit.tasks.fpn import feature_pyramid, three_stage_pyramid
from keras_effvit.tasks.registry import TaskRow, create_task, list_tasks, task_row

__all__ = [
    "Pyramid",
    "TaskRow",
    "create_task",
    "feature_pyramid",
    "finish_model",
    "list_tasks",
    "pyramid_of",
    "task_row",
    "three_stage_pyramid",
]
