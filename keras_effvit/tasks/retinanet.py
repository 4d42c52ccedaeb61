"""RetinaNet's head: two towers of convolutions that all levels of a pyramid share (Lin et al. 2017)."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_effvit.layers.conv import PaddedConv2D
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.tasks.anchors import RETINANET_ANCHORS
from keras_effvit.tasks.yolox import prior_bias

#: Standard deviation of the initial weights.
DEVIATION = 0.01
#: Convolutions of a tower.
DEPTH = 4


def head_conv(filters: int, kernel: int, name: str, bias: Any = "zeros") -> PaddedConv2D:
    """A convolution with the small initial weights that heads of detectors start with."""
    return PaddedConv2D(
        filters,
        kernel,
        kernel_initializer=keras.initializers.RandomNormal(stddev=DEVIATION),
        bias_initializer=bias,
        name=name,
    )


@serializable
class RetinaNetHead(Composite):
    """Says of every anchor of a map its classes, and how far its object is from it.

    Args:
        classes: number of classes.
        anchors: of a cell.
        filters: of the towers.
        depth: convolutions of a tower.

    Example:
        >>> [x.shape for x in RetinaNetHead(80)(keras.ops.ones((1, 8, 8, 256)))]
        [(1, 8, 8, 720), (1, 8, 8, 36)]
    """

    def __init__(
        self,
        classes: int,
        *,
        anchors: int = RETINANET_ANCHORS.count,
        filters: int = 256,
        depth: int = DEPTH,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.classes = classes
        self.anchors = anchors
        self.filters = filters
        self.depth = depth

    def build(self, input_shape):
        self.class_convs, self.box_convs = (
            [head_conv(self.filters, 3, f"{tower}_conv{i + 1}") for i in range(self.depth)] for tower in ("cls", "reg")
        )
        self.class_prediction = head_conv(self.anchors * self.classes, 3, "cls", prior_bias())
        self.box_prediction = head_conv(self.anchors * 4, 3, "reg")
        for tower, last in ((self.class_convs, self.class_prediction), (self.box_convs, self.box_prediction)):
            shape = input_shape
            for conv in (*tower, last):
                conv.build(shape)
                shape = conv.compute_output_shape(shape)

    def call(self, inputs):
        of_class = of_box = inputs
        for conv in self.class_convs:
            of_class = ops.relu(conv(of_class))
        for conv in self.box_convs:
            of_box = ops.relu(conv(of_box))
        return self.class_prediction(of_class), self.box_prediction(of_box)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.anchors * self.classes), (*input_shape[:-1], self.anchors * 4)

    def get_config(self):
        return {
            **super().get_config(),
            "classes": self.classes,
            "anchors": self.anchors,
            "filters": self.filters,
            "depth": self.depth,
        }


def retinanet_heads(maps: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The raw heads of a pyramid.

    Args:
        maps: by level, `P3` to `P7`, all of one width.
        classes: number of classes.

    Returns:
        For every level `class` (b, rows, columns, 9 * classes) and `box` (b, rows, columns, 36).
    """
    head = RetinaNetHead(classes, filters=next(iter(maps.values())).shape[-1], name="bbox_head")
    outputs = {}
    for level, x in maps.items():
        outputs[f"{level}_class"], outputs[f"{level}_box"] = head(x)
    return outputs
