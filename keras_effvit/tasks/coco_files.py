"""What COCO's files have in common, whatever they say of an image: their lists, categories, images and boxes."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np

from keras_effvit.tasks.problems import AnnotationError, Ledger, read_image

Label = TypeVar("Label")

#: The lists in a file of annotations.
LISTS = ("images", "annotations", "categories")
#: Pixels that a box may stick out of its image without a word: annotators round.
ROUNDING = 1.0
#: Above all numbers that numpy can hold.
TOO_LARGE = 2**63


@dataclass(frozen=True)
class Picture:
    """A file of pixels, before it is read.

    Attributes:
        path: of the file.
        size: height and width that were written down.
    """

    path: Path
    size: tuple[int, int]


def read_coco(path: Path, lists: Sequence[str] = LISTS) -> dict[str, list]:
    """What stands in a COCO file.

    Args:
        path: of the file.
        lists: that must be in it.

    Raises:
        AnnotationError: if it is none, or lacks a list.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"Expected a COCO file. Received: {path}: {error}") from error
    for name in lists:
        found = content.get(name) if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise AnnotationError(f"Expected a list of {name!r} in {path}. Received: {type(found).__name__}")
    return content


def categories_in(
    path: Path, rows: list, classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], dict[Any, int | None]]:
    """Names of the classes, and their labels by the categories' numbers: none for what is not wanted.

    Args:
        path: of the file, to name it.
        rows: its categories.
        classes: names of those that are wanted, in the order in which labels count; by default all, by their numbers.

    Raises:
        AnnotationError: if they say nothing, or lack a class.
    """
    for row in rows:
        if not isinstance(row, dict) or not whole(row.get("id")) or not isinstance(row.get("name"), str):
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


def pictures_in(rows: list, folder: Path, ledger: Ledger, check: bool) -> dict[int, Picture]:
    """The images that can be used, by their numbers.

    Args:
        rows: the file's images.
        folder: that they are in.
        ledger: where the others are named.
        check: whether to decode them.
    """
    pictures: dict[int, Picture] = {}
    for place, row in enumerate(rows):
        number = row.get("id") if isinstance(row, Mapping) else None
        what = called("image", number, place)
        try:
            if not whole(number) or number in pictures:
                raise ValueError(f"Expected a number of its own. Received: {number}")
            pictures[number] = _picture(row, folder, check)
        except ValueError as error:
            ledger.skip(what, error)
    return pictures


def _picture(row: Mapping, folder: Path, check: bool) -> Picture:
    name, height, width = (row.get(key) for key in ("file_name", "height", "width"))
    path = file_in(folder, name)
    if not whole(height) or not whole(width) or min(height, width) < 1:
        raise ValueError(f"Expected a height and a width. Received: {height} x {width}")
    picture = Picture(path, (height, width))
    if check:
        pixels_of(picture)
    return picture


def file_in(folder: Path, name: Any) -> Path:
    """The image file of a name, which may be anything that stands in a file of annotations.

    Args:
        folder: that it must be in.
        name: of the file.

    Raises:
        ValueError: if it is none, leads out of the folder, or there is no such file.
    """
    if not isinstance(name, str) or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"Expected the name of a file in the folder. Received: {name!r}")
    if not (path := folder / name).is_file():
        raise ValueError(f"Expected an image file. Received: {path}, which does not exist")
    return path


def pixels_of(picture: Picture, mode: str | None = "RGB") -> np.ndarray:
    """Its pixels.

    Args:
        picture: of a file.
        mode: as of `read_image`.

    Raises:
        ValueError: if the file is damaged, or of another size than was written down.
    """
    pixels = read_image(picture.path, mode)
    if pixels.shape[:2] != picture.size:
        raise ValueError(
            f"Expected an image of {picture.size[0]} x {picture.size[1]}. "
            f"Received: {picture.path} of {pixels.shape[0]} x {pixels.shape[1]}"
        )
    return pixels


def called(kind: str, number: Any, place: int) -> str:
    """What problems call a row of a list: by its number, or by its place where it has none.

    Args:
        kind: of row.
        number: that stands in it.
        place: in the list.
    """
    return f"{kind} at place {place}" if number is None else f"{kind} {number}"


def image_in(row: Any, pictures: Mapping[int, Picture]) -> int:
    """The number of an annotation's image.

    Args:
        row: the annotation, which may be anything that stands in a file.
        pictures: those that can be used.

    Raises:
        ValueError: if it is no annotation, or its image is none of them.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"Expected an annotation. Received: {row!r}")
    image = row.get("image_id")
    if not whole(image) or image not in pictures:
        raise ValueError(f"Expected the number of an image that can be used. Received: {image}")
    return image


def label_in(row: Mapping, labels: Mapping[Any, Label]) -> Label:
    """The class of what has a category.

    Args:
        row: an annotation, or a segment.
        labels: by the categories' numbers.

    Raises:
        ValueError: if there is no such category.
    """
    category = row.get("category_id")
    if not whole(category) or category not in labels:
        raise ValueError(f"Expected the number of a category. Received: {category}")
    return labels[category]


def box_in(found: Any, size: tuple[int, int]) -> tuple[tuple[float, float, float, float], bool]:
    """Corners of COCO's x, y, width, height within the image, and whether much was cut off.

    Args:
        found: what stands in the file.
        size: height and width of the image.

    Raises:
        ValueError: if it is no box, or has no area within the image.

    Example:
        >>> box_in([40, 30, 9, 11], (40, 48))
        ((40.0, 30.0, 48.0, 40.0), False)
    """
    if (
        not isinstance(found, list)
        or len(found) != 4
        or not all(isinstance(side, (int, float)) and abs(side) <= sys.float_info.max for side in found)
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


def whole(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number, as those of images and categories must be.

    Args:
        value: anything that JSON knows.
    """
    return isinstance(value, int) and not isinstance(value, bool) and -TOO_LARGE <= value < TOO_LARGE


def first_reason(ledger: Ledger) -> str:
    """Why nothing is left.

    Args:
        ledger: of what was left out.
    """
    return f"the first because: {ledger.problems[0].reason}" if ledger.problems else "it lists no image"
