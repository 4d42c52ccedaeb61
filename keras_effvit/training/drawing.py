"""Ten classes of drawn shapes and textures: a data set for everywhere, with no file, download or licence."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_effvit.training.images import Images, arrays

#: From where points lie, in the thing's own radius, to how far that is outside of what is painted; inside is negative.
Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

#: From the middle of an image, how far things reach at most; and how large they are.
ROOM = 0.95
RADIUS = (0.32, 0.68)
#: How `drawn` draws what small models learn within minutes: large, upright and alone.
EASY: dict[str, Any] = {"clutter": 0.0, "radius": (0.65, 0.9), "turn": 0.0}
#: How far a star's five tips, and the corners between them, lie from its middle.
TIP, WAIST = 1.25, 0.5625


def disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to a circle's edge."""
    return np.hypot(x, y) - 1


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the edges of a circle with a hole."""
    return np.abs(np.hypot(x, y) - 0.75) - 0.25


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the edge of a square with a disc's area."""
    return np.maximum(np.abs(x), np.abs(y)) - 0.886


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the edge of a triangle with three equal sides."""
    return np.maximum(np.maximum(0.866 * np.abs(x) + 0.5 * y, -y) - 0.62, np.hypot(x, y) - 1.25)


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the edge of two bars that cross."""
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.3, y - 1.1), np.maximum(y - 0.3, x - 1.1))


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to a star's edge, which from a tip to the corner beside it is a straight line."""
    fifth = 2 * math.pi / 5
    angle = np.abs((np.arctan2(x, y) + fifth / 2) % fifth - fifth / 2)  # to the nearest tip
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    right, up = TIP - WAIST * math.cos(fifth / 2), WAIST * math.sin(fifth / 2)
    return ((along - TIP) * up + across * right) / math.hypot(right, up)


def stripes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Parallel bands, a half of their period wide."""
    return _wave(x, 0.5)


def checkerboard(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squares in turn: where two waves agree."""
    a, b = _wave(x, 0.8), _wave(y, 0.8)
    return np.where(np.sign(a) == np.sign(b), np.float32(-1), np.float32(1)) * np.minimum(np.abs(a), np.abs(b))


def dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Discs in rows."""
    pitch = 0.56
    return np.hypot(_nearest(x, pitch), _nearest(y, pitch)) - 0.32 * pitch


def spiral(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One arm that winds outwards."""
    pitch = 0.56
    return _wave(np.hypot(x, y) + pitch * np.arctan2(y, x) / (2 * np.pi), pitch)


def _nearest(x: np.ndarray, pitch: float) -> np.ndarray:
    return (x + pitch / 2) % pitch - pitch / 2


def _wave(x: np.ndarray, pitch: float) -> np.ndarray:
    return np.abs(_nearest(x, pitch)) - pitch / 4


#: What is known by its outline, and what fills a disc or a square.
SHAPES: dict[str, Distance] = {each.__name__: each for each in (cross, disc, ring, square, star, triangle)}
TEXTURES: dict[str, Distance] = {each.__name__: each for each in (checkerboard, dots, spiral, stripes)}
CLASSES = tuple(sorted({**SHAPES, **TEXTURES}))


