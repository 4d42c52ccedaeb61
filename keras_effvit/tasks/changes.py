"""How scenes are varied and brought to a model's size: mirrored, scaled, cut, with everything that is known of them."""

from dataclasses import dataclass, replace

import numpy as np

from keras_effvit.preprocessing import IMAGENET_MEAN
from keras_effvit.tasks.samples import IGNORE, Scene

#: Of a thing's box, what must be left inside of a cut for it to be still there.
LEFT = 0.2
#: What lies beyond an image: the mean of all images, which is 0 to the model.
BEYOND = np.round(255 * np.array(IMAGENET_MEAN)).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Change:
    """Figures of a variation; without any, a scene is fitted into the size and left alone.

    Attributes:
        flip: probability of a mirror image.
        scale: smallest and largest size, 1 being the largest that fits.
        brightness: it varies by this share.

    Raises:
        ValueError: if a figure is out of its range.

    Example:
        >>> Change(flip=0.5, scale=(0.5, 2.0))
    """

    flip: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0

    def __post_init__(self):
        for name in ("flip", "brightness"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be between 0 and 1. Received: {name}={getattr(self, name)}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"`scale` must be a range of positive numbers. Received: scale={self.scale}")


def changed(scene: Scene, size: tuple[int, int], change: Change, random: np.random.Generator) -> Scene:
    """A variation of a scene, in a model's size.

    Args:
        scene: of any size.
        size: height and width of the result.
        change: the figures.
        random: where everything that varies comes from.
    """
    if random.uniform() < change.flip:
        scene = flipped(scene)
    scene = resized(scene, _fitting(scene, size, random.uniform(*change.scale)))
    room = [own - wanted for own, wanted in zip(scene.image.shape[:2], size, strict=True)]
    top, left = (int(random.integers(min(0, each), max(0, each) + 1)) for each in room)
    scene = cut(scene, top, left, size)
    if change.brightness:
        factor = random.uniform(1 - change.brightness, 1 + change.brightness)
        scene = replace(scene, image=np.clip(np.round(scene.image * factor), 0, 255).astype(np.uint8))
    return scene


def fitted(scene: Scene, size: tuple[int, int]) -> Scene:
    """A scene scaled so that it just fits, in the upper left corner; nothing is known of the rest.

    Args:
        scene: of any size.
        size: height and width of the result.
    """
    return cut(resized(scene, _fitting(scene, size, 1.0)), 0, 0, size)


def flipped(scene: Scene) -> Scene:
    """The mirror image, left and right exchanged.

    Args:
        scene: of any size.
    """
    width = scene.image.shape[1]
    boxes = scene.boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32) + np.array([width, 0, width, 0])
    return replace(
        scene,
        image=np.ascontiguousarray(scene.image[:, ::-1]),
        boxes=boxes.astype(np.float32),
        masks=None if scene.masks is None else scene.masks[:, :, ::-1],
        semantic=None if scene.semantic is None else scene.semantic[:, ::-1],
    )


def resized(scene: Scene, size: tuple[int, int]) -> Scene:
    """A scene in another size: pixels smoothly, masks and classes by the nearest.

    Args:
        scene: of any size.
        size: height and width of the result.
    """
    from PIL import Image

    if scene.image.shape[:2] == size:
        return scene
    height, width = scene.image.shape[:2]
    image = Image.fromarray(scene.image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    rows, columns = _nearest(height, size[0]), _nearest(width, size[1])
    factor = np.array([size[1] / width, size[0] / height] * 2)
    return replace(
        scene,
        image=np.asarray(image),
        boxes=(scene.boxes * factor).astype(np.float32),
        masks=None if scene.masks is None else scene.masks[:, rows][:, :, columns],
        semantic=None if scene.semantic is None else scene.semantic[rows][:, columns],
    )


def cut(scene: Scene, top: int, left: int, size: tuple[int, int]) -> Scene:
    """A part of a scene. Beyond its edges there is nothing known; things of which too little is left are gone.

    Args:
        scene: of any size.
        top: first row of the part, negative above the scene.
        left: first column.
        size: height and width of the part.
    """
    height, width = size
    moved = scene.boxes - np.array([left, top, left, top], np.float32)
    boxes = np.clip(moved, 0, [width, height, width, height]).astype(np.float32)
    before, after = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (moved, boxes))
    kept = (after > 0) & (after / np.maximum(before, 1e-6) >= np.float32(LEFT))
    return replace(
        scene,
        image=np.stack([_part(scene.image[..., i], top, left, size, BEYOND[i]) for i in range(3)], axis=-1),
        boxes=boxes[kept],
        labels=scene.labels[kept],
        crowd=scene.crowd[kept],
        masks=None if scene.masks is None else _parts(scene.masks[kept], top, left, size),
        semantic=None if scene.semantic is None else _part(scene.semantic, top, left, size, IGNORE),
    )


def _fitting(scene: Scene, size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = scene.image.shape[:2]
    factor = scale * min(size[0] / height, size[1] / width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _nearest(old: int, new: int) -> np.ndarray:
    """For every new pixel the old one that its middle lies in."""
    return np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)


def _part(plane: np.ndarray, top: int, left: int, size: tuple[int, int], beyond: int) -> np.ndarray:
    result = np.full(size, beyond, plane.dtype)
    (rows, columns), (height, width) = plane.shape, size
    y, x = max(0, top), max(0, left)
    there = plane[y : max(y, min(rows, top + height)), x : max(x, min(columns, left + width))]
    result[y - top : y - top + there.shape[0], x - left : x - left + there.shape[1]] = there
    return result


def _parts(masks: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    return np.array([_part(mask, top, left, size, 0) for mask in masks], bool).reshape(-1, *size)
