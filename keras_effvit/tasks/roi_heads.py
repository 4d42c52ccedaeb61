"""The second stage of a two-stage detector: what is in a box, where exactly, and which of its pixels (He et al. 2017).

Legend: `b` images, `r` boxes of an image, patches are what RoIAlign cuts out. The background is the last class.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_effvit.layers.doubling_conv import DoublingConv2D
from keras_effvit.layers.registration import serializable
from keras_effvit.tasks.boxes import clip, decode
from keras_effvit.tasks.detection_inits import head_initializer
from keras_effvit.tasks.matching import take_rows
from keras_effvit.tasks.nms import nms
from keras_effvit.tasks.roi_align import roi_align

#: Sides of the patches for boxes and for masks, and of the masks.
BOX_PATCH, MASK_PATCH = 7, 14
#: The usual sizes of what the box head says.
STDS = (0.1, 0.1, 0.2, 0.2)
#: Convolutions of the mask head.
MASK_DEPTH = 4


def box_head(patches: Any, classes: int, hidden: int, name: str = "box_head") -> tuple[Any, Any]:
    """Classes and boxes of patches (n, 7, 7, c).

    The first linear layer sees the whole patch; it is written as the convolution that has room for one place only, so
    that its weights keep their axes.

    Returns:
        Logits (n, classes + 1) and deltas (n, 4 * classes).
    """
    x = keras.layers.Conv2D(hidden, BOX_PATCH, activation="relu", name=f"{name}_fc1")(patches)
    x = keras.layers.Reshape((hidden,), name=f"{name}_flat")(x)
    x = keras.layers.Dense(hidden, activation="relu", name=f"{name}_fc2")(x)
    logits = keras.layers.Dense(classes + 1, kernel_initializer=head_initializer(), name=f"{name}_class")(x)
    deltas = keras.layers.Dense(4 * classes, kernel_initializer=head_initializer(0.001), name=f"{name}_box")(x)
    return logits, deltas


def mask_head(patches: Any, classes: int, width: int, name: str = "mask_head") -> Any:
    """Masks of patches (n, 14, 14, c): logits (n, 28, 28, classes), a mask for every class."""
    x = patches
    for number in range(1, MASK_DEPTH + 1):
        x = keras.layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_conv{number}",
        )(x)
    x = DoublingConv2D(width, kernel_initializer="he_normal", name=f"{name}_up")(x)
    x = keras.layers.ReLU(name=f"{name}_up_relu")(x)
    return keras.layers.Conv2D(classes, 1, kernel_initializer="he_normal", name=f"{name}_class")(x)


@serializable
class RoiAlign(keras.layers.Layer):
    """Patches of boxes out of a pyramid: takes the maps and the boxes, gives (b * r, size, size, c).

    Args:
        strides: of the maps.
        size: of a patch.

    Example:
        >>> RoiAlign((4,), 7)([maps["P2"], boxes]).shape
        (None, 7, 7, 256)
    """

    def __init__(self, strides: Sequence[int], size: int, **kwargs):
        super().__init__(**kwargs)
        self.strides = tuple(strides)
        self.size = size

    def build(self, input_shape):
        pass  # no weights

    def call(self, inputs):
        *maps, boxes = inputs
        return roi_align(maps, boxes, self.strides, self.size)

    def compute_output_spec(self, inputs):
        batch, count, _ = inputs[-1].shape
        number = None if batch is None else batch * count
        return keras.KerasTensor((number, self.size, self.size, inputs[0].shape[-1]), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "strides": list(self.strides), "size": self.size}


@serializable
class DetectInProposals(keras.layers.Layer):
    """Boxes, best first, out of proposals (b, r, 4) and what the box head says of them.

    Args:
        image_size: (height, width) of the model's input.
        least_score: of a box.
        threshold: of the overlap above which the worse of two boxes of a class goes.
        most: places for boxes; those that no box takes have a score of 0 and a label of -1.
        candidates: so many of the best boxes are compared with each other.

    Example:
        >>> found = DetectInProposals((256, 256))([proposals, logits, deltas])
        >>> found["boxes"].shape
        (None, 100, 4)
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        least_score: float = 0.05,
        threshold: float = 0.5,
        most: int = 100,
        candidates: int = 1000,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.image_size = tuple(image_size)
        self.least_score = least_score
        self.threshold = threshold
        self.most = most
        self.candidates = candidates

    def build(self, input_shape):
        pass  # no weights

    def call(self, inputs):
        proposals, logits, deltas = inputs
        count, classes = proposals.shape[1], logits.shape[-1] - 1
        scores = ops.reshape(ops.softmax(logits, axis=-1)[:, :classes], (-1, count * classes))
        # A proposal that fills a place only has no area.
        there = ops.repeat(proposals[:, :, 2] > proposals[:, :, 0], classes, axis=1)
        scores = ops.where(there & (scores > self.least_score), scores, 0.0)
        best, order = ops.top_k(scores, min(self.candidates, count * classes))
        order = ops.cast(order, "int32")
        chosen = take_rows(ops.reshape(deltas, (-1, count * classes, 4)), order)
        boxes = clip(decode(chosen, take_rows(proposals, order // classes), STDS), *self.image_size)
        kept = nms(boxes, best, order % classes, threshold=self.threshold, most=self.most)
        return {"boxes": kept.boxes, "scores": kept.scores, "labels": kept.labels}

    def compute_output_spec(self, inputs):
        batch = inputs[0].shape[0]
        return {
            "boxes": keras.KerasTensor((batch, self.most, 4), "float32"),
            "scores": keras.KerasTensor((batch, self.most), "float32"),
            "labels": keras.KerasTensor((batch, self.most), "int32"),
        }

    def get_config(self):
        config = super().get_config()
        return {
            "name": config["name"],
            "trainable": config["trainable"],
            "image_size": list(self.image_size),
            "least_score": self.least_score,
            "threshold": self.threshold,
            "most": self.most,
            "candidates": self.candidates,
        }


def of_classes(x, labels):
    """Of every patch the map of its class: (n, rows, columns, classes) and (b, r) -> (b, r, rows, columns)."""
    rows, columns, classes = x.shape[1:]
    wanted = ops.cast(ops.one_hot(ops.maximum(ops.reshape(labels, (-1,)), 0), classes), x.dtype)
    chosen = ops.sum(x * wanted[:, None, None, :], axis=-1)
    return ops.reshape(chosen, (-1, labels.shape[1], rows, columns))


@serializable
class MasksOfClasses(keras.layers.Layer):
    """The probability of every pixel of a box, (b, r, 28, 28), out of mask logits and the boxes' labels.

    Example:
        >>> MasksOfClasses()([logits, labels]).shape
        (None, 100, 28, 28)
    """

    def build(self, input_shape):
        pass  # no weights

    def call(self, inputs):
        logits, labels = inputs
        return ops.sigmoid(ops.cast(of_classes(logits, labels), "float32"))

    def compute_output_spec(self, inputs):
        logits, labels = inputs
        return keras.KerasTensor((*labels.shape, *logits.shape[1:3]), "float32")
