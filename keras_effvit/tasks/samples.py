"""What dense tasks learn from and what comes out of them: scenes, detections, segments. All of it is numpy.

Boxes are x0, y0, x1, y1 in pixels: the left and upper edge of the first pixel, the right and lower edge of the last, so
that a box of one pixel has the area 1. Classes count from 0; a class that says nothing is `IGNORE`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

#: Of a semantic map: a pixel that nobody labelled. It is neither learnt nor measured.
IGNORE = 255


@dataclass(frozen=True)
class Scene:
    """An image and all that is known about it.

    Attributes:
        image: uint8, (height, width, 3).
        boxes: of its things, float32, (things, 4).
        labels: their classes, int32, (things,).
        masks: which pixels are theirs, bool, (things, height, width); or nothing.
        semantic: the class of every pixel, int32, (height, width), `IGNORE` where there is none; or nothing.
        crowd: whether a thing is really a group of them, bool, (things,); no one's if not given.

    Raises:
        ValueError: if the parts do not fit together.

    Example:
        >>> Scene(np.zeros((32, 48, 3), np.uint8), np.float32([[0, 0, 9, 9]]), np.int32([2]))
    """

    image: np.ndarray
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    masks: np.ndarray | None = None
    semantic: np.ndarray | None = None
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self):
        if not len(self.crowd):
            object.__setattr__(self, "crowd", np.zeros(len(self.labels), bool))
        things, size = len(self.labels), self.image.shape[:2]
        _check("image", self.image, (*size, 3), np.uint8)
        _check("boxes", self.boxes, (things, 4), np.float32)
        _check("labels", self.labels, (things,), np.int32)
        _check("crowd", self.crowd, (things,), np.bool_)
        if self.masks is not None:
            _check("masks", self.masks, (things, *size), np.bool_)
        if self.semantic is not None:
            _check("semantic", self.semantic, size, np.int32)


@dataclass(frozen=True)
class Detections:
    """What a detector found in an image, the surest first where it ends with non-maximum suppression.

    Attributes:
        boxes: float32, (found, 4).
        scores: how sure it is, float32, (found,).
        labels: classes, int32, (found,).
        masks: bool, (found, height, width); or nothing.

    Raises:
        ValueError: if the parts do not fit together.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def __post_init__(self):
        found = len(self.scores)
        _check("boxes", self.boxes, (found, 4), np.float32)
        _check("scores", self.scores, (found,), np.float32)
        _check("labels", self.labels, (found,), np.int32)
        if self.masks is not None:
            _check("masks", self.masks, (found, *self.masks.shape[1:]), np.bool_)


@dataclass(frozen=True)
class Segments:
    """A panoptic labelling: every pixel belongs to one segment at most.

    Attributes:
        numbers: the segment of every pixel, int32, (height, width): 0 is none, and 1 is the first of `labels`.
        labels: classes of the segments, things before stuff, int32, (segments,).
        crowd: whether a segment is a group of things, bool, (segments,); none is if not given.

    Raises:
        ValueError: if the parts do not fit together.
    """

    numbers: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self):
        if not len(self.crowd):
            object.__setattr__(self, "crowd", np.zeros(len(self.labels), bool))
        _check("numbers", self.numbers, self.numbers.shape[:2], np.int32)
        _check("labels", self.labels, (len(self.labels),), np.int32)
        _check("crowd", self.crowd, (len(self.labels),), np.bool_)
        if self.numbers.size and not 0 <= self.numbers.min() <= self.numbers.max() <= len(self.labels):
            raise ValueError(
                f"Expected `numbers` of segments from 0 to {len(self.labels)}. "
                f"Received: {self.numbers.min()} to {self.numbers.max()}"
            )


@dataclass(frozen=True)
class Problem:
    """An annotation or an image that could not be used as it is.

    Attributes:
        where: the file, and the image or annotation in it.
        reason: what is wrong.
        action: what was done: "skipped" leaves it out, "clipped" keeps what lies in the image.
    """

    where: str
    reason: str
    action: str = "skipped"


