"""LightViT's patch merging against numpy, patch by patch."""

import numpy as np
import pytest

from keras_effvit.layers import ResidualPatchMerging
from tests.numpy_reference import layer_norm, linear, randomise


def merged(pixels, layer):
    """One image: (h, w, c)."""
    height, width, _ = pixels.shape
    padded = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)))
    out = np.zeros((padded.shape[0] // 2, padded.shape[1] // 2, layer.dim))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            a, b = padded[2 * y, 2 * x], padded[2 * y + 1, 2 * x]
            c, d = padded[2 * y, 2 * x + 1], padded[2 * y + 1, 2 * x + 1]
            out[y, x] = linear(layer_norm(np.concatenate([a, b, c, d]), layer.norm), layer.reduction)
            if layer.shortcut:
                out[y, x] += linear(np.max([a, b, c, d], axis=0), layer.shortcut_proj)
    return out


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("size", [(4, 4), (2, 6), (5, 4), (4, 7), (3, 5), (1, 1)])
def test_patch_merging(size, count, shortcut):
    rng = np.random.default_rng(0)
    layer = ResidualPatchMerging(6, shortcut=shortcut)
    # Below zero, so that the maximum over a padded patch is the padding.
    pixels = rng.standard_normal((2, *size, 4)).astype("float32") - 1
    tokens = rng.standard_normal((2, count, 4)).astype("float32")
    inputs = (pixels, tokens) if count else (pixels,)
    randomise(layer, *inputs)
    result = layer(*inputs)
    x, t = result if count else (result, None)
    np.testing.assert_allclose(x, [merged(image, layer) for image in pixels], atol=2e-5)
    if t is not None:
        np.testing.assert_allclose(t, linear(layer_norm(tokens, layer.token_norm), layer.token_proj), atol=2e-5)