def drawn(
    count: int,
    size: int = 64,
    seed: int = 0,
    *,
    clutter: float = 1.0,
    radius: tuple[float, float] = RADIUS,
    turn: float = 1.0,
) -> Images:
    """Draws images of ten classes: six shapes and four textures, over something and partly under something.

    Where a thing lies, how large it is, how it is turned, its colours, what is behind and before it, and the noise are
    all drawn from `seed`; classes take turns. The first images of a larger count are those of a smaller one.

    Args:
        count: how many images.
        size: their side in pixels.
        seed: another one gives other images, as for validation.
        clutter: how much there is beside the thing, from 0 to 1: waves behind it, bars and discs before and behind,
            noise. At 0 it lies on a ramp of two colours, which small models learn within minutes.
        radius: of the smallest and of the largest thing; at 1 it is as wide as the image.
        turn: how far things are turned at most, in whole turns. At 0 they are upright.

    Raises:
        ValueError: if there is nothing to draw, or too small.

    Example:
        >>> images = drawn(30, size=32)
        >>> images.classes[images.labels[0]], images.read(0).shape
        ('checkerboard', TensorShape([32, 32, 3]))
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}")
    if size < 8:
        raise ValueError(f"`size` must be at least 8 pixels. Received: size={size}")
    if not 0 <= clutter <= 1:
        raise ValueError(f"`clutter` must be between 0 and 1. Received: clutter={clutter}")
    if not 0 < radius[0] <= radius[1] <= ROOM:
        raise ValueError(f"`radius` must be two numbers above 0, in order and to {ROOM}. Received: radius={radius}")
    if not 0 <= turn <= 1:
        raise ValueError(f"`turn` must be between 0 and 1. Received: turn={turn}")
    labels = np.arange(count) % len(CLASSES)
    pixels = np.empty((count, size, size, 3), np.uint8)
    for number, label in enumerate(labels):
        pixels[number] = draw(CLASSES[label], size, np.random.default_rng([seed, number]), clutter, radius, turn)
    return arrays(pixels, labels, CLASSES)


def draw(
    name: str,
    size: int,
    random: np.random.Generator,
    clutter: float = 1.0,
    radius: tuple[float, float] = RADIUS,
    turn: float = 1.0,
) -> np.ndarray:
    """Draws one image.

    Args:
        name: of a class.
        size: its side in pixels.
        random: where everything that varies comes from; another generator, another scene.
        clutter: as of `drawn`.
        radius: as of `drawn`.
        turn: as of `drawn`.

    Returns:
        RGB pixels, (size, size, 3), uint8.
    """
    along = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(along, along)
    image = _background(x, y, random, clutter)
    for _ in range(round(clutter * random.integers(0, 4))):
        image = _clutter(image, x, y, random)
    image = _thing(image, name, x, y, random, random.uniform(*radius), turn)
    for _ in range(round(clutter * random.integers(0, 3))):
        image = _clutter(image, x, y, random)
    noise = random.standard_normal(image.shape, np.float32) * np.float32(clutter * random.uniform(0, 0.08))
    return (np.clip(image + noise, 0, 1) * 255).astype(np.uint8)


def _background(x: np.ndarray, y: np.ndarray, random: np.random.Generator, clutter: float) -> np.ndarray:
    """A gradient between two colours, and two faint waves over it."""
    first, second = random.uniform(0, 1, (2, 3)).astype(np.float32)
    angle = random.uniform(0, 2 * math.pi)
    ramp = (math.cos(angle) * x + math.sin(angle) * y + 1.4) / 2.8
    for _ in range(2):
        wide, high, phase, strength = random.uniform((1, 1, 0, 0), (9, 9, 2 * math.pi, 0.25)).tolist()
        ramp = ramp + clutter * strength * np.sin(wide * x + high * y + phase)
    return first + (second - first) * ramp[..., None]


def _thing(
    image: np.ndarray, name: str, x: np.ndarray, y: np.ndarray, random: np.random.Generator, radius: float, turn: float
) -> np.ndarray:
    """What the image is of, in a colour that stands out from what is behind it."""
    x, y = _placed(x, y, random, radius, ROOM - radius, turn)
    outline = (disc, square)[random.integers(2)](x, y)
    paint = far_from(image[outline < 0].mean(axis=0), random)
    if name in SHAPES:
        return _over(image, SHAPES[name](x, y) * radius, paint)
    ground = np.broadcast_to(far_from(paint, random), image.shape)
    return _over(image, outline * radius, _over(ground, TEXTURES[name](x, y) * radius, paint))


def _clutter(image: np.ndarray, x: np.ndarray, y: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A small disc or a thin bar, anywhere."""
    colour = random.uniform(0, 1, 3).astype(np.float32)
    radius, long = random.uniform(0.04, 0.14), random.uniform(0.3, 1.2)
    x, y = _placed(x, y, random, 1.0, 0.9)
    if random.integers(2):
        return _over(image, np.hypot(x, y) - radius, colour)
    return _over(image, np.maximum(np.abs(x) - long, np.abs(y) - radius / 3), colour)


def _placed(
    x: np.ndarray, y: np.ndarray, random: np.random.Generator, radius: float, room: float, turn: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The image's coordinates seen from something that lies somewhere, turned and stretched a little."""
    left, top = random.uniform(-room, room, 2).tolist()
    angle, stretch = turn * random.uniform(0, 2 * math.pi), random.uniform(0.85, 1.18)
    cos, sin = math.cos(angle) / radius, math.sin(angle) / radius
    x, y = x - left, y - top
    return (cos * x + sin * y) * stretch, (cos * y - sin * x) / stretch


def far_from(colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The first of eight colours that is at least half a channel's range away, or the one that is farthest.

    Args:
        colour: three shares of full light.
        random: where the colours come from.
    """
    tries = random.uniform(0, 1, (8, 3)).astype(np.float32)
    away = np.linalg.norm(tries - colour, axis=1)
    return tries[np.argmax(away > 0.5) if (away > 0.5).any() else away.argmax()]


def _over(image: np.ndarray, distance: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """Paints what lies inside; within half a pixel of the edge, a part of it."""
    pixel = 2 / image.shape[0]
    share = np.clip(0.5 - distance / pixel, 0, 1)[..., None]
    return image + (paint - image) * share
