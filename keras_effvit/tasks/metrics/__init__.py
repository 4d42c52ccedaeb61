"""How good dense predictions are: mIoU of maps, COCO's average precision of boxes and masks, panoptic quality."""

from keras_effvit.tasks.metrics.coco_ap import AveragePrecision, average_precision
from keras_effvit.tasks.metrics.miou import Overlap, confusion, overlap
from keras_effvit.tasks.metrics.panoptic_quality import PanopticQuality, panoptic_quality

__all__ = [
    "AveragePrecision",
    "Overlap",
    "PanopticQuality",
    "average_precision",
    "confusion",
    "overlap",
    "panoptic_quality",
]
