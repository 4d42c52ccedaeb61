"""Segmentation and detection: the dense models of the four papers, on any backbone of the zoo."""

# Importing a module of models enters its rows into the catalogue, so this is the order in which they are listed.
# isort: off
from keras_effvit.tasks.semantic_fpn import SemanticFPN
from keras_effvit.tasks.upernet import UperNet
from keras_effvit.tasks.segformer import SegFormer
from keras_effvit.tasks.efficientvit_seg import EfficientViTSeg
from keras_effvit.tasks.efficientvit_seg_b import EfficientViTSegB
from keras_effvit.tasks.retinanet import RetinaNet
from keras_effvit.tasks.yolox import EfficientViTDet
from keras_effvit.tasks.mask_rcnn import MaskRCNN
from keras_effvit.tasks.panoptic_fpn import PanopticFPN
# isort: on

from keras_effvit.tasks import metrics
from keras_effvit.tasks.assemble import Pyramid, finish_model, pyramid_of
from keras_effvit.tasks.changes import Change
from keras_effvit.tasks.coco import coco_scenes
from keras_effvit.tasks.coco_panoptic import coco_panoptic_scenes
from keras_effvit.tasks.fitting import fit_detector, fit_segmenter, fit_two_stage
from keras_effvit.tasks.fpn import feature_pyramid, three_stage_pyramid
from keras_effvit.tasks.mask_folders import mask_folder
from keras_effvit.tasks.measuring import measure_detector, measure_panoptic, measure_segmenter
from keras_effvit.tasks.panoptic_saving import save_coco_panoptic
from keras_effvit.tasks.pictures import detection_grid, segmentation_grid
from keras_effvit.tasks.problems import AnnotationError
from keras_effvit.tasks.registry import TaskRow, create_task, list_tasks, task_row
from keras_effvit.tasks.samples import Detections, Problem, Scene, Scenes, Segments, panoptic
from keras_effvit.tasks.scenes import drawn_scenes

__all__ = [
    "AnnotationError",
    "Change",
    "Detections",
    "EfficientViTDet",
    "EfficientViTSeg",
    "EfficientViTSegB",
    "MaskRCNN",
    "PanopticFPN",
    "Problem",
    "Pyramid",
    "RetinaNet",
    "Scene",
    "Scenes",
    "SegFormer",
    "Segments",
    "SemanticFPN",
    "TaskRow",
    "UperNet",
    "coco_panoptic_scenes",
    "coco_scenes",
    "create_task",
    "detection_grid",
    "drawn_scenes",
    "feature_pyramid",
    "finish_model",
    "fit_detector",
    "fit_segmenter",
    "fit_two_stage",
    "list_tasks",
    "mask_folder",
    "measure_detector",
    "measure_panoptic",
    "measure_segmenter",
    "metrics",
    "panoptic",
    "pyramid_of",
    "save_coco_panoptic",
    "segmentation_grid",
    "task_row",
    "three_stage_pyramid",
]
