"""Scenes from COCO's `panoptic.json`, a folder of images and one of maps. What is wrong is named and left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_effvit.tasks.coco_files import (
    Picture,
    box_in,
    called,
    categories_in,
    file_in,
    first_reason,
    image_in,
    label_in,
    pictures_in,
    pixels_of,
    read_coco,
    whole,
)
from keras_effvit.tasks.panoptic_colours import LAST, numbers_in
from keras_effvit.tasks.problems import AnnotationError, Ledger
from keras_effvit.tasks.samples import IGNORE, Scene, Scenes
from keras_effvit.tasks.scenes import box_of

#: Of numbers that have no pixel or no segment, how many are named.
NAMED = 5


@dataclass(frozen=True)
class PanopticClasses:
    """The classes of a panoptic file, things before stuff, each by their categories' numbers.

    Attributes:
        names: of all of them.
        things: how many are of things.
        labels: by the categories' numbers.
    """

    names: tuple[str, ...]
    things: int
    labels: dict[int, int]


@dataclass(frozen=True)
class _Segment:
    label: int
    crowd: bool


@dataclass(frozen=True)
class _Labelled:
    """An image, its map and what the map's numbers stand for; `beside` are those that stand for nothing."""

    picture: Picture
    map: Picture
    segments: dict[int, _Segment]
    beside: frozenset[int]


def coco_panoptic_scenes(
    annotations: str | Path, images: str | Path, maps: str | Path, *, check: bool = True
) -> Scenes:
    """The scenes of a COCO panoptic file.

    Things become boxes and masks, the box being that of the pixels; all become a semantic map, in which groups are
    `IGNORE`, as is what no segment has. `panoptic(scene, len(scenes.classes))` makes the labelling of it that is
    measured. `Scenes.numbers` are those of the images in the file, until `in_memory` counts anew.

    Every image, every annotation and every segment is either in the scenes or in their `problems`: what `coco_scenes`
    finds wrong, maps that are missing, of another size or no colours, images without a map, segments without a pixel
    and pixels of no segment. What is left out of a map nobody labelled.

    Args:
        annotations: the JSON file.
        images: the folder that the images' file names are in.
        maps: the folder that the annotations' file names are in.
        check: whether to decode every image and every map once. What cannot be used is left out; without the check it
            is an error when it is read.

    Raises:
        AnnotationError: if the file is no COCO panoptic file, or nothing is left.

    Example:
        >>> scenes = coco_panoptic_scenes("panoptic_val2017.json", "val2017", "panoptic_val2017", check=False)
        >>> len(scenes), len(scenes.classes), len(scenes.semantic_classes)
        (5000, 80, 133)
    """
    path = Path(annotations)
    content = read_coco(path)
    classes = panoptic_classes(path, content["categories"])
    ledger = Ledger(str(path))
    pictures = pictures_in(content["images"], Path(images), ledger, check)
    labelled = _all_labelled(content["annotations"], pictures, Path(maps), classes.labels, ledger, check)
    numbers = [number for number in pictures if number in labelled]
    for number in pictures:
        if number not in labelled:
            ledger.skip(f"image {number}", "Expected a panoptic map that can be used. Received: none")
    problems = ledger.close()
    if not numbers:
        raise AnnotationError(
            f"Expected images with panoptic maps that can be used in {path}. Received: none, {first_reason(ledger)}"
        )
    return Scenes(
        classes.names[: classes.things],
        classes.names,
        lambda number: _scene(labelled[number], classes.things),
        np.array(numbers, np.int64),
        problems,
    )


def panoptic_classes(path: Path, rows: list) -> PanopticClasses:
    """The classes of a panoptic file.

    Args:
        path: of the file, to name it.
        rows: its categories.

    Raises:
        AnnotationError: if they say nothing, not whether they are of things, or are too many.
    """
    ordered, _ = categories_in(path, rows)
    if unclear := [row for row in rows if row.get("isthing") not in (0, 1)]:
        raise AnnotationError(f"Expected categories with an `isthing` of 0 or 1 in {path}. Received: {unclear[0]}")
    if len(ordered) > IGNORE:
        raise AnnotationError(f"Expected {IGNORE} categories at most in {path}. Received: {len(ordered)}")
    counted = {row["name"] for row in rows if row["isthing"]}
    names, labels = categories_in(path, rows, sorted(ordered, key=lambda name: name not in counted))
    return PanopticClasses(
        names, len(counted), {number: label for number, label in labels.items() if label is not None}
    )


