"""Scenes from COCO's `instances.json` and a folder of images. What is wrong in them is named and left out."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from keras_effvit.tasks.problems import AnnotationError, Ledger, read_image
from keras_effvit.tasks.rle import mask_in
from keras_effvit.tasks.samples import IGNORE, Scene, Scenes

#: Pixels that a box may stick out of its image without a word: annotators round.
ROUNDING = 1.0
#: The name of what no thing covers, where a semantic map is made of masks.
BACKGROUND = "background"


@dataclass(frozen=True)
class _Picture:
    path: Path
    size: tuple[int, int]


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
    content = _read(path)
    names, labels = _categories(path, content["categories"], classes)
    ledger = Ledger(str(path))
    pictures = _pictures(content["images"], Path(images), ledger, check)
    things = _things(content["annotations"], pictures, labels, ledger)
    problems = ledger.close()
    if not pictures:
        raise AnnotationError(f"Expected images that can be used in {path}. Received: none, {_first(ledger)}")
    masks = any(thing.code is not None for each in things.values() for thing in each)
    if semantic and not masks:
        raise AnnotationError(f"Expected masks in {path}, to make semantic maps of. Received: none")
    numbers = list(pictures)
    background = len(names) if semantic else None

    def read(number: int) -> Scene:
        return _scene(pictures[numbers[number]], things[numbers[number]], masks, background)

    semantic_names = (*names, BACKGROUND) if semantic else ()
    return Scenes(names, semantic_names, read, np.arange(len(numbers)), problems)


def _read(path: Path) -> dict[str, list]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"Expected a COCO file. Received: {path}: {error}") from error
    for name in ("images", "annotations", "categories"):
        found = content.get(name) if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise AnnotationError(f"Expected a list of {name!r} in {path}. Received: {type(found).__name__}")
    return content


def _categories(path: Path, rows: list, classes: Sequence[str] | None) -> tuple[tuple[str, ...], dict[Any, int | None]]:
    """Names of the classes, and their labels by the categories' numbers: none for what is not wanted."""
    for row in rows:
        if not isinstance(row, dict) or not _whole(row.get("id")) or not isinstance(row.get("name"), str):
            raise AnnotationError(f"Expected categories with a number and a name in {path}. Received: {row}")
    numbers, names = [row["id"] for row in rows], [row["name"] for row in rows]
    if not rows or len(set(numbers)) < len(numbers) or len(set(names)) < len(names):
        raise AnnotationError(f"Expected categories of different numbers and names in {path}. Received: {rows}")
    ordered = [name for _, name in sorted(zip(numbers, names, strict=True))]
    wanted = tuple(classes) if classes is not None else tuple(ordered)
    if missing := [name for name in wanted if name not in names]:
        raise AnnotationError(f"Expected categories {missing} in {path}. Received: {ordered}")
    return wanted, {
        number: wanted.index(name) if name in wanted else None for number, name in zip(numbers, names, strict=True)
    }


def _pictures(rows: list, folder: Path, ledger: Ledger, check: bool) -> dict[int, _Picture]:
    pictures: dict[int, _Picture] = {}
    for place, row in enumerate(rows):
        number = row.get("id") if isinstance(row, Mapping) else None
        what = f"image {number if number is not None else f'at place {place}'}"
        try:
            if not _whole(number) or number in pictures:
                raise ValueError(f"Expected a number of its own. Received: {number}")
            pictures[number] = _picture(row, folder, check)
        except ValueError as error:
            ledger.skip(what, error)
    return pictures


def _picture(row: Mapping, folder: Path, check: bool) -> _Picture:
    name, height, width = (row.get(key) for key in ("file_name", "height", "width"))
    if not isinstance(name, str) or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"Expected the name of a file in the folder. Received: {name!r}")
    if not _whole(height) or not _whole(width) or min(height, width) < 1:
        raise ValueError(f"Expected a height and a width. Received: {height} x {width}")
    picture = _Picture(folder / name, (height, width))
    if not picture.path.is_file():
        raise ValueError(f"Expected an image file. Received: {picture.path}, which does not exist")
    if check:
        _pixels(picture)
    return picture


