"""LightViT's residual patch merging: half the sides, more channels, and a cheap way around the normalisation.

Legend: `b` batch, `h w` map, `t` tokens, `c` channels. Paper: LightViT section 3.
"""

from keras import ops

from keras_effvit.layers.mlp import linear
from keras_effvit.layers.norm import LayerNorm
from keras_effvit.layers.registration import Composite, serializable
from keras_effvit.layers.windows import pad_to_windows


def gather_patches(x):
    """(b, h, w, c) -> (b, h / 2, w / 2, 4 c): the pixels of each 2x2 patch, column by column.

    SPACE_TO_DEPTH goes row by row; one transpose of rank 4 gives the order that the official weights expect.

    Args:
        x: a map of even sides.
    """
    _, height, width, channels = ops.shape(x)
    rows_last = ops.transpose(ops.reshape(x, (-1, 2, width, channels)), (0, 2, 1, 3))
    return ops.reshape(rows_last, (-1, height // 2, width // 2, 4 * channels))


@serializable
class ResidualPatchMerging(Composite):
    """A linear layer over each normalised 2x2 patch plus one over its maximum; tokens change their channels likewise.

    Odd sides get a row or column of zeros first.

    Args:
        dim: output channels.
        shortcut: add the patches' maxima, projected.

    Call arguments:
        pixels: (b, h, w, c).
        tokens: (b, t, c), or `None`.

    Returns:
        `pixels`, or `(pixels, tokens)` where there are tokens.

    Example:
        >>> pixels, tokens = ResidualPatchMerging(128)(keras.ops.ones((1, 28, 27, 64)), keras.ops.ones((1, 8, 64)))
        >>> pixels.shape, tokens.shape
        ((1, 14, 14, 128), (1, 8, 128))
    """

    def __init__(self, dim: int, *, shortcut: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.shortcut = shortcut

    def build(self, pixels_shape, tokens_shape=None):
        channels = pixels_shape[-1]
        patches = (None, None, None, 4 * channels)
        self.norm = LayerNorm(name="norm")
        self.norm.build(patches)
        self.reduction = linear(self.dim, "reduction", use_bias=False)
        self.reduction.build(patches)
        if self.shortcut:
            self.shortcut_proj = linear(self.dim, "shortcut_proj", use_bias=False)
            self.shortcut_proj.build(pixels_shape)
        if tokens_shape is not None:
            self.token_norm = LayerNorm(name="token_norm")
            self.token_norm.build(tokens_shape)
            self.token_proj = linear(self.dim, "token_proj", use_bias=False)
            self.token_proj.build(tokens_shape)

    def call(self, pixels, tokens=None):
        x = pad_to_windows(pixels, 2)
        merged = self.reduction(self.norm(gather_patches(x)))
        if self.shortcut:
            merged = merged + self.shortcut_proj(ops.max_pool(x, 2, 2, data_format="channels_last"))
        return merged if tokens is None else (merged, self.token_proj(self.token_norm(tokens)))

    def compute_output_shape(self, pixels_shape, tokens_shape=None):
        batch, height, width, _ = pixels_shape
        height, width = (None if side is None else -(-side // 2) for side in (height, width))
        merged = (batch, height, width, self.dim)
        return merged if tokens_shape is None else (merged, (*tokens_shape[:-1], self.dim))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "shortcut": self.shortcut}
