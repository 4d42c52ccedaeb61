"""Where in a map, or in an image, the numbers of an attention belong."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from keras_effvit.explain.attention_maps import AttentionMap


def in_map(weights: np.ndarray, size: tuple[int, int], side: int | None, *, padded: bool) -> np.ndarray:
    """Lays out LightViT's pixels, which come window by window where that saves the layer work.

    Args:
        weights: (heads, tokens, pixels).
        size: height and width of the map.
        side: of a window; `None` where the layer has none.
        padded: whether pixels that fill up the windows beyond the map are among them.

    Returns:
        (heads, tokens, height, width).
    """
    height, width = size
    whole = side is not None and height % side == 0 and width % side == 0
    if side is None or not (padded or whole):
        return weights.reshape(*weights.shape[:2], height, width)
    return merge(weights.reshape(*weights.shape[:2], -1, side**2), size, side)


def merge(windows: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Puts windows side by side, and cuts off what is not in the map: (..., windows, pixels) -> (..., height, width).

    Args:
        windows: of all rows of windows, row by row.
        size: height and width of the map.
        side: of a window.
    """
    height, width = size
    rows, columns = -(-height // side), -(-width // side)
    tiles = windows.reshape(*windows.shape[:-2], rows, columns, side, side)
    joined = np.swapaxes(tiles, -3, -2).reshape(*windows.shape[:-2], rows * side, columns * side)
    return joined[..., :height, :width]


def _in_window(of: "AttentionMap", weights: np.ndarray, row: int, column: int) -> np.ndarray:
    side = of.side or 1
    number = row // side * of.grid[1] + column // side
    query = of.tokens + row % side * side + column % side
    found = np.zeros((of.grid[0] * of.grid[1], side**2), np.float32)
    found[number] = weights[number, :, query, of.tokens :].mean(axis=0)
    return merge(found, of.map, side)


def _on_grid(of: "AttentionMap", weights: np.ndarray, row: int, column: int) -> np.ndarray:
    columns = of.grid[1] if of.kind == "pointwise" else of.map[1]
    return weights[:, row * columns + column].mean(axis=0).reshape(of.grid)


def _in_convolution(of: "AttentionMap", weights: np.ndarray, row: int, column: int) -> np.ndarray:
    """A pixel is in one, two or four windows, whose results are added up; here their mean is taken."""
    height, width = of.map
    found, windows = np.zeros((height + 3, width + 3), np.float32), 0
    for a in range(row // 2, min((row + 1) // 2, of.grid[0] - 1) + 1):
        for e in range(column // 2, min((column + 1) // 2, of.grid[1] - 1) + 1):
            query = 3 * (row - 2 * a + 1) + column - 2 * e + 1
            found[2 * a : 2 * a + 3, 2 * e : 2 * e + 3] += weights[a, e, :, query].mean(axis=0).reshape(3, 3)
            windows += 1
    return found[1 : height + 1, 1 : width + 1] / windows


#: What a place looked at, by kind.
SEEN: dict[str, Callable[["AttentionMap", np.ndarray, int, int], np.ndarray]] = {
    "window": _in_window,
    "pointwise": _on_grid,
    "global": _on_grid,
    "atrous": _on_grid,
    "convolution": _in_convolution,
}
