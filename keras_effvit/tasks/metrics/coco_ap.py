"""COCO's average precision, in numpy.

For every class, detections of all images stand in line, the surest first. Each is right if it overlaps a true thing of
its class that no surer one has taken. Precision at a recall is the best that is reached there or beyond; its mean over
101 recalls, over ten overlaps from 0.5 to 0.95 and over the classes is the AP. Groups (crowd) and things of a size that
is not asked for, are neither to be found nor wrong to find; a group overlaps what lies in it, whatever its own size.

Legend: `d` detections of an image and class, `g` true things of it, `t` overlaps.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from keras_effvit.tasks.samples import Detections, Scene

#: The overlaps at which a detection may be right, and the recalls at which precision is read.
OVERLAPS, RECALLS = np.linspace(0.5, 0.95, 10), np.linspace(0, 1, 101)
#: Sizes in square pixels, both ends included.
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
#: Detections of an image and class that count; the others are the less sure ones.
MOST = (1, 10, 100)
Kind = Literal["boxes", "masks"]


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's twelve figures, -1 where there was nothing to find.

    Attributes:
        precision: (sizes, classes, overlaps), averaged over recalls; sizes as in `SIZES`, of at most 100 detections.
        recall: (sizes, most, classes, overlaps); sizes as in `SIZES`, most as in `MOST`.

    Example:
        >>> found = average_precision(zip(scenes, detections), classes=6)
        >>> found.ap, found.ap50
        (0.71, 0.93)
    """

    precision: np.ndarray
    recall: np.ndarray

    @property
    def ap(self) -> float:
        """The mean over overlaps from 0.5 to 0.95."""
        return _mean(self.precision[0])

    @property
    def ap50(self) -> float:
        """At an overlap of 0.5."""
        return _mean(self.precision[0, :, 0])

    @property
    def ap75(self) -> float:
        """At an overlap of 0.75."""
        return _mean(self.precision[0, :, 5])

    @property
    def per_class(self) -> np.ndarray:
        """The `ap` of every class, -1 for one that there is nothing of."""
        return self.precision[0].mean(axis=1)

    def summary(self) -> dict[str, float]:
        """All twelve by COCO's names."""
        sizes = list(SIZES)
        figures = {"AP": self.ap, "AP50": self.ap50, "AP75": self.ap75}
        figures |= {f"AP_{size}": _mean(self.precision[sizes.index(size)]) for size in sizes[1:]}
        figures |= {f"AR_{most}": _mean(self.recall[0, number]) for number, most in enumerate(MOST)}
        return figures | {f"AR_{size}": _mean(self.recall[sizes.index(size), -1]) for size in sizes[1:]}


@dataclass(frozen=True)
class _Matches:
    """What became of the detections of a class in one image, the surest first."""

    scores: np.ndarray  # (d)
    right: np.ndarray  # (t, d)
    ignored: np.ndarray  # (t, d): neither right nor wrong
    wanted: int  # true things to be found


def average_precision(
    pairs: Iterable[tuple[Scene, Detections]], classes: int, *, kind: Kind = "boxes"
) -> AveragePrecision:
    """Measures over images.

    Args:
        pairs: of a scene and what was found in it.
        classes: how many there are.
        kind: whether boxes or masks are to overlap. A thing's size is that of its mask where it has one.

    Raises:
        ValueError: if a class does not exist, or masks are missing.

    Example:
        >>> average_precision([(scene, found)], classes=6).summary()["AP50"]
        0.93
    """
    images: dict[tuple[int, str], list[_Matches]] = defaultdict(list)
    for scene, found in pairs:
        _check(scene, found, classes, kind)
        for label in np.union1d(scene.labels, found.labels).tolist():
            for size, matches in _of_image(scene, found, label, kind).items():
                images[label, size].append(matches)
    precision = -np.ones((len(SIZES), classes, len(OVERLAPS)))
    recall = -np.ones((len(SIZES), len(MOST), classes, len(OVERLAPS)))
    for (label, size), matches in images.items():
        place = list(SIZES).index(size)
        for number, most in enumerate(MOST):
            curve = _curve(matches, most)
            if curve is not None:
                recall[place, number, label] = curve[1]
                precision[place, label] = curve[0].mean(axis=1)
    return AveragePrecision(precision, recall)


