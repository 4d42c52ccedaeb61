"""Scenes from COCO's `instances.json` and a folder of images. What is wrong in them is named and left out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_effvit.tasks.coco_files import (
    Picture,
    box_in,
    called,
    categories_in,
    first_reason,
    image_in,
    label_in,
    pictures_in,
    pixels_of,
    read_coco,
)
from keras_effvit.tasks.problems import AnnotationError, Ledger
from keras_effvit.tasks.rle import mask_in
from keras_effvit.tasks.samples import IGNORE, Scene, Scenes

#: The name of what no thing covers, where a semantic map is made of masks.
BACKGROUND = "background"


@dataclass(frozen=True)
class _Thing:
    label: int
    box: tuple[float, float, float, float]
    code: Any
    crowd: bool


def coco_scenes(
    annotations: str | Path,
    images: str | Path,
    classes: Sequence[str] | None = None,
    *,
    semantic: bool = False,
    check: bool = True,
) -> Scenes:
    """The scenes of a COCO file.

    Every image and every annotation is either in the scenes or in their `problems`: boxes without an area or outside of
    their image, unknown categories and images, masks of another size, run lengths and polygons that are none, files
    that are missing or of another size than was written down. A box that sticks out is cut off.

    Args:
        annotations: the JSON file.
        images: the folder that its file names are in.
        classes: names of the categories that are wanted, in the order in which labels count. By default all, by their
            numbers in the file; annotations of others are not read.
        semantic: whether to make a semantic map of the masks, with a last class "background"; groups become `IGNORE`.
        check: whether to decode every image once. One that cannot be decoded is left out; without the check it is an
            error when it is read.

    Raises:
        AnnotationError: if the file is no COCO file, lacks a class, or nothing is left.

    Example:
        >>> scenes = coco_scenes("annotations/instances_val2017.json", "val2017", check=False)
        >>> len(scenes), len(scenes.problems), scenes.classes[:2]
        (5000, 0, ('person', 'bicycle'))
    """
    path = Path(annotations)
    content = read_coco(path)
    names, labels = categories_in(path, content["categories"], classes)
    ledger = Ledger(str(path))
    pictures = pictures_in(content["images"], Path(images), ledger, check)
    things = _things(content["annotations"], pictures, labels, ledger)
    problems = ledger.close()
    if not pictures:
        raise AnnotationError(f"Expected images that can be used in {path}. Received: none, {first_reason(ledger)}")
    masks = any(thing.code is not None for each in things.values() for thing in each)
    if semantic and not masks:
        raise AnnotationError(f"Expected masks in {path}, to make semantic maps of. Received: none")
    numbers = list(pictures)
    background = len(names) if semantic else None

    def read(number: int) -> Scene:
        return _scene(pictures[numbers[number]], things[numbers[number]], masks, background)

    semantic_names = (*names, BACKGROUND) if semantic else ()
    return Scenes(names, semantic_names, read, np.arange(len(numbers)), problems)


def _things(
    rows: list, pictures: Mapping[int, Picture], labels: Mapping[Any, int | None], ledger: Ledger
) -> dict[int, list[_Thing]]:
    things: dict[int, list[_Thing]] = defaultdict(list)
    masked = any(isinstance(row, Mapping) and row.get("segmentation") for row in rows)
    for place, row in enumerate(rows):
        what = called("annotation", row.get("id") if isinstance(row, Mapping) else None, place)
        try:
            image, label = image_in(row, pictures), label_in(row, labels)
            if label is not None:
                things[image].append(_thing(row, label, pictures[image], masked, ledger, what))
        except ValueError as error:
            ledger.skip(what, error)
    return things


def _thing(row: Mapping, label: int, picture: Picture, masked: bool, ledger: Ledger, what: str) -> _Thing:
    box, sticks_out = box_in(row.get("bbox"), picture.size)
    code = row.get("segmentation") or None
    if masked:
        if code is None:
            raise ValueError("Expected a mask, as other annotations have. Received: none")
        if not mask_in(code, picture.size).any():
            raise ValueError("Expected a mask with a pixel in it. Received: one without")
    if sticks_out:
        ledger.clip(what, f"Expected a box within {picture.size[0]} x {picture.size[1]}. Received: {row['bbox']}")
    return _Thing(label, box, code, bool(row.get("iscrowd", 0)))


def _scene(picture: Picture, things: Sequence[_Thing], masks: bool, background: int | None) -> Scene:
    codes = [thing.code for thing in things] if masks else []
    found = np.array([mask_in(code, picture.size) for code in codes], bool).reshape(-1, *picture.size)
    semantic = None
    if background is not None:
        semantic = np.full(picture.size, background, np.int32)
        for thing, mask in zip(things, found, strict=True):
            semantic[mask] = IGNORE if thing.crowd else thing.label
    return Scene(
        pixels_of(picture),
        np.array([thing.box for thing in things], np.float32).reshape(-1, 4),
        np.array([thing.label for thing in things], np.int32),
        found if masks else None,
        semantic,
        np.array([thing.crowd for thing in things], bool),
    )
