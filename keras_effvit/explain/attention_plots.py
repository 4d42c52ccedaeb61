"""Pictures of attention: where a pixel looks, which windows see which, what every token gathers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from keras_effvit.explain.attention_maps import ALL, AttentionMap
from keras_effvit.explain.places import merge
from keras_effvit.explain.plots import Panel, Row, figure_of, overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Places in an image that are asked where they look, unless others are given: (y, x) as shares of its sides.
PLACES = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.7))
#: Pictures beside each other where there is one for every head or token.
MANY = 8
#: Pixels of a map on either side of the place that is asked, where only its neighbours are looked at.
NEAR = 4


def draw_attention(
    maps: AttentionMap | Iterable[AttentionMap], *, places: Sequence[tuple[float, float]] = PLACES
) -> "Figure":
    """What attention looked at, a row for every map.

    A picture is as light as it was looked at, over its own most: what that is stands above it. Crosses mark the place
    that looks, boxes its window.

    Args:
        maps: of `attention`.
        places: what to ask where it looks, (y, x) in the image as shares of its sides.

    Raises:
        ValueError: if there is nothing to draw, or a place lies outside the image.

    Example:
        >>> draw_attention(attention(model, image, "stage3_block1_attn/*").values(), places=[(0.5, 0.5)])
    """
    maps = [maps] if isinstance(maps, AttentionMap) else list(maps)
    if not maps:
        raise ValueError("Expected maps of attention. Received: none")
    if any(not (0 <= y < 1 and 0 <= x < 1) for y, x in places):
        raise ValueError(f"`places` must be shares of height and width, in [0, 1). Received: places={places}")
    return figure_of([_row(each, places) for each in maps])


def last_of_every_kind(maps: dict[str, AttentionMap]) -> list[AttentionMap]:
    """One map of every kind, from the last layer where it has more than a few places to look at.

    Args:
        maps: of `attention`.
    """
    chosen: dict[str, AttentionMap] = {}
    for each in maps.values():
        enough = each.map[0] * each.map[1] >= 9 and each.grid[0] * each.grid[1] >= 4
        if enough or each.kind not in chosen:
            chosen[each.kind] = each
    return list(chosen.values())


def _row(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Row:
    draw = _DRAWN.get("global" if of.axes == ALL else of.kind, _looks)
    panels = tuple(draw(of, places))
    many = of.kind in ("aggregation", "broadcast", "class")
    return Row(f"{of.layer}: {_sentence(of)}", panels, MANY if many else max(len(places) + 2, 4))


def _sentence(of: AttentionMap) -> str:
    height, width = of.map
    rows, columns = of.grid
    kind = of.kind.partition("_")[0]
    second = " at its second scale" if "_" in of.kind else ""
    return {
        "window": f"pixels of a {height} x {width} map inside {rows} x {columns} windows",
        "pointwise": f"{rows} x {columns} windows over each other",
        "global": f"all pixels of a {height} x {width} map over each other",
        "linear": f"implicit linear attention{second}, {height} x {width} pixels",
        "softmax": f"softmax attention{second}, {height} x {width} pixels",
        "aggregation": f"what every token gathers from {height} x {width} pixels",
        "broadcast": f"what {height} x {width} pixels take from every token",
        "convolution": f"3 x 3 windows around every second of {height} x {width} pixels",
        "atrous": f"{height} x {width} pixels over {rows} x {columns}",
        "class": f"what the class token takes from {height} x {width} pixels, by head",
    }[kind]


def _image(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Panel:
    height, width = of.pixels.shape[:2]
    return Panel(of.pixels / 255, "image", tuple((y * height, x * width) for y, x in places))


def _looks(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Iterable[Panel]:
    """The image, what is seen from every place, and what is seen from anywhere."""
    yield _image(of, places)
    height, width = of.map
    for y, x in places:
        row, column = int(y * height), int(x * width)
        mark = _middle(of, of.map, row, column)
        boxes = (_box(of, row // of.side, column // of.side),) if of.kind == "window" and of.side else ()
        yield _heated(of, of.seen_by(row, column), marks=(mark,), boxes=boxes)
    if of.kind == "window" and of.tokens:
        tokens = of.weights[:, :, 0, 1:].mean(axis=1)
        # A window beside another one has a token of its own: each is as light as it can be.
        yield _heated(of, merge(tokens / tokens.max(axis=1, keepdims=True), of.map, of.side or 1), "window tokens")
    else:
        yield _heated(of, _received(of), "from anywhere, {}")


def _windows(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Iterable[Panel]:
    """The image, what the windows of places see, and the matrix of all windows."""
    yield _image(of, places)
    for y, x in places:
        side = of.side or 1
        row, column = int(y * of.map[0]) // side, int(x * of.map[1]) // side
        seen = np.repeat(np.repeat(of.seen_by(row, column), side, 0), side, 1)[: of.map[0], : of.map[1]]
        yield _heated(of, seen, boxes=(_box(of, row, column),))
    matrix = of.weights.mean(axis=0)
    yield Panel(matrix, f"rows over columns, {_most(matrix)}")


def _neighbours(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Iterable[Panel]:
    """The image, the surroundings of places, and how the nine pixels of a window look at each other on average."""
    yield _image(of, places)
    height, width = of.map
    for y, x in places:
        row, column = int(y * height), int(x * width)
        heated = _heated(of, of.seen_by(row, column))
        middle_y, middle_x = _middle(of, of.map, row, column)
        up, across = (
            round((NEAR + 0.5) * length / size) for length, size in zip(of.pixels.shape, of.map, strict=False)
        )
        top, left = max(round(middle_y) - up, 0), max(round(middle_x) - across, 0)
        cut = heated.content[top : round(middle_y) + up, left : round(middle_x) + across]
        yield replace(heated, content=cut, marks=((middle_y - top, middle_x - left),))
    matrix = of.weights.mean(axis=(0, 1, 2))
    yield Panel(matrix, f"9 over 9, {_most(matrix)}")


def _tokens(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Iterable[Panel]:
    by_token = of.weights.mean(axis=0) if of.kind == "aggregation" else np.moveaxis(of.weights.mean(axis=0), -1, 0)
    for number, seen in enumerate(by_token, start=1):
        yield _heated(of, seen, f"token {number}\n{{}}")


def _heads(of: AttentionMap, places: Sequence[tuple[float, float]]) -> Iterable[Panel]:
    for number, head in enumerate(of.weights, start=1):
        yield _heated(of, head[of.tokens :].reshape(of.map), f"head {number}\n{{}}")


def _received(of: AttentionMap) -> np.ndarray:
    """How much of a map's pixels is taken on average."""
    if of.kind == "window":
        side = of.side or 1
        return merge(of.weights.mean(axis=(1, 2)), of.map, side)
    return of.weights.mean(axis=(0, 1)).reshape(of.grid)


