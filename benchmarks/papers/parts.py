"""Closed forms: parameters and multiply-accumulates of the parts that networks are made of.

For what is no model of the zoo: other papers' blocks, and heads of dense models. Normalisations, activations, pooling
and resizing cost no MACs, here as in the papers.
"""

from benchmarks.papers.rows import Counts


def linear(positions: int, inputs: int, outputs: int, *, bias: bool = True) -> Counts:
    """A linear layer at every position."""
    return Counts(inputs * outputs + bias * outputs, positions * inputs * outputs)


def norm(channels: int) -> Counts:
    """Scale and shift of a normalisation, whichever."""
    return Counts(2 * channels, 0)


def conv(positions: int, kernel: int, inputs: int, outputs: int, *, bias: bool = True, normed: bool = False) -> Counts:
    """A square convolution that gives so many positions; a normalised one has no bias."""
    convolution = linear(positions, kernel * kernel * inputs, outputs, bias=bias and not normed)
    return convolution + norm(outputs) if normed else convolution


def depthwise(positions: int, kernel: int, channels: int, *, bias: bool = True, normed: bool = False) -> Counts:
    """A square depthwise convolution that gives so many positions; a normalised one has no bias."""
    taps = kernel * kernel
    convolution = Counts(taps * channels + (bias and not normed) * channels, positions * taps * channels)
    return convolution + norm(channels) if normed else convolution


def products(queries: int, keys: int, channels: int) -> Counts:
    """Both products of attention: queries with keys, and the weights with values; heads do not matter."""
    return Counts(0, 2 * queries * keys * channels)


def mlp(positions: int, channels: int, ratio: int) -> Counts:
    """Two linear layers around an activation."""
    return linear(positions, channels, ratio * channels) + linear(positions, ratio * channels, channels)


def mbconv(positions: int, channels: int, *, kernel: int, expansion: int = 4) -> Counts:
    """A residual inverted bottleneck of one width, with batch normalisation throughout."""
    wide = expansion * channels
    return (
        conv(positions, 1, channels, wide, normed=True)
        + depthwise(positions, kernel, wide, normed=True)
        + conv(positions, 1, wide, channels, normed=True)
    )
