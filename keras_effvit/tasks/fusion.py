"""From masks of things and a map of stuff to one labelling of every pixel (Kirillov et al. 2019), in numpy alone."""

import numpy as np

from keras_effvit.tasks.decoding import suppress
from keras_effvit.tasks.samples import Detections, Segments

#: What LVT's authors test with: the least score of a thing, the overlap above which the worse one goes whatever its
#: class, how much of a thing better ones may cover, and how many pixels of stuff are enough.
LEAST_SCORE, THRESHOLD, MOST_COVERED, LEAST_STUFF = 0.6, 0.5, 0.5, 4096


def fuse(
    found: Detections,
    semantic: np.ndarray,
    *,
    things: int,
    stuff: int,
    least_score: float = LEAST_SCORE,
    threshold: float = THRESHOLD,
    most: int = 100,
    most_covered: float = MOST_COVERED,
    least_stuff: int = LEAST_STUFF,
) -> Segments:
    """Lays the things over each other, the surest on top, and stuff where there is none.

    Args:
        found: things with masks of the whole image.
        semantic: the semantic head's class of every pixel, (height, width): stuff from 0, then one for all things.
        things: number of classes of things.
        stuff: number of classes of stuff, which count on from there.
        least_score: of a thing.
        threshold: of the boxes' overlap above which the worse of two things goes.
        most: things.
        most_covered: share of a thing that better ones may cover.
        least_stuff: pixels of a class of stuff.

    Returns:
        The segments, things first.

    Raises:
        ValueError: if the things have no masks.

    Example:
        >>> classes = outputs["semantic"][0].argmax(-1).repeat(4, 0).repeat(4, 1)
        >>> segments = fuse(found, classes, things=80, stuff=53)
    """
    if found.masks is None:
        raise ValueError("Expected things with masks. Received: masks=None")
    good = np.flatnonzero(found.scores >= least_score)
    one_class = np.zeros(len(good), int)
    kept = good[suppress(found.boxes[good], found.scores[good], one_class, threshold, most)]
    numbers = np.zeros(semantic.shape, np.int32)
    labels: list[int] = []
    for thing in kept:
        mask = found.masks[thing]
        free = mask & (numbers == 0)
        if not mask.any() or 1 - free.sum() / mask.sum() > most_covered:
            continue
        labels.append(int(found.labels[thing]))
        numbers[free] = len(labels)
    for label in range(stuff):
        free = (semantic == label) & (numbers == 0)
        if free.any() and free.sum() >= least_stuff:
            labels.append(things + label)
            numbers[free] = len(labels)
    return Segments(numbers, np.array(labels, np.int32))