def _of_image(scene: Scene, found: Detections, label: int, kind: Kind) -> dict[str, _Matches]:
    """Matches of a class in one image for every size."""
    which = np.flatnonzero(found.labels == label)
    which = which[np.argsort(-found.scores[which], kind="stable")][: MOST[-1]]
    true = np.flatnonzero(scene.labels == label)
    crowd = scene.crowd[true]
    if kind == "masks":
        assert scene.masks is not None
        assert found.masks is not None
        shared, areas, own = _mask_overlap(found.masks[which], scene.masks[true])
    else:
        shared, areas, own = _box_overlap(found.boxes[which], scene.boxes[true])
    union = np.where(crowd, areas[:, None], areas[:, None] + own - shared)
    ious = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    if scene.masks is not None:
        own = scene.masks[true].sum(axis=(1, 2))
    result = {}
    for size, (low, high) in SIZES.items():
        beside = crowd | (own < low) | (own > high)
        right, ignored = _match(ious, crowd, beside)
        outside = (areas < low) | (areas > high)
        result[size] = _Matches(
            found.scores[which], right, ignored | (~right & ~ignored & outside), int((~beside).sum())
        )
    return result


def _match(ious: np.ndarray, crowd: np.ndarray, beside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether detections are right, and whether they are neither right nor wrong: (t, d) each.

    A detection takes what it overlaps most of what is to be found; only if that is nothing, of what is beside it.
    """
    many = len(OVERLAPS), len(ious)
    right, ignored = np.zeros(many, bool), np.zeros(many, bool)
    if ious.shape[1] == 0:
        return right, ignored
    taken = np.zeros((len(OVERLAPS), ious.shape[1]), bool)
    rows = np.arange(len(OVERLAPS))
    for number, overlaps in enumerate(ious):
        free = (~taken | crowd) & (overlaps >= np.minimum(OVERLAPS, 1 - 1e-10)[:, None])
        first, second = _best(overlaps, free & ~beside), _best(overlaps, free & beside)
        chosen = np.where(first >= 0, first, second)
        right[:, number], ignored[:, number] = first >= 0, (first < 0) & (second >= 0)
        taken[rows[chosen >= 0], chosen[chosen >= 0]] = True
    return right, ignored


def _best(overlaps: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """For every threshold the thing that is overlapped most, the last of equals; -1 where none is allowed: (t)."""
    values = np.where(allowed, overlaps, -1.0)
    last = values.shape[1] - 1 - values[:, ::-1].argmax(axis=1)
    return np.where(allowed.any(axis=1), last, -1)


def _curve(images: list[_Matches], most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Precisions (t, recalls) and the recall that is reached (t); nothing if there is nothing to find."""
    wanted = sum(image.wanted for image in images)
    if wanted == 0:
        return None
    scores = np.concatenate([image.scores[:most] for image in images])
    order = np.argsort(-scores, kind="stable")
    right = np.concatenate([image.right[:, :most] for image in images], axis=1)[:, order]
    ignored = np.concatenate([image.ignored[:, :most] for image in images], axis=1)[:, order]
    hits = np.cumsum(right, axis=1, dtype=np.float64)
    misses = np.cumsum(~right & ~ignored, axis=1, dtype=np.float64)
    recalls = hits / wanted
    precisions = hits / np.maximum(hits + misses, np.spacing(1))
    best = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    curve = np.zeros((len(OVERLAPS), len(RECALLS)))
    for row in range(len(OVERLAPS)):
        places = np.searchsorted(recalls[row], RECALLS, side="left")
        reached = places < len(order)
        curve[row, reached] = best[row, places[reached]]
    return curve, recalls[:, -1] if len(order) else np.zeros(len(OVERLAPS))


def _box_overlap(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shared areas (d, g), those of the detections (d) and of the things (g)."""
    found, true = found.astype(np.float64), true.astype(np.float64)
    low, high = np.maximum(found[:, None, :2], true[None, :, :2]), np.minimum(found[:, None, 2:], true[None, :, 2:])
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (found, true)]
    return np.prod(np.maximum(high - low, 0), axis=-1), areas[0], areas[1]


def _mask_overlap(found: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of masks."""
    flat = [masks.reshape(len(masks), int(np.prod(masks.shape[1:]))).astype(np.float64) for masks in (found, true)]
    return flat[0] @ flat[1].T, flat[0].sum(axis=1), flat[1].sum(axis=1)


def _check(scene: Scene, found: Detections, classes: int, kind: Kind) -> None:
    labels = np.concatenate([scene.labels, found.labels])
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"Expected classes from 0 to {classes - 1}. Received: {labels.min()} to {labels.max()}")
    if kind == "masks" and (scene.masks is None or found.masks is None):
        raise ValueError("Expected masks of scenes and detections. Received: none")


def _mean(values: np.ndarray) -> float:
    found = values[values > -1]
    return float(found.mean()) if found.size else -1.0