def _heated(of: AttentionMap, seen: np.ndarray, caption: str = "{}", **drawn) -> Panel:
    """Numbers of places over the image, every place a block; the most goes into the caption."""
    height, width = of.pixels.shape[:2]
    rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), seen.shape, strict=True))
    most = float(seen.max())
    heat = (seen / most if most > 0 else seen)[np.ix_(rows, columns)]
    return Panel(overlay(of.pixels, heat), caption.format(_most(seen)), **drawn)


def _most(seen: np.ndarray) -> str:
    most = float(seen.max())
    return f"max {most:.1%}" if most < 0.095 else f"max {most:.0%}"


def _middle(of: AttentionMap, grid: tuple[int, int], row: int, column: int) -> tuple[float, float]:
    height, width = of.pixels.shape[:2]
    return (row + 0.5) * height / grid[0], (column + 0.5) * width / grid[1]


def _box(of: AttentionMap, row: int, column: int) -> tuple[float, float, float, float]:
    """A window's outline in pixels of the image, as far as it is inside."""
    side = of.side or 1
    up, across = (length / size for length, size in zip(of.pixels.shape, of.map, strict=False))
    high, wide = (min(side, size - side * n) for size, n in zip(of.map, (row, column), strict=True))
    return side * row * up, side * column * across, high * up, wide * across


_DRAWN: dict[str, Callable[[AttentionMap, Sequence[tuple[float, float]]], Iterable[Panel]]] = {
    "pointwise": _windows,
    "convolution": _neighbours,
    "aggregation": _tokens,
    "broadcast": _tokens,
    "class": _heads,
}
