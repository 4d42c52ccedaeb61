"""Predicted panoptic labellings as COCO's `panoptic.json` and a folder of maps, for whatever measures those."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_effvit.atomic import replacing, write_json
from keras_effvit.tasks.coco_files import read_coco, whole
from keras_effvit.tasks.coco_panoptic import panoptic_classes
from keras_effvit.tasks.panoptic_colours import colours_of
from keras_effvit.tasks.samples import Segments
from keras_effvit.tasks.scenes import box_of


def save_coco_panoptic(
    annotations: str | Path, maps: str | Path, found: Iterable[tuple[int, Segments]], like: str | Path
) -> None:
    """Writes what was found in images that a COCO panoptic file lists, one after the other as it is found.

    Every file is written whole or not at all, the JSON last, so that all it names is there. Segments without a pixel
    are not written.

    Args:
        annotations: the JSON file to write.
        maps: the folder to write the maps into, each under its image's number.
        found: numbers of images in `like`, as of `Scenes.numbers`, and their segments in the images' sizes; classes
            count as in `coco_panoptic_scenes`, and as they come out of `fusion.fuse`.
        like: the file whose images and categories are meant; of annotations, it needs none.

    Raises:
        AnnotationError: if `like` is no such file.
        ValueError: if segments are of no image or class in it, of another size, or an image's second.

    Example:
        >>> found = zip(scenes.numbers, segments)
        >>> save_coco_panoptic("found.json", "found", found, like="panoptic_val2017.json")
    """
    path, folder, source = Path(annotations), Path(maps), Path(like)
    if path.resolve() == source.resolve():
        raise ValueError(f"Expected another file than the one that lists the images. Received: {path}")
    content = read_coco(source, ("images", "categories"))
    listed = {row["id"]: row for row in content["images"] if isinstance(row, Mapping) and whole(row.get("id"))}
    labels = panoptic_classes(source, content["categories"]).labels
    categories = {label: number for number, label in labels.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an old one would speak of maps that are others by now
    written: dict[int, dict[str, Any]] = {}
    for number, segments in found:
        number = int(number)
        if number in written or number not in listed:
            raise ValueError(f"Expected images that {source} lists, each once. Received: image {number}")
        _check(segments, number, listed[number], len(categories))
        name = f"{number:012d}.png"
        _save_map(folder / name, segments)
        written[number] = {"image_id": number, "file_name": name, "segments_info": _infos(segments, categories)}
    images = [listed[number] for number in written]
    write_json(path, {"images": images, "annotations": list(written.values()), "categories": content["categories"]})


def _check(segments: Segments, number: int, row: Mapping, classes: int) -> None:
    size = (row.get("height"), row.get("width"))
    if segments.numbers.shape != size:
        raise ValueError(
            f"Expected segments of image {number}'s {size[0]} x {size[1]}. Received: {segments.numbers.shape}"
        )
    if wrong := [int(label) for label in segments.labels if not 0 <= label < classes]:
        raise ValueError(f"Expected classes from 0 to {classes - 1} in image {number}. Received: {wrong}")


def _save_map(path: Path, segments: Segments) -> None:
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(colours_of(segments.numbers)).save(temporary)


def _infos(segments: Segments, categories: Mapping[int, int]) -> list[dict[str, Any]]:
    infos = []
    for place, (label, crowd) in enumerate(zip(segments.labels, segments.crowd, strict=True)):
        mask = segments.numbers == place + 1
        if not mask.any():
            continue
        x0, y0, x1, y1 = box_of(mask)
        infos.append(
            {
                "id": place + 1,
                "category_id": categories[int(label)],
                "iscrowd": int(crowd),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": int(np.count_nonzero(mask)),
            }
        )
    return infos
