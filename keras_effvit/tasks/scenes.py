"""Drawn scenes with boxes, masks, semantic and panoptic labels: a dense data set with no file, download or licence."""

import math

import numpy as np

from keras_effvit.tasks.samples import Scene, Scenes
from keras_effvit.training.drawing import SHAPES, TEXTURES, far_from

#: What there are boxes of.
THINGS = tuple(sorted(SHAPES))
#: What lies behind them, and has no number.
STUFF = ("checkerboard", "dots", "plain", "stripes")
#: Radius of a thing as a share of the image's short side, if nothing else is asked for.
RADIUS = (0.11, 0.24)
#: Of a thing, what another one may cover, and the pixels that must be left.
COVERED, LEFT = 0.35, 12
#: Places that are tried for a thing before it is left out.
TRIES = 8


def drawn_scenes(
    count: int,
    size: tuple[int, int] = (128, 128),
    seed: int = 0,
    *,
    things: tuple[int, int] = (1, 5),
    radius: tuple[float, float] = RADIUS,
) -> Scenes:
    """Draws scenes: shapes over one another on two grounds, with everything known about every pixel.

    Where things lie, how large they are, how they are turned, colours, grounds and noise are drawn from `seed` and the
    scene's number. The first scenes of a larger count are those of a smaller one. They are drawn when they are read.

    Args:
        count: how many scenes.
        size: height and width in pixels.
        seed: another one gives other scenes, as for validation.
        things: how many at least and at most; fewer where there is no room.
        radius: of the smallest and of the largest thing, as a share of the short side.

    Raises:
        ValueError: if there is nothing to draw, or too small.

    Example:
        >>> scenes = drawn_scenes(10, (96, 128))
        >>> scene = scenes[0]
        >>> scene.image.shape, [scenes.classes[label] for label in scene.labels]
        ((96, 128, 3), ['ring', 'disc', 'star'])
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}")
    if min(size) < 32:
        raise ValueError(f"`size` must be at least 32 x 32 pixels. Received: size={size}")
    if not 1 <= things[0] <= things[1]:
        raise ValueError(f"`things` must be a range from 1 on. Received: things={things}")
    if not 0 < radius[0] <= radius[1] < 0.5:
        raise ValueError(f"`radius` must be two numbers above 0, in order and below 0.5. Received: radius={radius}")
    return Scenes(
        THINGS,
        THINGS + STUFF,
        lambda number: draw_scene(size, np.random.default_rng([seed, number]), things, radius),
        np.arange(count),
    )


def draw_scene(
    size: tuple[int, int],
    random: np.random.Generator,
    things: tuple[int, int] = (1, 5),
    radius: tuple[float, float] = RADIUS,
) -> Scene:
    """Draws one scene.

    Args:
        size: height and width in pixels.
        random: where everything that varies comes from; another generator, another scene.
        things: how many at least and at most.
        radius: of the smallest and of the largest thing, as a share of the short side.
    """
    height, width = size
    x, y = np.meshgrid(np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5)
    image, semantic = _grounds(x, y, random)
    labels: list[int] = []
    masks: list[np.ndarray] = []
    for _ in range(random.integers(things[0], things[1] + 1)):
        label = int(random.integers(len(THINGS)))
        distance = _room_for(THINGS[label], x, y, masks, radius, random)
        if distance is None:
            continue
        inside = distance < 0
        image = _over(image, distance, _clear_of(image[inside], random))
        masks = [mask & ~inside for mask in masks] + [inside]
        labels.append(label)
    for label, mask in zip(labels, masks, strict=True):
        semantic[mask] = label
    noise = random.standard_normal(image.shape, np.float32) * np.float32(random.uniform(0, 0.05))
    boxes = np.array([box_of(mask) for mask in masks], np.float32).reshape(-1, 4)
    return Scene(
        (np.clip(image + noise, 0, 1) * 255).astype(np.uint8),
        boxes,
        np.array(labels, np.int32),
        np.array(masks, bool).reshape(-1, height, width),
        semantic,
    )


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box around a mask, x0, y0, x1, y1; all 0 around nothing.

    Args:
        mask: (height, width).

    Example:
        >>> box_of(np.eye(3) > 0)
        (0, 0, 3, 3)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _grounds(x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two grounds on both sides of a line, and their classes."""
    first, second = random.choice(len(STUFF), 2, replace=False).tolist()
    height, width = x.shape
    angle = random.uniform(0, 2 * math.pi)
    across = (x - width * random.uniform(0.3, 0.7)) * math.cos(angle)
    across = across + (y - height * random.uniform(0.3, 0.7)) * math.sin(angle)
    image = _over(_ground(STUFF[first], x, y, random), across, _ground(STUFF[second], x, y, random))
    return image, np.where(across < 0, len(THINGS) + second, len(THINGS) + first).astype(np.int32)


def _ground(name: str, x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two colours that take turns, or fade into each other; their period is about a tenth of the short side."""
    short = min(x.shape)
    paint = random.uniform(0, 1, 3).astype(np.float32)
    if name == "plain":
        other = np.clip(paint + random.uniform(-0.2, 0.2, 3), 0, 1).astype(np.float32)
        return paint + (other - paint) * (x / x.shape[1])[..., None]
    period = short * random.uniform(0.1, 0.16)
    scale = period / {"checkerboard": 0.8, "dots": 0.56, "stripes": 0.5}[name]
    u, v = _turned(x, y, random, scale)
    return _over(np.broadcast_to(far_from(paint, random), (*x.shape, 3)), TEXTURES[name](u, v) * scale, paint)


def _room_for(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    masks: list[np.ndarray],
    shares: tuple[float, float],
    random: np.random.Generator,
) -> np.ndarray | None:
    """Distances to a thing's edge in pixels, somewhere where it leaves enough of the others; or nothing."""
    height, width = x.shape
    for _ in range(TRIES):
        radius = min(height, width) * random.uniform(*shares)
        left, top = random.uniform(radius, width - radius), random.uniform(radius, height - radius)
        distance = SHAPES[name](*_turned(x - left, y - top, random, radius)) * radius
        inside = distance < 0
        covered = [(mask & inside).sum() / mask.sum() for mask in masks]
        left_over = [(mask & ~inside).sum() for mask in masks]
        if inside.sum() >= LEFT and all(share <= COVERED for share in covered) and all(n >= LEFT for n in left_over):
            return distance
    return None


def _turned(x: np.ndarray, y: np.ndarray, random: np.random.Generator, scale: float) -> tuple[np.ndarray, np.ndarray]:
    angle = random.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    return cos * x + sin * y, cos * y - sin * x


def _clear_of(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Of eight colours, the one that is farthest from the nearest of what lies behind it."""
    tries = random.uniform(0, 1, (8, 3)).astype(np.float32)
    away = np.linalg.norm(tries[:, None] - pixels[None, :: max(1, len(pixels) // 64)], axis=-1).min(axis=1)
    return tries[away.argmax()]


def _over(image: np.ndarray, distance: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """Paints what lies inside; within half a pixel of the edge, a part of it."""
    return image + (paint - image) * np.clip(0.5 - distance, 0, 1)[..., None]