def _all_labelled(
    rows: list, pictures: Mapping[int, Picture], folder: Path, labels: Mapping[int, int], ledger: Ledger, check: bool
) -> dict[int, _Labelled]:
    labelled: dict[int, _Labelled] = {}
    for place, row in enumerate(rows):
        number = row.get("image_id") if isinstance(row, Mapping) else None
        what = called("annotation", None if number is None else f"of image {number}", place)
        try:
            image = image_in(row, pictures)
            if image in labelled:
                raise ValueError("Expected one annotation of an image. Received: another one")
            labelled[image] = _labelled(row, pictures[image], folder, labels, ledger, what, check)
        except ValueError as error:
            ledger.skip(what, error)
    return labelled


def _labelled(
    row: Mapping, picture: Picture, folder: Path, labels: Mapping[int, int], ledger: Ledger, what: str, check: bool
) -> _Labelled:
    listed = row.get("segments_info")
    if not isinstance(listed, list):
        raise ValueError(f"Expected a list of segments. Received: {listed!r}")
    coloured = Picture(file_in(folder, row.get("file_name")), picture.size)
    there = set(np.unique(_numbers(coloured)).tolist()) if check else None
    segments: dict[int, _Segment] = {}
    for place, each in enumerate(listed):
        number = each.get("id") if isinstance(each, Mapping) else None
        try:
            if not isinstance(each, Mapping):
                raise ValueError(f"Expected a segment. Received: {each!r}")
            if not whole(number) or not 1 <= number <= LAST or number in segments:
                raise ValueError(f"Expected a number of its own, from 1 to {LAST}. Received: {number}")
            segment = _segment(each, labels, picture.size)
            if there is not None and number not in there:
                raise ValueError("Expected a segment with a pixel in the map. Received: one without")
            segments[number] = segment
        except ValueError as error:
            ledger.skip(f"{what}: {called('segment', number, place)}", error)
    return _Labelled(picture, coloured, segments, _beside(segments, listed, there, ledger, what))


def _segment(row: Mapping, labels: Mapping[int, int], size: tuple[int, int]) -> _Segment:
    """A segment whose box and area, which its pixels have too, make sense if they are there."""
    label = label_in(row, labels)
    area, box = row.get("area"), row.get("bbox")
    if area is not None and not (isinstance(area, (int, float)) and area > 0):
        raise ValueError(f"Expected a segment with an area. Received: {area}")
    if box is not None:
        box_in(box, size)
    return _Segment(label, bool(row.get("iscrowd", 0)))


def _beside(
    segments: Mapping[int, _Segment], listed: list, there: set[int] | None, ledger: Ledger, what: str
) -> frozenset[int]:
    """The numbers that stand for nothing: black, those of segments that were left out, and those of none at all."""
    found = {each.get("id") for each in listed if isinstance(each, Mapping) and whole(each.get("id"))}
    beside = {0, *found} - segments.keys()
    if strange := sorted((there or set()) - segments.keys() - beside):
        ledger.skip(f"{what}: pixels", _strange(strange))
    return frozenset(beside.union(strange))


def _strange(numbers: list[int]) -> str:
    return f"Expected pixels of the segments that are listed. Received: {len(numbers)} others, {numbers[:NAMED]}"


def _numbers(coloured: Picture) -> np.ndarray:
    pixels = pixels_of(coloured, mode=None)
    try:
        return numbers_in(pixels)
    except ValueError as error:
        raise ValueError(f"{coloured.path}: {error}") from error


def _scene(labelled: _Labelled, things: int) -> Scene:
    numbers = _numbers(labelled.map)
    there = set(np.unique(numbers).tolist())
    if missing := sorted(labelled.segments.keys() - there):
        raise ValueError(f"{labelled.map.path}: Expected pixels of {missing[:NAMED]}. Received: none")
    if strange := sorted(there - labelled.segments.keys() - labelled.beside):
        raise ValueError(f"{labelled.map.path}: {_strange(strange)}")
    semantic = np.full(numbers.shape, IGNORE, np.int32)
    for number, segment in labelled.segments.items():
        if not segment.crowd:
            semantic[numbers == number] = segment.label
    counted = {number: each for number, each in labelled.segments.items() if each.label < things}
    masks = np.array([numbers == number for number in counted], bool).reshape(-1, *numbers.shape)
    return Scene(
        pixels_of(labelled.picture),
        np.array([box_of(mask) for mask in masks], np.float32).reshape(-1, 4),
        np.array([each.label for each in counted.values()], np.int32),
        masks,
        semantic,
        np.array([each.crowd for each in counted.values()], bool),
    )
