"""A fixed number of anchors or proposals to learn from, drawn anew for every batch (Ren et al. 2015)."""

from typing import Any

import keras
from keras import ops

from keras_effvit.tasks.matching import Matches


def draw(found: Matches, most: int, share: float, seed: Any = None):
    """Draws positives, but no more than their share, and fills up with negatives.

    Args:
        found: (b, n).
        most: to draw of an image.
        share: of them that may be positive.
        seed: a number or a `keras.random.SeedGenerator`.

    Returns:
        (b, most) int32 which ones, positives first; (b, most) bool, whether there were so many. No more places than
        there are anchors.

    Example:
        >>> index, drawn = draw(match(anchors, boxes, valid, above=0.7, below=0.3), 256, 0.5)
    """
    positive, negative = (ops.cast(x, "float32") for x in (found.positive, found.negative))
    count = found.positive.shape[1]
    chances = keras.random.uniform(ops.shape(positive), minval=0.01, maxval=1.0, seed=seed)
    limit = min(int(most * share), count)
    # Above 1 for positives, the best `limit` of them; below 1 for negatives; 0 for what is not drawn.
    of_positives = positive * (1.0 + chances)
    least = ops.top_k(of_positives, limit)[0][:, limit - 1 :]
    of_positives = ops.where(of_positives >= least, of_positives, 0.0)
    values, index = ops.top_k(of_positives + negative * chances, min(most, count))
    return ops.cast(index, "int32"), values > 0
