"""An image to try things on, drawn here: no file, no download, no licence."""

import numpy as np


def sample_image(height: int = 224, width: int = 224) -> np.ndarray:
    """Draws a landscape: sky, sun, two ridges and a lake.

    Args:
        height: in pixels.
        width: in pixels.

    Returns:
        RGB pixels, (height, width, 3), uint8, the same at every call.

    Example:
        >>> sample_image(64, 96).shape
        (64, 96, 3)
    """
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    image = _blend((96, 148, 214), (236, 208, 178), y)  # sky, from the zenith down to the horizon
    sun = np.clip(1 - np.hypot(x - 0.7, y - 0.28) / 0.09, 0, 1)
    image = image + (np.array((255, 236, 170)) - image) * np.minimum(1, 3 * sun)[..., None]
    far = 0.52 - 0.10 * np.abs(np.sin(7 * x + 0.4)) - 0.02 * np.sin(41 * x)
    near = 0.64 - 0.12 * np.sin(3.5 * x + 1.2) ** 2 - 0.015 * np.sin(67 * x)
    image = np.where((y > far)[..., None], _blend((104, 116, 150), (132, 140, 160), y), image)
    image = np.where((y > near)[..., None], _blend((44, 84, 58), (70, 104, 62), y), image)
    ripples = 12 * np.sin(160 * y + 6 * np.sin(18 * x))[..., None]
    image = np.where((y > 0.78)[..., None], _blend((72, 120, 168), (38, 70, 120), y) + ripples, image)
    return np.clip(image, 0, 255).astype(np.uint8)


def _blend(top: tuple[int, int, int], bottom: tuple[int, int, int], where: np.ndarray) -> np.ndarray:
    return np.array(top) + (np.array(bottom) - np.array(top)) * where[..., None]
