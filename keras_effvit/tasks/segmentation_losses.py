"""What segmenters minimise: cross-entropy of every labelled pixel, of the head and of its helper.

Legend: `b` images, `h w` pixels. Targets are classes (b, h, w), `IGNORE` where nobody knows. Everything is float32,
whatever precision the model runs in.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_effvit.tasks.samples import IGNORE

#: Of the auxiliary head, as UperNet is trained.
AUXILIARY_WEIGHT = 0.4


def pixel_cross_entropy(targets: Any, logits: Any, *, ignore: int = IGNORE) -> Any:
    """The mean over labelled pixels; 0 if there is none.

    Args:
        targets: (b, h, w), whole numbers.
        logits: (b, rows, columns, classes); those of a coarser map are resized to the targets, bilinear.
        ignore: the target of a pixel that says nothing.

    Example:
        >>> float(pixel_cross_entropy(np.array([[[0, 255]]]), np.zeros((1, 1, 2, 4))))  # log 4
        1.3862944
    """
    logits = ops.cast(logits, "float32")
    size = tuple(targets.shape[1:])
    if tuple(logits.shape[1:3]) != size:
        logits = ops.image.resize(logits, size, interpolation="bilinear", data_format="channels_last")
    each = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True, ignore_class=ignore)
    labelled = ops.sum(ops.cast(ops.not_equal(targets, ignore), "float32"))
    return ops.sum(each) / ops.maximum(labelled, 1.0)


def segmentation_loss(
    outputs: Any, targets: Any, *, ignore: int = IGNORE, auxiliary_weight: float = AUXILIARY_WEIGHT
) -> dict[str, Any]:
    """Losses of a segmenter, to be added up.

    Args:
        outputs: its logits, or a dict of `"logits"` and `"auxiliary"` ones.
        targets: as of `pixel_cross_entropy`.
        ignore: as of `pixel_cross_entropy`.
        auxiliary_weight: of the second head.

    Returns:
        `"pixels"`, and `"auxiliary"` where there is such a head.

    Raises:
        ValueError: for outputs of another kind.

    Example:
        >>> losses = segmentation_loss(model(images), targets)
    """
    if not isinstance(outputs, Mapping):
        return {"pixels": pixel_cross_entropy(targets, outputs, ignore=ignore)}
    if not {"logits"} <= set(outputs) <= {"logits", "auxiliary"}:
        raise ValueError(f"Expected outputs 'logits' and perhaps 'auxiliary'. Received: {sorted(outputs)}")
    losses = {"pixels": pixel_cross_entropy(targets, outputs["logits"], ignore=ignore)}
    if "auxiliary" in outputs:
        losses["auxiliary"] = auxiliary_weight * pixel_cross_entropy(targets, outputs["auxiliary"], ignore=ignore)
    return losses
