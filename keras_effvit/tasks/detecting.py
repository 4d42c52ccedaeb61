"""Raw heads to boxes inside a model: decoding and suppression as a layer of fixed sizes, for export or for ease."""

from typing import Any, Literal, get_args

import keras
from keras import ops

from keras_effvit.layers.registration import serializable
from keras_effvit.tasks.anchors import RETINANET_ANCHORS, anchors, cells
from keras_effvit.tasks.boxes import clip, decode
from keras_effvit.tasks.matching import take_rows
from keras_effvit.tasks.nms import nms
from keras_effvit.tasks.raw_heads import geometry, levels, stacked
from keras_effvit.tasks.yolox_points import decode_points

#: Whose heads they are.
HeadKind = Literal["yolox", "retinanet"]
#: Anchors of a level that are looked at, the surest.
MOST_ANCHORS = 1000


@serializable
class Detect(keras.layers.Layer):
    """Boxes, best first, out of the maps of a detector's heads.

    Args:
        kind: whose heads they are, `"yolox"` or `"retinanet"`.
        image_size: (height, width) of the model's input.
        least_score: of a box.
        threshold: of the overlap above which the worse of two boxes of a class goes.
        most: places for boxes; those that no box takes have a score of 0 and a label of -1.
        candidates: so many of the best boxes are compared with each other.

    Raises:
        ValueError: for an unknown kind.

    Example:
        >>> found = Detect("yolox", (416, 416))(model.output)
        >>> {name: x.shape for name, x in found.items()}
        {'boxes': (None, 100, 4), 'labels': (None, 100), 'scores': (None, 100)}
    """

    #: That noise changes what comes first, which `lite.convert` knows how to live with.
    chooses = True

    def __init__(
        self,
        kind: HeadKind,
        image_size: tuple[int, int],
        *,
        least_score: float = 0.05,
        threshold: float = 0.65,
        most: int = 100,
        candidates: int = 400,
        **kwargs,
    ):
        # float32 whatever the policy: half precision has no pixels beyond 2048.
        super().__init__(**{**kwargs, "dtype": "float32"})
        if kind not in get_args(HeadKind):
            raise ValueError(f"`kind` must be one of {get_args(HeadKind)}. Received: kind={kind!r}")
        self.kind = kind
        self.image_size = tuple(image_size)
        self.least_score = least_score
        self.threshold = threshold
        self.most = most
        self.candidates = candidates

    def build(self, input_shape):
        pass  # no weights

    def call(self, inputs):
        boxes, scores = (_yolox if self.kind == "yolox" else _retinanet)(inputs, self.image_size)
        # Every pair of a box and a class is a candidate of its own.
        classes = scores.shape[-1]
        pairs = ops.reshape(scores, (-1, scores.shape[1] * classes))
        number = min(self.candidates, pairs.shape[1])
        best, order = ops.top_k(ops.where(pairs > self.least_score, pairs, 0.0), number)
        order = ops.cast(order, "int32")
        boxes = take_rows(clip(boxes, *self.image_size), order // classes)
        kept = nms(boxes, best, order % classes, threshold=self.threshold, most=self.most)
        return {"boxes": kept.boxes, "scores": kept.scores, "labels": kept.labels}

    def compute_output_spec(self, inputs):
        batch = next(iter(inputs.values())).shape[0]
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
            "kind": self.kind,
            "image_size": list(self.image_size),
            "least_score": self.least_score,
            "threshold": self.threshold,
            "most": self.most,
            "candidates": self.candidates,
        }


def _yolox(outputs, image_size):
    """Boxes (b, n, 4), and scores (b, n, classes) of which a point keeps its best."""
    strides, sizes = geometry(outputs, *image_size)
    points = ops.convert_to_tensor(cells(strides, sizes))
    scores = ops.sigmoid(stacked(outputs, "class", _channels(outputs))) * ops.sigmoid(stacked(outputs, "object", 1))
    best = ops.max(scores, axis=-1, keepdims=True)
    return decode_points(stacked(outputs, "box", 4), points), ops.where(scores == best, scores, 0.0)


def _retinanet(outputs, image_size):
    """Boxes (b, n, 4) and scores (b, n, classes) of the surest anchors of every level."""
    spec = RETINANET_ANCHORS
    strides, sizes = geometry(outputs, *image_size)
    boxes, scores = [], []
    for level, stride, size in zip(levels(outputs), strides, sizes, strict=True):
        of_level = {name: x for name, x in outputs.items() if name.startswith(f"{level}_")}
        probabilities = ops.sigmoid(stacked(of_level, "class", _channels(of_level) // spec.count))
        anchor_boxes = ops.convert_to_tensor(anchors(spec, [stride], [size]))
        decoded = decode(stacked(of_level, "box", 4), anchor_boxes)
        if decoded.shape[1] > MOST_ANCHORS:
            _, order = ops.top_k(ops.max(probabilities, axis=-1), MOST_ANCHORS)
            decoded, probabilities = take_rows(decoded, order), take_rows(probabilities, order)
        boxes.append(decoded)
        scores.append(probabilities)
    return ops.concatenate(boxes, axis=1), ops.concatenate(scores, axis=1)


def _channels(outputs) -> int:
    return outputs[f"{levels(outputs)[0]}_class"].shape[-1]


def with_detections(model: keras.Model, kind: HeadKind, **options: Any) -> keras.Model:
    """A detector that gives boxes instead of raw heads.

    In a file, backbone and heads run in XNNPACK, and part of what this adds on the processor beside it, in float
    whatever the precision. Files of raw heads are one partition; `decoding` finds their boxes in numpy.

    Args:
        model: whose outputs are raw heads.
        kind: as of `Detect`.
        **options: of `Detect`.

    Example:
        >>> finds = with_detections(model, "yolox", most=20)
        >>> finds(images)["boxes"].shape
        (1, 20, 4)
    """
    height, width = model.input_shape[1:3]
    found = Detect(kind, (height, width), name="detections", **options)(model.output)
    return keras.Model(model.input, found, name=model.name)
