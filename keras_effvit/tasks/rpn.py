"""Region proposals: boxes in which something may be, whatever it is (Ren et al. 2015; Lin et al. 2017)."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_effvit.layers.registration import serializable
from keras_effvit.tasks.anchors import RPN_ANCHORS, anchors
from keras_effvit.tasks.boxes import clip, decode
from keras_effvit.tasks.detection_losses import anchor_targets, objects_of, sigmoid_cross_entropy
from keras_effvit.tasks.matching import match, take_rows
from keras_effvit.tasks.nms import nms
from keras_effvit.tasks.raw_heads import geometry, levels, stacked
from keras_effvit.tasks.retinanet import head_conv
from keras_effvit.tasks.sampling import draw

#: Boxes of a level that compete, and of all levels together that are proposed.
MOST_OF_A_LEVEL, MOST = 1000, 1000
#: Of the overlap above which the worse of two proposals goes.
THRESHOLD = 0.7
#: Anchors of an image to learn from, and how many of them may be positive.
SAMPLES, POSITIVE_SHARE = 256, 0.5
#: Overlaps from which an anchor is positive, below which negative, and from which an object claims its best.
ABOVE, BELOW, LEAST = 0.7, 0.3, 0.3


def rpn_heads(maps: Mapping[str, Any], name: str = "rpn_head") -> dict[str, Any]:
    """Of every anchor whether something is there, and how far it is from it.

    Args:
        maps: by level, `P2` to `P6`, all of one width.
        name: what the layers' names begin with.

    Returns:
        For every level `object` (b, rows, columns, 3) and `box` (b, rows, columns, 12).
    """
    width = next(iter(maps.values())).shape[-1]
    conv = head_conv(width, 3, f"{name}_conv", activation="relu")
    of_object = head_conv(RPN_ANCHORS.count, 1, f"{name}_object")
    of_box = head_conv(RPN_ANCHORS.count * 4, 1, f"{name}_box")
    outputs = {}
    for level, x in maps.items():
        x = conv(x)
        outputs[f"{level}_object"], outputs[f"{level}_box"] = of_object(x), of_box(x)
    return outputs


def propose(outputs: Mapping[str, Any], image_size: tuple[int, int], most: int = MOST):
    """The boxes that most probably hold something.

    Levels do not compete: each is thinned out on its own, then the best of all go on.

    Args:
        outputs: of `rpn_heads`.
        image_size: (height, width).
        most: to propose of an image.

    Returns:
        (b, most, 4), best first, and their probabilities (b, most), 0 where there are no more.
    """
    strides, sizes = geometry(outputs, *image_size)
    boxes, scores = [], []
    for level, stride, size in zip(levels(outputs), strides, sizes, strict=True):
        of_level = {name: x for name, x in outputs.items() if name.startswith(f"{level}_")}
        anchor_boxes = ops.convert_to_tensor(anchors(RPN_ANCHORS, [stride], [size]))
        decoded = clip(decode(stacked(of_level, "box", 4), anchor_boxes), *image_size)
        probabilities = ops.sigmoid(stacked(of_level, "object", 1))[:, :, 0]
        number = min(MOST_OF_A_LEVEL, probabilities.shape[1])
        kept = nms(decoded, probabilities, threshold=THRESHOLD, most=number, candidates=number)
        boxes.append(kept.boxes)
        scores.append(kept.scores)
    boxes, scores = ops.concatenate(boxes, axis=1), ops.concatenate(scores, axis=1)
    number = min(most, scores.shape[1])
    scores, order = ops.top_k(scores, number)
    boxes = take_rows(boxes, order)
    missing = ((0, 0), (0, most - number))
    return ops.pad(boxes, (*missing, (0, 0))), ops.pad(scores, missing)


@serializable
class Propose(keras.layers.Layer):
    """Proposals out of the maps of `rpn_heads`; no gradient goes through them.

    Args:
        image_size: (height, width) of the model's input.
        most: to propose of an image.

    Example:
        >>> Propose((256, 256), most=100)(rpn_heads(maps)).shape
        (None, 100, 4)
    """

    def __init__(self, image_size: tuple[int, int], most: int = MOST, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        height, width = image_size
        self.image_size = (height, width)
        self.most = most

    def build(self, input_shape):
        pass  # no weights

    def call(self, inputs):
        return ops.stop_gradient(propose(inputs, self.image_size, self.most)[0])

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((next(iter(inputs.values())).shape[0], self.most, 4), "float32")

    def get_config(self):
        config = super().get_config()
        return {
            "name": config["name"],
            "trainable": config["trainable"],
            "image_size": list(self.image_size),
            "most": self.most,
        }


def rpn_loss(
    outputs: Mapping[str, Any], boxes: Any, labels: Any, image_size: tuple[int, int], *, seed: Any = None
) -> dict[str, Any]:
    """Cross-entropy of "something is there" and L1 of the boxes, over the anchors that were drawn.

    Args:
        outputs: of `rpn_heads`.
        boxes: (b, g, 4).
        labels: (b, g), as in `detection_losses`.
        image_size: (height, width).
        seed: of the draw.

    Returns:
        `"rpn_object"` and `"rpn_box"`.
    """
    strides, sizes = geometry(outputs, *image_size)
    anchor_boxes = ops.convert_to_tensor(anchors(RPN_ANCHORS, strides, sizes))
    valid, crowd = objects_of(boxes, labels)
    found = match(anchor_boxes, boxes, valid, above=ABOVE, below=BELOW, least=LEAST, crowd=crowd)
    index, drawn = draw(found, SAMPLES, POSITIVE_SHARE, seed)
    targets = anchor_targets(found, anchor_boxes, boxes)
    positive = ops.cast(found.positive, "float32")[:, :, None]
    said, truth, wanted, received = (
        take_rows(ops.cast(x, "float32"), index)
        for x in (stacked(outputs, "object", 1), positive, targets, stacked(outputs, "box", 4))
    )
    drawn = ops.cast(drawn, "float32")
    number = ops.maximum(ops.sum(drawn), 1.0)
    distance = ops.sum(ops.abs(wanted - received), axis=-1)
    return {
        "rpn_object": ops.sum(sigmoid_cross_entropy(truth, said) * drawn) / number,
        "rpn_box": ops.sum(distance * drawn * truth[:, :, 0]) / number,
    }
