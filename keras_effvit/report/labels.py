"""Where to write names beside points so that they cover neither each other nor the points."""

import math
from collections.abc import Iterator, Sequence

Pair = tuple[float, float]
Box = tuple[float, float, float, float]
#: Pixels that a point takes, from its middle, and those around it where a name would be taken for its own.
POINT, NEAR = 9.0, 16.0
#: Of everything, each knowing where the others went.
TRIES = 4
#: Steps of preference that a name goes to keep away from points of others.
MISTAKEN = 14
#: Distances from a point to the edge of its name, and directions: right, above, below and left come first.
DISTANCES = (11.0, 20.0, 34.0, 52.0)
DIRECTIONS = (0, 90, 270, 180, 45, 315, 135, 225, 22, 338, 158, 202)


def place(anchors: Sequence[Pair], sizes: Sequence[Pair], points: Sequence[Pair], frame: Box) -> list[Pair]:
    """Middles of the names.

    Every name takes the place that costs least while the others stay, a few times over.

    Args:
        anchors: the point of every name.
        sizes: width and height of every name.
        points: every point of the plot.
        frame: left, bottom, right and top; no name leaves it if that can be helped.

    Example:
        >>> place([(100, 100)], [(40, 10)], [(100, 100)], (0, 0, 200, 200))
        [(131.0, 100.0)]
    """
    obstacles = [around(point, (2 * POINT, 2 * POINT)) for point in points]
    chosen: list[Pair | None] = [None] * len(anchors)
    for _ in range(TRIES):
        before = list(chosen)
        for index, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
            others = [
                around(middle, sizes[other])
                for other, middle in enumerate(chosen)
                if middle is not None and other != index
            ]
            foreign = [around(point, (2 * NEAR, 2 * NEAR)) for point in points if point != anchor]
            candidates = list(_candidates(anchor, size))
            costs = [
                order
                + _cost(around(candidate, size), others, obstacles, frame)
                + MISTAKEN * any(overlap(around(candidate, size), each) for each in foreign)
                for order, candidate in enumerate(candidates)
            ]
            chosen[index] = candidates[costs.index(min(costs))]
        if chosen == before:
            break
    return [middle for middle in chosen if middle is not None]


def around(middle: Pair, size: Pair) -> Box:
    """The box of a name.

    Args:
        middle: of the name.
        size: of the name.
    """
    (x, y), (width, height) = middle, size
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share.

    Args:
        one: of them.
        other: of them.
    """
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0


def _candidates(anchor: Pair, size: Pair) -> Iterator[Pair]:
    for distance in DISTANCES:
        for degrees in DIRECTIONS:
            x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            # To the edge of the name in this direction, so that a wide name beside a point is no further off.
            yield anchor[0] + round(x, 9) * (distance + size[0] / 2), anchor[1] + round(y, 9) * (distance + size[1] / 2)


def _cost(box: Box, names: Sequence[Box], points: Sequence[Box], frame: Box) -> float:
    """In steps of preference: a place that covers something is worse than the last one that covers nothing."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    outside = area - overlap(box, frame)
    covered = 3 * sum(overlap(box, other) for other in names) + sum(overlap(box, other) for other in points)
    return 100 * (covered > 0) + covered + (1000 + 10 * outside if outside > 0.01 * area else 0)
