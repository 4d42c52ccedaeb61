"""What training minimises: a number for every image, from the model's logits.

Legend: `b` images, `classes`, `n` tokens of a map; targets are shares of classes that add up to 1, logits are what a
softmax or a sigmoid has not been through yet. Everything is float32, whatever precision the model runs in.
"""

from collections.abc import Mapping
from typing import Any

from keras import ops

#: What a blend of a token label and the truth has of the label: where the two agree, and where they do not.
AGREED, DISAGREED = 0.5, 0.9


def smooth(targets, share: float):
    """Gives a share of every target to all classes alike (Szegedy et al. 2016).

    Args:
        targets: (b, classes).
        share: that is spread.

    Example:
        >>> smooth(numpy.array([[0.0, 1.0]]), 0.1)
        [[0.05, 0.95]]
    """
    return targets * (1.0 - share) + share / targets.shape[-1] if share else targets


def softmax_cross_entropy(targets, logits):
    """Cross-entropy of the last axis: (..., classes) -> (...).

    Args:
        targets: shares.
        logits: of the same shape.
    """
    logits = ops.cast(logits, "float32")
    return -ops.sum(ops.cast(targets, "float32") * ops.log_softmax(logits, axis=-1), axis=-1)


def sigmoid_cross_entropy(targets, logits):
    """Every class a question of its own, and the mean over them: (b, classes) -> (b).

    Args:
        targets: shares.
        logits: of the same shape.
    """
    logits, targets = ops.cast(logits, "float32"), ops.cast(targets, "float32")
    # log(1 + exp(-|x|)) never overflows.
    each = ops.relu(logits) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
    return ops.mean(each, axis=-1)


#: What a recipe may ask for.
LOSSES = {"softmax": softmax_cross_entropy, "sigmoid": sigmoid_cross_entropy}


def token_labelling(
    targets: Any,
    outputs: Mapping[str, Any],
    *,
    dense_weight: float = 0.5,
    class_weight: float = 1.0,
    ground_truth: bool = False,
):
    """Every token of the last map learns what is to be seen there (Jiang et al. 2021, as LVT uses it).

    MixToken exchanged a box between image `k` and image `b - 1 - k`, so the class token saw both and its target is made
    of both; the tokens were given back to their images.

    Args:
        targets: (b, classes, 2 + n): the true class, the class token's label, every token's label; or (b, classes), one
            label for all of them.
        outputs: of a model with `training_outputs=True`: `"logits"` (b, classes), `"aux_logits"` (b, n, classes) and
            the `"box"` (b, 4).
        dense_weight: of the tokens' loss.
        class_weight: of the class token's.
        ground_truth: blend the class token's label with the true class, the more the less they agree.

    Returns:
        (b,)

    Raises:
        ValueError: if the true class is asked for and the targets do not hold it.
    """
    aux_logits = outputs["aux_logits"]
    tokens = aux_logits.shape[1]
    if len(targets.shape) == 3:
        label, dense = targets[:, :, 1], ops.transpose(targets[:, :, 2:], (0, 2, 1))
        if ground_truth:
            label = _with_truth(label, targets[:, :, 0])
    elif ground_truth:
        raise ValueError(f"Expected targets (b, classes, 2 + tokens) that hold the truth. Received: {targets.shape}")
    else:
        label, dense = targets, ops.repeat(targets[:, None], tokens, axis=1)
    top, left, bottom, right = (ops.cast(outputs["box"][:, i], "float32") for i in range(4))
    kept = (1.0 - (bottom - top) * (right - left) / tokens)[:, None]
    label = kept * label + (1.0 - kept) * ops.flip(label, axis=0)
    dense_loss = ops.mean(softmax_cross_entropy(dense, aux_logits), axis=-1)
    return class_weight * softmax_cross_entropy(label, outputs["logits"]) + dense_weight * dense_loss


def _with_truth(label, truth):
    agreed = ops.argmax(label, axis=-1) == ops.argmax(truth, axis=-1)
    share = ops.where(agreed, AGREED, DISAGREED)[:, None]
    return share * label + (1.0 - share) * truth


def distillation(teacher, student, temperature: float | None = 1.0):
    """How far a student's logits are from its teacher's: (b, classes) -> (b).

    Args:
        teacher: logits.
        student: logits.
        temperature: of the Kullback-Leibler divergence between the two softmaxes (Hinton et al. 2015), times its
            square, which keeps the gradients' size; `None` for the mean squared difference of the logits.

    Example:
        >>> distillation(numpy.zeros((2, 10)), numpy.ones((2, 10)), None)
        [1.0, 1.0]
    """
    teacher, student = (ops.cast(x, "float32") for x in (teacher, student))
    if temperature is None:
        return ops.mean(ops.square(teacher - student), axis=-1)
    teacher, student = (ops.log_softmax(x / temperature, axis=-1) for x in (teacher, student))
    return temperature**2 * ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
