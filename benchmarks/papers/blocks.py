"""Blocks of other papers that SepViT's first table puts beside its own, and VOLO, in closed form.

Legend: `n = side * side` pixels of a map, `c` channels.
"""

from benchmarks.papers.parts import conv, depthwise, linear, mlp, norm, products
from benchmarks.papers.rows import Counts

WINDOW = 7


def window_attention(n: int, c: int, heads: int | None = None) -> Counts:
    """Attention inside windows of 7 x 7; with a table of relative positions where `heads` is given."""
    table = Counts(0 if heads is None else (2 * WINDOW - 1) ** 2 * heads, 0)
    return linear(n, c, 3 * c) + table + products(n, WINDOW**2, c) + linear(n, c, c)


def subsampled_attention(n: int, c: int, reduction: int) -> Counts:
    """Attention to a map that a strided convolution has made smaller, normalised."""
    m = n // reduction**2
    fewer = conv(m, reduction, c, c) + norm(c)
    return linear(n, c, c) + fewer + linear(m, c, 2 * c) + products(n, m, c) + linear(n, c, c)


def _block(attention: Counts, n: int, c: int, ratio: int) -> Counts:
    return norm(c) + attention + norm(c) + mlp(n, c, ratio)


def swin_pair(side: int, c: int, heads: int) -> Counts:
    """Two blocks of Swin: inside windows, then inside shifted windows, which costs the same."""
    return _block(window_attention(side**2, c, heads), side**2, c, 4) * 2


def twins_pair(side: int, c: int, reduction: int) -> Counts:
    """Two blocks of Twins-SVT: inside windows, then from all pixels to one pixel of every `reduction` squared."""
    n = side**2
    return _block(window_attention(n, c), n, c, 4) + _block(subsampled_attention(n, c, reduction), n, c, 4)


# VOLO-D0: a stem of four convolutions, two blocks at stride 8 whose attention is a convolution made of the input, and
# six transformer blocks at stride 16.

STEM, FINE, COARSE = 64, 96, 192
FINE_HEADS, RATIO, CLASSES = 6, 3, 1000
POSITIONS = 9


def outlook_attention(n: int, c: int, heads: int) -> Counts:
    """VOLO's: logits from means of 2 x 2 pixels, one value for every pixel of the map."""
    windows = n // 4
    logits = linear(windows, c, heads * POSITIONS**2)
    mixing = Counts(0, windows * POSITIONS**2 * c)
    return linear(n, c, c, bias=False) + logits + mixing + linear(n, c, c)


def csa(n: int, c: int, heads: int) -> Counts:
    """LVT's convolutional self-attention: as VOLO's, but a value for every position of every window."""
    windows = n // 4
    logits = linear(windows, c, heads * POSITIONS**2)
    values = linear(windows, c, c, bias=False) * POSITIONS
    mixing = Counts(0, windows * POSITIONS**2 * c)
    return logits + values + mixing + linear(n, c, c)


def self_attention(n: int, c: int) -> Counts:
    """Attention of all positions to all, without biases before it."""
    return linear(n, c, 3 * c, bias=False) + products(n, n, c) + linear(n, c, c)


def rasa(n: int, c: int, recursion: int = 2, branches: int = 3) -> Counts:
    """LVT's recursive atrous self-attention without reduction: one set of weights, run `recursion` times."""
    atrous = depthwise(n, 3, c, bias=False)
    once = self_attention(n, c) + Counts(atrous.params, branches * atrous.macs)
    return Counts(once.params, recursion * once.macs)


def volo_encoder(height: int, width: int, *, with_csa: bool = False, with_rasa: bool = False) -> Counts:
    """VOLO-D0 without position embedding and head, of an image of this size."""
    half, fine, coarse = ((height // stride) * (width // stride) for stride in (2, 8, 16))
    stem = conv(half, 7, 3, STEM, normed=True) + conv(half, 3, STEM, STEM, normed=True) * 2
    attention = (csa if with_csa else outlook_attention)(fine, FINE, FINE_HEADS)
    globally = (rasa if with_rasa else self_attention)(coarse, COARSE)
    return (
        stem
        + conv(fine, 4, STEM, FINE)
        + _block(attention, fine, FINE, RATIO) * 2
        + conv(coarse, 2, FINE, COARSE)
        + _block(globally, coarse, COARSE, RATIO) * 6
    )


def class_block(n: int, c: int, ratio: int) -> Counts:
    """A class token that attends to itself and `n` others."""
    attention = linear(1, c, c, bias=False) + linear(1 + n, c, 2 * c, bias=False) + products(1, 1 + n, c)
    return _block(attention + linear(1, c, c), 1, c, ratio)


def volo_classifier(side: int = 224, *, with_csa: bool = False, with_rasa: bool = False) -> Counts:
    """VOLO-D0 with its position embedding, two class blocks and a head for the class token and one for the others."""
    n = (side // 16) ** 2
    tokens = Counts(n * COARSE + COARSE, 0)
    heads = linear(1, COARSE, CLASSES) + linear(n, COARSE, CLASSES)
    encoder = volo_encoder(side, side, with_csa=with_csa, with_rasa=with_rasa)
    return encoder + tokens + class_block(n, COARSE, RATIO) * 2 + norm(COARSE) + heads
