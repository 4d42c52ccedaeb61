"""How well a semantic map fits the truth: intersection over union of every class, and their mean.

The counts of the whole data set are added up before anything is divided, as Cityscapes and ADE20K do it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from keras_effvit.tasks.samples import IGNORE


@dataclass(frozen=True)
class Overlap:
    """How often pixels of one class were taken for another, over all images.

    Attributes:
        counts: pixels, int64, (classes, classes): rows are the truth, columns what was predicted.

    Example:
        >>> Overlap(np.array([[8, 2], [0, 10]])).mean
        0.8166666666666667
    """

    counts: np.ndarray

    @property
    def per_class(self) -> np.ndarray:
        """Intersection over union of every class; not a number for one that neither is there nor was predicted."""
        hits = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    @property
    def mean(self) -> float:
        """The mean over the classes that are there or were predicted: mIoU."""
        found = self.per_class[~np.isnan(self.per_class)]
        return float(found.mean()) if len(found) else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels whose class was predicted."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")


def overlap(pairs: Iterable[tuple[np.ndarray, np.ndarray]], classes: int, *, ignore: int = IGNORE) -> Overlap:
    """Counts over images.

    Args:
        pairs: of the true and the predicted class of every pixel, whole numbers, (height, width) each.
        classes: how many there are.
        ignore: what the truth says where nobody knows; those pixels are not counted, whatever was predicted.

    Raises:
        ValueError: if shapes differ, or a class does not exist.

    Example:
        >>> overlap([(np.array([[0, 1]]), np.array([[0, 0]]))], classes=2).per_class
        array([0.5, 0. ])
    """
    counts = np.zeros((classes, classes), np.int64)
    for truth, predicted in pairs:
        counts += confusion(truth, predicted, classes, ignore=ignore)
    return Overlap(counts)


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int, *, ignore: int = IGNORE) -> np.ndarray:
    """Pixels of one image by true and predicted class, int64, (classes, classes).

    Args:
        truth: as of `overlap`.
        predicted: as of `overlap`.
        classes: how many there are.
        ignore: as of `overlap`.

    Raises:
        ValueError: if shapes differ, or a class does not exist.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise ValueError(f"Expected a prediction of the truth's shape {truth.shape}. Received: {predicted.shape}")
    labelled = truth != ignore
    rows, columns = truth[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
    for name, found in (("truth", rows), ("prediction", columns)):
        if found.size and not 0 <= found.min() <= found.max() < classes:
            raise ValueError(
                f"Expected classes from 0 to {classes - 1} in the {name}. Received: {found.min()} to {found.max()}"
            )
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)
