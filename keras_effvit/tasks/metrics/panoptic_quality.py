"""Panoptic quality (Kirillov et al. 2019): how well segments are found, and how well those that were found fit.

A true and a predicted segment of one class are a match if their intersection over union is more than a half, which at
most one segment's can be. Pixels that nobody labelled count for no union. A predicted segment that lies for more than a
half where nobody labelled, or in a group of its own class, is no mistake; and a group that was not found is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from keras_effvit.tasks.samples import Segments

#: What a match's intersection over union exceeds, and what of a segment may lie where nobody labelled.
MATCHED, UNLABELLED = 0.5, 0.5


@dataclass(frozen=True)
class PanopticQuality:
    """Sums over all images, and what they come to; every array has a number for every class.

    Attributes:
        iou: of the matches, summed.
        matched: how many there are.
        invented: predicted segments that are no true one.
        missed: true segments that were not predicted.
        things: how many classes are of things; they come first.
    """

    iou: np.ndarray
    matched: np.ndarray
    invented: np.ndarray
    missed: np.ndarray
    things: int

    @property
    def per_class(self) -> np.ndarray:
        """Quality of every class: segmentation times recognition; not a number where there was nothing."""
        return _quotient(self.iou, self.matched + (self.invented + self.missed) / 2)

    @property
    def segmentation(self) -> np.ndarray:
        """How well the matches fit, for every class."""
        return _quotient(self.iou, self.matched.astype(np.float64))

    @property
    def recognition(self) -> np.ndarray:
        """How well segments were found, for every class."""
        return _quotient(self.matched, self.matched + (self.invented + self.missed) / 2)

    @property
    def mean(self) -> float:
        """PQ: the mean over the classes that there were."""
        return _mean(self.per_class)

    @property
    def mean_of_things(self) -> float:
        """The same of things alone."""
        return _mean(self.per_class[: self.things])

    @property
    def mean_of_stuff(self) -> float:
        """The same of stuff alone."""
        return _mean(self.per_class[self.things :])


def panoptic_quality(pairs: Iterable[tuple[Segments, Segments]], classes: int, things: int) -> PanopticQuality:
    """Measures over images.

    Args:
        pairs: of true and predicted segments of one size.
        classes: how many there are.
        things: how many of them are of things; they come first.

    Raises:
        ValueError: if sizes differ, or a class does not exist.

    Example:
        >>> panoptic_quality([(truth, predicted)], classes=10, things=6).mean
        0.83
    """
    iou = np.zeros(classes)
    matched, invented, missed = (np.zeros(classes, np.int64) for _ in range(3))
    for truth, predicted in pairs:
        _check(truth, predicted, classes)
        overlaps, matches = _matches(truth, predicted)
        for number, other in np.argwhere(matches):
            label = truth.labels[number]
            iou[label] += overlaps[number, other]
            matched[label] += 1
        unmatched = ~matches.any(axis=1) & ~truth.crowd & (_areas(truth)[1:] > 0)
        np.add.at(missed, truth.labels[unmatched], 1)
        np.add.at(invented, predicted.labels[~matches.any(axis=0) & ~_excused(truth, predicted)], 1)
    return PanopticQuality(iou, matched, invented, missed, things)


def _shared(truth: Segments, predicted: Segments) -> np.ndarray:
    """Pixels by true and predicted segment, the first of both being none."""
    rows, columns = len(truth.labels) + 1, len(predicted.labels) + 1
    places = truth.numbers.astype(np.int64) * columns + predicted.numbers
    return np.bincount(places.ravel(), minlength=rows * columns).reshape(rows, columns)


def _areas(segments: Segments) -> np.ndarray:
    return np.bincount(segments.numbers.ravel(), minlength=len(segments.labels) + 1)


def _matches(truth: Segments, predicted: Segments) -> tuple[np.ndarray, np.ndarray]:
    """Intersection over union of every pair of segments, and whether they match."""
    shared = _shared(truth, predicted)
    union = _areas(truth)[1:, None] + _areas(predicted)[None, 1:] - shared[1:, 1:] - shared[:1, 1:]
    overlaps = shared[1:, 1:] / np.maximum(union, 1)
    same = truth.labels[:, None] == predicted.labels[None]
    return overlaps, (overlaps > MATCHED) & same & ~truth.crowd[:, None]


def _excused(truth: Segments, predicted: Segments) -> np.ndarray:
    """Which predicted segments lie mostly where nothing can be said against them, or have no pixel."""
    shared, areas = _shared(truth, predicted), _areas(predicted)[1:]
    groups = truth.crowd[:, None] & (truth.labels[:, None] == predicted.labels[None])
    unlabelled = shared[0, 1:] + (shared[1:, 1:] * groups).sum(axis=0)
    return (unlabelled > UNLABELLED * areas) | (areas == 0)


def _check(truth: Segments, predicted: Segments, classes: int) -> None:
    if truth.numbers.shape != predicted.numbers.shape:
        raise ValueError(
            f"Expected a prediction of the truth's size {truth.numbers.shape}. Received: {predicted.numbers.shape}"
        )
    labels = np.concatenate([truth.labels, predicted.labels])
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"Expected classes from 0 to {classes - 1}. Received: {labels.min()} to {labels.max()}")


def _quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


def _mean(values: np.ndarray) -> float:
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else float("nan")