@dataclass(frozen=True)
class Scenes:
    """Scenes known by number, read when they are asked for.

    Attributes:
        classes: names of what boxes can be of; `labels` count in them.
        semantic_classes: names of what pixels can be of. Those of the things come first, if there are any.
        read: a scene for its number.
        numbers: of the scenes, as `read` knows them.
        problems: what could not be used, and why.

    Example:
        >>> scenes = drawn_scenes(100, (64, 64))
        >>> train, val = scenes.split(0.2)
        >>> len(train), scenes[7].boxes.shape
        (80, (3, 4))
    """

    classes: tuple[str, ...]
    semantic_classes: tuple[str, ...]
    read: Callable[[int], Scene]
    numbers: np.ndarray
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Scene:
        return self.read(int(self.numbers[place]))

    def __iter__(self) -> Iterator[Scene]:
        return (self[place] for place in range(len(self)))

    def subset(self, places: Sequence[int] | np.ndarray) -> "Scenes":
        """Some of the scenes, in the order given.

        Args:
            places: in these scenes, counted from 0.

        Raises:
            ValueError: if there is no such place.
        """
        chosen = np.asarray(places, np.int64)
        if chosen.ndim != 1 or (chosen < 0).any() or (chosen >= len(self)).any():
            raise ValueError(f"`places` must be a list of numbers in [0, {len(self)}). Received: places={places}")
        return replace(self, numbers=self.numbers[chosen])

    def split(self, share: float, seed: int = 0) -> tuple["Scenes", "Scenes"]:
        """Divides the scenes at random.

        Args:
            share: that goes to the second part, rounded, but at least one scene and never all.
            seed: decides which.

        Raises:
            ValueError: if the share is not between 0 and 1, or there is nothing to divide.
        """
        if not 0 < share < 1 or len(self) < 2:
            raise ValueError(
                f"Expected two scenes or more, and a share between 0 and 1. Received: {len(self)}, share={share}"
            )
        count = min(max(round(share * len(self)), 1), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.subset(np.sort(order[count:])), self.subset(np.sort(order[:count]))

    def in_memory(self) -> "Scenes":
        """The same scenes, all read now and kept."""
        held = list(self)
        return replace(self, read=held.__getitem__, numbers=np.arange(len(held)))


def panoptic(scene: Scene, things: int) -> Segments:
    """A scene's panoptic labels: its things, and what its semantic map says beside them.

    Args:
        scene: with masks and a semantic map. Where masks overlap, a pixel is the first thing's.
        things: how many classes are of things; the semantic classes from there on are stuff.

    Raises:
        ValueError: if the scene lacks one of them.
    """
    if scene.masks is None or scene.semantic is None:
        raise ValueError(f"Expected a scene with masks and a semantic map. Received: {scene.masks=}, {scene.semantic=}")
    numbers = np.zeros(scene.image.shape[:2], np.int32)
    for number in reversed(range(len(scene.masks))):
        numbers[scene.masks[number]] = number + 1
    stuff = np.where((scene.semantic >= things) & (scene.semantic != IGNORE) & (numbers == 0), scene.semantic, -1)
    labels = list(scene.labels)
    for label in np.unique(stuff[stuff >= 0]):
        labels.append(label)
        numbers[stuff == label] = len(labels)
    crowd = np.concatenate([scene.crowd, np.zeros(len(labels) - len(scene.crowd), bool)])
    return Segments(numbers, np.array(labels, np.int32), crowd)


def _check(name: str, array: np.ndarray | None, shape: tuple[int, ...], dtype: type) -> None:
    found = np.asarray(array)
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(
            f"Expected `{name}` of shape {shape}, {np.dtype(dtype).name}. Received: {found.shape}, {found.dtype}"
        )
