"""A sheet to look at: scenes in rows, each as it is, as it is known, and as a model sees it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_effvit.atomic import replacing
from keras_effvit.tasks.measuring import Decode, Predictor, detected, segmented
from keras_effvit.tasks.samples import IGNORE, Detections, Scene, Scenes

#: Between pictures and around them, in pixels; height of a line of words.
GAP, LINE = 6, 15
#: How much of the colour of a class lies over the image, and of a box's inside.
COVER, TINT = 0.62, 0.28
PAPER, INK, UNKNOWN = (255, 255, 255), (30, 30, 30), (0, 0, 0)
#: Detections that are drawn.
SURE = 0.3
COLUMNS = ("image", "truth", "prediction")


def class_colours(count: int) -> np.ndarray:
    """A colour for every class, each as far as can be from those before, from black and white; uint8, (count, 3).

    Args:
        count: how many.

    Example:
        >>> class_colours(2).shape
        (2, 3)
    """
    steps = np.linspace(0, 255, 8)  # 512 colours to choose from, more than there are classes
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    taken = [np.array(UNKNOWN, float), np.array(PAPER, float)]
    away = np.min([np.abs(colours - each).sum(axis=1) for each in taken], axis=0)
    rows = []
    for _ in range(count):
        rows.append(colours[away.argmax()])
        away = np.minimum(away, np.abs(colours - rows[-1]).sum(axis=1))
    return np.round(rows).astype(np.uint8).reshape(count, 3)


def segmentation_grid(
    model: Any, scenes: Scenes, path: str | Path, *, zoom: int | None = None, groups: int | None = None
) -> None:
    """Writes a PNG of images, their true classes and the predicted ones.

    Args:
        model: as of `Predictor`: a segmenter, or a file of one.
        scenes: a dozen or so.
        path: of the PNG.
        zoom: how many pixels a side of a pixel has; by default small images are enlarged.
        groups: scenes side by side; by default as many as make a sheet a little wider than high.

    Example:
        >>> segmentation_grid(model, drawn_scenes(12, seed=1), "grid.png")
    """
    colours = class_colours(len(scenes.semantic_classes))
    rows = [
        (scene.image, painted(scene.image, np.asarray(scene.semantic), colours), painted(scene.image, found, colours))
        for scene, found in segmented(Predictor(model), scenes)
    ]
    _write(rows, list(zip(scenes.semantic_classes, colours, strict=True)), Path(path), zoom, groups)


def detection_grid(
    model: Any,
    scenes: Scenes,
    path: str | Path,
    *,
    decode: Decode | None = None,
    zoom: int | None = None,
    groups: int | None = None,
) -> None:
    """Writes a PNG of images, their true boxes and the predicted ones, the sure ones.

    Args:
        model: as of `Predictor`: a detector, or a file of one.
        scenes: a dozen or so.
        path: of the PNG.
        decode: as of `measure_detector`.
        zoom: as of `segmentation_grid`.
        groups: as of `segmentation_grid`.

    Example:
        >>> detection_grid(model, drawn_scenes(12, seed=1), "grid.png")
    """
    colours = class_colours(len(scenes.classes))
    predictor = Predictor(model)
    pairs = list(detected(predictor, scenes, decode) if decode else detected(predictor, scenes))
    zoom = zoom or _zoom(pairs[0][0].image)
    rows = [
        (_enlarged(scene.image, zoom), boxed(scene, colours, zoom), boxed_found(scene, found, colours, zoom))
        for scene, found in pairs
    ]
    _write(rows, list(zip(scenes.classes, colours, strict=True)), Path(path), 1, groups)


def painted(image: np.ndarray, classes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """An image under the colours of its classes; what nobody knows is black.

    Args:
        image: uint8, (height, width, 3).
        classes: (height, width).
        colours: uint8, (classes, 3).
    """
    table = np.full((IGNORE + 1, 3), UNKNOWN, np.float32)
    table[: len(colours)] = colours
    grey = image.mean(axis=-1, keepdims=True)
    return np.round(COVER * table[classes] + (1 - COVER) * grey).astype(np.uint8)


def boxed(scene: Scene, colours: np.ndarray, zoom: int = 1) -> np.ndarray:
    """A scene's image with its boxes.

    Args:
        scene: with boxes.
        colours: uint8, (classes, 3).
        zoom: how many pixels a side of a pixel has.
    """
    return _with_boxes(scene.image, scene.boxes, scene.labels, colours, [""] * len(scene.labels), zoom)


def boxed_found(scene: Scene, found: Detections, colours: np.ndarray, zoom: int = 1) -> np.ndarray:
    """A scene's image with the boxes that were found, and how sure they are.

    Args:
        scene: that was looked at.
        found: in it.
        colours: uint8, (classes, 3).
        zoom: how many pixels a side of a pixel has.
    """
    sure = found.scores >= SURE
    words = [f"{score:.2f}".removeprefix("0") for score in found.scores[sure]]
    return _with_boxes(scene.image, found.boxes[sure], found.labels[sure], colours, words, zoom)


def _with_boxes(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, colours: np.ndarray, words: Sequence[str], zoom: int
) -> np.ndarray:
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(_enlarged(image, zoom))
    draw = ImageDraw.Draw(canvas, "RGBA")
    for box, label, word in zip(boxes * zoom, labels, words, strict=True):
        colour = tuple(map(int, colours[label]))
        x0, y0, x1, y1 = map(float, box)
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        draw.rectangle(corners, fill=(*colour, round(255 * TINT)), outline=PAPER, width=3)
        draw.rectangle(corners, outline=colour, width=2)
        if word:
            draw.rectangle(draw.textbbox((x0 + 2, y0 + 1), word), fill=(*colour, 220))
            draw.text((x0 + 2, y0 + 1), word, fill=PAPER)
    return np.asarray(canvas)


def _write(
    rows: list[tuple[np.ndarray, ...]],
    legend: list[tuple[str, np.ndarray]],
    path: Path,
    zoom: int | None,
    groups: int | None,
) -> None:
    """Lays rows of three pictures out in groups, with headings, and below them what the colours mean."""
    from PIL import Image, ImageDraw

    zoom = zoom or _zoom(rows[0][0])
    height, width = rows[0][0].shape[0] * zoom, rows[0][0].shape[1] * zoom
    groups = groups or max(1, min(len(rows), round((len(rows) * height * 1.3 / (3 * width)) ** 0.5)))
    lines = -(-len(rows) // groups)
    group = 3 * (width + GAP) + GAP
    wide, high = groups * group + GAP, LINE + GAP + lines * (height + GAP)
    key = _legend(legend, wide)
    sheet = Image.new("RGB", (wide, high + key.height + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column in range(groups):
        for place, name in enumerate(COLUMNS):
            draw.text((GAP + column * group + place * (width + GAP), 3), name, fill=INK)
    for number, row in enumerate(rows):
        left, top = GAP + number // lines * group, LINE + GAP + number % lines * (height + GAP)
        for place, picture in enumerate(row):
            sheet.paste(Image.fromarray(_enlarged(picture, zoom)), (left + place * (width + GAP), top))
    sheet.paste(key, (0, high))
    with replacing(path) as temporary:
        sheet.save(temporary)


def _legend(legend: list[tuple[str, np.ndarray]], width: int) -> Any:
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places, x, y = [], GAP, GAP
    for name, _ in legend:
        long = LINE + round(draw.textlength(name)) + 2 * GAP
        if x + long > width and x > GAP:
            x, y = GAP, y + LINE + 3
        places.append((x, y))
        x += long
    key = Image.new("RGB", (width, y + LINE), PAPER)
    draw = ImageDraw.Draw(key)
    for (name, colour), (x, y) in zip(legend, places, strict=True):
        draw.rectangle((x, y, x + LINE - 4, y + LINE - 4), fill=tuple(map(int, colour)))
        draw.text((x + LINE, y), name, fill=INK)
    return key


def _enlarged(picture: np.ndarray, zoom: int) -> np.ndarray:
    return picture if zoom == 1 else picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _zoom(picture: np.ndarray) -> int:
    return max(1, round(160 / max(picture.shape[:2])))
