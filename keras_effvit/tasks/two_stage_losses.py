"""What two-stage detectors minimise: the proposals' losses, then classes, boxes and masks of proposals that are drawn.

Legend: `b` images, `g` objects of an image, `r` proposals drawn of an image. The true boxes are proposals, too. `masks`
(b, g, height, width) say which pixels are whose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_effvit.tasks.boxes import encode
from keras_effvit.tasks.detection_losses import objects_of
from keras_effvit.tasks.mask_rcnn import PATCH_LEVELS
from keras_effvit.tasks.matching import match, take_rows, take_values
from keras_effvit.tasks.raw_heads import strides_of
from keras_effvit.tasks.roi_align import roi_align
from keras_effvit.tasks.roi_heads import BOX_PATCH, MASK_PATCH, STDS, of_classes
from keras_effvit.tasks.rpn import rpn_loss
from keras_effvit.tasks.samples import IGNORE
from keras_effvit.tasks.sampling import draw

#: Proposals of an image to learn from, how many of them may be positive, and from which overlap on they are.
SAMPLES, POSITIVE_SHARE, ABOVE = 512, 0.25, 0.5
#: Samples of a patch's bin on each axis, as in the paper; their number does not follow the size, which takes four times
#: as long.
BIN_SAMPLES = 2
#: What the semantic head counts beside the things.
SEMANTIC_WEIGHT = 0.5
#: What every two-stage model gives.
OUTPUTS = ("boxes", "labels", "masks", "scores")


@dataclass(frozen=True)
class Stages:
    """A two-stage model taken apart, all parts sharing its weights.

    Each part is made of operators that one XNNPACK partition holds; what is between them, proposals and RoIAlign, is
    not.

    Attributes:
        first: image -> the maps `P2` to `P5`, `P2_object`, `P2_box` and so on of the proposals, perhaps `semantic`.
        box: patches (n, 7, 7, channels) -> class logits and deltas.
        mask: patches (n, 14, 14, channels) -> mask logits (n, 28, 28, classes).
        propose: what `P2_object` and so on say -> (b, n, 4).
    """

    first: keras.Model
    box: keras.Model
    mask: keras.Model
    propose: keras.layers.Layer

    @property
    def things(self) -> int:
        """How many classes of things the model knows."""
        return self.mask.output.shape[-1]

    @property
    def stuff(self) -> int:
        """How many classes of stuff, 0 without a semantic head."""
        return self.first.output["semantic"].shape[-1] - 1 if "semantic" in self.first.output else 0

    @classmethod
    def of(cls, model: keras.Model) -> "Stages":
        """The parts of a model.

        Args:
            model: of `MaskRCNN` or `PanopticFPN`.

        Raises:
            ValueError: for a model of another kind.

        Example:
            >>> stages = Stages.of(MaskRCNN(classes=3, input_shape=(256, 256, 3)))
            >>> lite.convert(stages.first, "int8", calibration=images).inspection.partitions
            1
        """
        if not isinstance(model.output, Mapping) or not set(OUTPUTS) <= set(model.output):
            received = sorted(model.output) if isinstance(model.output, Mapping) else "another"
            raise ValueError(
                f"Expected a two-stage model with the outputs {list(OUTPUTS)}. Received: {model.name} with {received}"
            )
        # Keras gives a layer's inputs as a list, those of a dict in the order of its sorted keys.
        *maps, _ = model.get_layer("box_patches").input
        rpn = model.get_layer("proposals").input
        names = [f"P{number}_{part}" for number in range(2, 2 + len(rpn) // 2) for part in ("box", "object")]
        outputs = {**dict(zip(PATCH_LEVELS, maps, strict=True)), **dict(zip(names, rpn, strict=True))}
        if "semantic" in model.output:
            outputs["semantic"] = model.output["semantic"]
        classified = [model.get_layer(f"box_head_{part}").output for part in ("class", "box")]
        return cls(
            keras.Model(model.input, outputs, name=f"{model.name}_first"),
            keras.Model(model.get_layer("box_patches").output, classified, name=f"{model.name}_box"),
            keras.Model(
                model.get_layer("mask_patches").output,
                model.get_layer("mask_head_class").output,
                name=f"{model.name}_mask",
            ),
            model.get_layer("proposals"),
        )


def mask_rcnn_loss(
    stages: Stages, images: Any, boxes: Any, labels: Any, masks: Any, *, training: bool = True, seed: Any = None
) -> dict[str, Any]:
    """All losses of a batch; unlike a one-stage detector's they need the model, which looks where the draw says.

    Args:
        stages: of the model.
        images: (b, height, width, 3).
        boxes: (b, g, 4).
        labels: (b, g), as in `detection_losses`.
        masks: (b, g, height, width).
        training: whether layers behave as in training.
        seed: of the draws.

    Returns:
        `"rpn_object"`, `"rpn_box"`, `"class"`, `"box"` and `"mask"`.

    Example:
        >>> losses = mask_rcnn_loss(Stages.of(model), images, boxes, labels, masks)
    """
    return things_loss(stages, stages.first(images, training=training), boxes, labels, masks, seed=seed)


def panoptic_loss(
    stages: Stages,
    images: Any,
    boxes: Any,
    labels: Any,
    masks: Any,
    semantic: Any,
    *,
    training: bool = True,
    seed: Any = None,
) -> dict[str, Any]:
    """The losses of the things, and cross-entropy of the semantic head.

    Args:
        stages: of the model.
        images: (b, height, width, 3).
        boxes: (b, g, 4).
        labels: (b, g), as in `detection_losses`.
        masks: (b, g, height, width).
        semantic: (b, height, width), as of `stuff_labels`.
        training: whether layers behave as in training.
        seed: of the draws.

    Returns:
        Those of `mask_rcnn_loss`, and `"semantic"`.
    """
    first = stages.first(images, training=training)
    losses = things_loss(stages, first, boxes, labels, masks, seed=seed)
    return {**losses, "semantic": stuff_loss(first["semantic"], semantic)}


def scenes_loss(
    stages: Stages, first: Mapping[str, Any], targets: Mapping[str, Any], seed: Any = None
) -> dict[str, Any]:
    """The losses of a batch of `SceneBatches`, of as many parts as the model has.

    Args:
        stages: of the model.
        first: what `stages.first` says of the images.
        targets: of the kind "masks", or "everything" for a model with a semantic head.
        seed: of the draws.

    Returns:
        Those of `mask_rcnn_loss` or `panoptic_loss`.
    """
    losses = things_loss(stages, first, *(targets[name] for name in ("boxes", "labels", "masks")), seed=seed)
    if stages.stuff:
        semantic = stuff_labels(targets["semantic"], stages.things, stages.stuff)
        losses["semantic"] = stuff_loss(first["semantic"], semantic)
    return losses


def stuff_labels(semantic: Any, things: int, stuff: int) -> Any:
    """Classes of scenes, which count things first, as the semantic head counts: stuff from 0, things all the last.

    Args:
        semantic: (b, height, width), `IGNORE` where nobody knows, which stays.
        things: classes of things.
        stuff: classes of stuff.

    Example:
        >>> stuff_labels(np.array([[[0, 1, 2, 3, 255]]]), things=2, stuff=2)
        [[[2, 2, 0, 1, 255]]]
    """
    return ops.where(semantic == IGNORE, IGNORE, ops.where(semantic < things, stuff, semantic - things))


def stuff_loss(logits: Any, semantic: Any) -> Any:
    """Cross-entropy of the semantic head, weighed beside the things.

    Args:
        logits: (b, rows, columns, classes).
        semantic: as of `panoptic_loss`.
    """
    logits = ops.cast(logits, "float32")
    height, width = semantic.shape[1:]
    # The image's labels at the logits' size, the nearest of each.
    rows, columns = height // logits.shape[1], width // logits.shape[2]
    truth = semantic[:, rows // 2 :: rows, columns // 2 :: columns]
    known = ops.cast(truth != IGNORE, "float32")
    each = keras.losses.sparse_categorical_crossentropy(ops.where(truth == IGNORE, 0, truth), logits, from_logits=True)
    return SEMANTIC_WEIGHT * ops.sum(each * known) / ops.maximum(ops.sum(known), 1.0)


def things_loss(
    stages: Stages, first: Mapping[str, Any], boxes: Any, labels: Any, masks: Any, *, seed: Any = None
) -> dict[str, Any]:
    """What `mask_rcnn_loss` gives, where the first stage has looked at the images already.

    Args:
        stages: of the model.
        first: what `stages.first` says of the images.
        boxes: (b, g, 4).
        labels: (b, g), as in `detection_losses`.
        masks: (b, g, height, width).
        seed: of the draws.
    """
    rpn = {name: x for name, x in first.items() if "_" in name}
    losses = rpn_loss(rpn, boxes, labels, tuple(stages.first.inputs[0].shape[1:3]), seed=seed)
    proposals = ops.concatenate([stages.propose(rpn), boxes], axis=1)
    drawn = draw_proposals(proposals, boxes, labels, seed)
    maps = [first[level] for level in PATCH_LEVELS]
    return {**losses, **_box_losses(stages, maps, drawn), **_mask_loss(stages, maps, drawn, masks)}


@dataclass(frozen=True)
class DrawnProposals:
    """Proposals to learn from, positives first.

    Attributes:
        boxes: (b, r, 4).
        object: (b, r) int32, the object they belong to.
        truth: (b, r, 4), its box.
        labels: (b, r) int32, its class.
        positive: (b, r) float32, whether they belong to one.
        drawn: (b, r) float32, whether there are so many.
    """

    boxes: Any
    object: Any
    truth: Any
    labels: Any
    positive: Any
    drawn: Any


def draw_proposals(proposals: Any, boxes: Any, labels: Any, seed: Any = None) -> DrawnProposals:
    """Draws proposals that fit an object, and others.

    Args:
        proposals: (b, n, 4); those without an area are none.
        boxes: (b, g, 4).
        labels: (b, g).
        seed: of the draw.
    """
    valid, crowd = objects_of(boxes, labels)
    found = match(proposals, boxes, valid, above=ABOVE, below=ABOVE, least=None, crowd=crowd)
    there = proposals[:, :, 2] > proposals[:, :, 0]
    found = found._replace(negative=found.negative & there, positive=found.positive & there)
    index, drawn = draw(found, SAMPLES, POSITIVE_SHARE, seed)
    objects = ops.cast(take_values(found.index, index), "int32")
    positive = take_values(ops.cast(found.positive, "float32"), index) * ops.cast(drawn, "float32")
    return DrawnProposals(
        take_rows(proposals, index),
        objects,
        take_rows(boxes, objects),
        take_values(labels, objects),
        positive,
        ops.cast(drawn, "float32"),
    )


def _box_losses(stages: Stages, maps: list[Any], drawn: DrawnProposals) -> dict[str, Any]:
    patches = roi_align(maps, drawn.boxes, strides_of(PATCH_LEVELS), BOX_PATCH, samples=BIN_SAMPLES)
    logits, deltas = (ops.cast(x, "float32") for x in stages.box(patches))
    classes = logits.shape[-1] - 1
    labels, positive, counts = (ops.reshape(x, (-1,)) for x in (drawn.labels, drawn.positive, drawn.drawn))
    truth = ops.where(positive > 0, ops.cast(labels, "int32"), classes)
    of_class = keras.losses.sparse_categorical_crossentropy(truth, logits, from_logits=True)
    # A box is coded for its own class.
    wanted = ops.one_hot(ops.where(positive > 0, truth, 0), classes, dtype="float32")
    own = ops.sum(ops.reshape(deltas, (-1, classes, 4)) * wanted[:, :, None], axis=1)
    there = (drawn.positive > 0)[:, :, None]
    unit = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
    targets = encode(ops.where(there, drawn.truth, unit), ops.where(there, drawn.boxes, unit), STDS)
    distance = ops.sum(ops.abs(ops.reshape(targets, (-1, 4)) - own), axis=-1)
    number = ops.maximum(ops.sum(counts), 1.0)
    return {"class": ops.sum(of_class * counts) / number, "box": ops.sum(distance * positive) / number}


def _mask_loss(stages: Stages, maps: list[Any], drawn: DrawnProposals, masks: Any) -> dict[str, Any]:
    most = int(SAMPLES * POSITIVE_SHARE)  # positives come first
    boxes, objects, labels, positive = (x[:, :most] for x in (drawn.boxes, drawn.object, drawn.labels, drawn.positive))
    patches = roi_align(maps, boxes, strides_of(PATCH_LEVELS), MASK_PATCH, samples=BIN_SAMPLES)
    logits = of_classes(ops.cast(stages.mask(patches), "float32"), labels)
    number, count, height, width = ops.shape(masks)
    flat = ops.reshape(ops.cast(masks, "float32"), (-1, height, width, 1))
    which = objects + ops.arange(number, dtype="int32")[:, None] * count
    side = 2 * MASK_PATCH
    truth = ops.cast(roi_align([flat], boxes, (1,), side, images=which) >= 0.5, "float32")
    truth = ops.reshape(truth, ops.shape(logits))
    each = ops.mean(ops.relu(logits) - logits * truth + ops.log1p(ops.exp(-ops.abs(logits))), axis=(2, 3))
    return {"mask": ops.sum(each * positive) / ops.maximum(ops.sum(positive), 1.0)}