def _pixels(picture: _Picture) -> np.ndarray:
    pixels = read_image(picture.path)
    if pixels.shape[:2] != picture.size:
        raise ValueError(
            f"Expected an image of {picture.size[0]} x {picture.size[1]}. "
            f"Received: {picture.path} of {pixels.shape[0]} x {pixels.shape[1]}"
        )
    return pixels


def _things(
    rows: list, pictures: Mapping[int, _Picture], labels: Mapping[Any, int | None], ledger: Ledger
) -> dict[int, list[_Thing]]:
    things: dict[int, list[_Thing]] = defaultdict(list)
    masked = any(isinstance(row, Mapping) and row.get("segmentation") for row in rows)
    for place, row in enumerate(rows):
        number = row.get("id") if isinstance(row, Mapping) else None
        what = f"annotation {number if number is not None else f'at place {place}'}"
        try:
            if not isinstance(row, Mapping):
                raise ValueError(f"Expected an annotation. Received: {row!r}")
            image = row.get("image_id")
            if not _whole(image) or image not in pictures:
                raise ValueError(f"Expected the number of an image that can be used. Received: {image}")
            category = row.get("category_id")
            if not _whole(category) or category not in labels:
                raise ValueError(f"Expected the number of a category. Received: {category}")
            label = labels[category]
            if label is not None:
                things[image].append(_thing(row, label, pictures[image], masked, ledger, what))
        except ValueError as error:
            ledger.skip(what, error)
    return things


def _thing(row: Mapping, label: int, picture: _Picture, masked: bool, ledger: Ledger, what: str) -> _Thing:
    box, sticks_out = _box(row.get("bbox"), picture.size)
    code = row.get("segmentation") or None
    if masked:
        if code is None:
            raise ValueError("Expected a mask, as other annotations have. Received: none")
        if not mask_in(code, picture.size).any():
            raise ValueError("Expected a mask with a pixel in it. Received: one without")
    if sticks_out:
        ledger.clip(what, f"Expected a box within {picture.size[0]} x {picture.size[1]}. Received: {row['bbox']}")
    return _Thing(label, box, code, bool(row.get("iscrowd", 0)))


def _box(found: Any, size: tuple[int, int]) -> tuple[tuple[float, float, float, float], bool]:
    """Corners of COCO's x, y, width, height within the image, and whether much was cut off."""
    if (
        not isinstance(found, list)
        or len(found) != 4
        or not all(isinstance(side, (int, float)) and math.isfinite(side) for side in found)
    ):
        raise ValueError(f"Expected a box x, y, width, height. Received: {found}")
    x, y, width, height = map(float, found)
    if width <= 0 or height <= 0:
        raise ValueError(f"Expected a box with an area. Received: {found}")
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + width, float(size[1])), min(y + height, float(size[0]))
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"Expected a box within {size[0]} x {size[1]}. Received: {found}")
    cut = max(-x, -y, x + width - size[1], y + height - size[0])
    return (x0, y0, x1, y1), cut > ROUNDING


def _scene(picture: _Picture, things: Sequence[_Thing], masks: bool, background: int | None) -> Scene:
    codes = [thing.code for thing in things] if masks else []
    found = np.array([mask_in(code, picture.size) for code in codes], bool).reshape(-1, *picture.size)
    semantic = None
    if background is not None:
        semantic = np.full(picture.size, background, np.int32)
        for thing, mask in zip(things, found, strict=True):
            semantic[mask] = IGNORE if thing.crowd else thing.label
    return Scene(
        _pixels(picture),
        np.array([thing.box for thing in things], np.float32).reshape(-1, 4),
        np.array([thing.label for thing in things], np.int32),
        found if masks else None,
        semantic,
        np.array([thing.crowd for thing in things], bool),
    )


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _first(ledger: Ledger) -> str:
    return f"the first because: {ledger.problems[0].reason}" if ledger.problems else "it lists no image"
