"""Necks and heads of the dense models in closed form; the backbones below them are counted as built.

Legend: `sizes` are the maps of a pyramid from fine to coarse, (rows, columns), and `channels` theirs.
A convolution of a detector's box or mask head counts once for every box, and how many boxes there are is the papers'
counter's convention, no property of a network: that is why heads are counted here and not in a graph.
"""

from collections.abc import Sequence

from benchmarks.papers.parts import conv, linear, mbconv
from benchmarks.papers.rows import Counts

Sizes = Sequence[tuple[int, int]]
NOTHING = Counts(0, 0)
#: Boxes and masks of an image that OpenMMLab's counter runs the second stage of a detector on.
BOXES, MASKS = 1000, 100


def pyramid_sizes(height: int, width: int, strides: Sequence[int] = (4, 8, 16, 32)) -> list[tuple[int, int]]:
    """The maps of an image, rounded up."""
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def pixels(size: tuple[int, int]) -> int:
    """Of a map."""
    return size[0] * size[1]


def _sum(parts) -> Counts:
    return sum(parts, start=NOTHING)


def fpn(sizes: Sizes, channels: Sequence[int], width: int = 256) -> Counts:
    """A feature pyramid: a 1 x 1 and a 3 x 3 convolution for every level."""
    return _sum(
        conv(pixels(size), 1, c, width) + conv(pixels(size), 3, width, width)
        for size, c in zip(sizes, channels, strict=True)
    )


def extra_levels(size: tuple[int, int], channels: int, width: int = 256) -> Counts:
    """RetinaNet's two levels beyond a pyramid of which the last map has this size: convolutions of stride 2."""
    (p6, p7) = pyramid_sizes(*size, strides=(2, 4))
    return conv(pixels(p6), 3, channels, width) + conv(pixels(p7), 3, width, width)


def three_stage_fpn(sizes: Sizes, channels: Sequence[int], width: int = 256) -> Counts:
    """LightViT's pyramid: a level of stride 4 comes from a transposed convolution of the finest merged map."""
    fine = pixels(sizes[0])
    doubled = linear(fine, width, 4 * width, bias=False) + Counts(width, 0)
    return fpn(sizes, channels, width) + doubled + conv(4 * fine, 3, width, width)


def semantic_fpn(sizes: Sizes, classes: int, inputs: int = 256, width: int = 128) -> Counts:
    """Chains of 3 x 3 convolutions, each at the size before it doubles the map, and a classifier at stride 4."""
    head = conv(pixels(sizes[0]), 3, inputs, width, normed=True)
    for level in range(1, len(sizes)):
        for step in range(level):
            head += conv(pixels(sizes[level - step]), 3, width if step else inputs, width, normed=True)
    return head + conv(pixels(sizes[0]), 1, width, classes)


def upernet(sizes: Sizes, channels: Sequence[int], classes: int, width: int = 512) -> Counts:
    """Pyramid pooling on the last map, a feature pyramid over the others, and one convolution over all levels."""
    last, finest = pixels(sizes[-1]), pixels(sizes[0])
    pooled = _sum(conv(cells**2, 1, channels[-1], width, normed=True) for cells in (1, 2, 3, 6))
    bottleneck = conv(last, 3, channels[-1] + 4 * width, width, normed=True)
    levels = _sum(
        conv(pixels(size), 1, c, width, normed=True) + conv(pixels(size), 3, width, width, normed=True)
        for size, c in zip(sizes[:-1], channels, strict=False)
    )
    merged = conv(finest, 3, 4 * width, width, normed=True)
    return pooled + bottleneck + levels + merged + conv(finest, 1, width, classes)


def auxiliary(channels: int, classes: int, width: int = 256) -> Counts:
    """UperNet's second head, which only training runs: parameters without MACs."""
    head = conv(1, 3, channels, width, normed=True) + conv(1, 1, width, classes)
    return Counts(head.params, 0)


def segformer(sizes: Sizes, channels: Sequence[int], classes: int, width: int = 256) -> Counts:
    """A linear layer for every level, one over all of them, and a classifier at the finest map's size."""
    finest = pixels(sizes[0])
    levels = _sum(linear(pixels(size), c, width) for size, c in zip(sizes, channels, strict=True))
    return levels + conv(finest, 1, len(sizes) * width, width, normed=True) + conv(finest, 1, width, classes)


def retinanet(sizes: Sizes, classes: int = 80, width: int = 256, anchors: int = 9) -> Counts:
    """Two towers of four convolutions that all levels share, and two predictions."""
    convs = [(width, width)] * 8 + [(width, anchors * classes), (width, anchors * 4)]
    return _shared(sizes, convs)


def rpn(sizes: Sizes, width: int = 256, anchors: int = 3) -> Counts:
    """Proposals: a 3 x 3 convolution that all levels share, and two 1 x 1 predictions."""
    predictions = conv(1, 1, width, anchors) + conv(1, 1, width, 4 * anchors)
    macs = sum(pixels(size) for size in sizes) * predictions.macs
    return _shared(sizes, [(width, width)]) + Counts(predictions.params, macs)


def _shared(sizes: Sizes, convs: Sequence[tuple[int, int]]) -> Counts:
    once = _sum(conv(1, 3, inputs, outputs) for inputs, outputs in convs)
    return Counts(once.params, sum(pixels(size) for size in sizes) * once.macs)


def box_head(width: int = 256, hidden: int = 1024, classes: int = 80, boxes: int = BOXES) -> Counts:
    """Two linear layers over 7 x 7 cells of every box, its class, and a box for every class."""
    layers = linear(1, 49 * width, hidden) + linear(1, hidden, hidden)
    layers += linear(1, hidden, classes + 1) + linear(1, hidden, 4 * classes)
    return Counts(layers.params, boxes * layers.macs)


def mask_head(width: int = 256, classes: int = 80, masks: int = MASKS) -> Counts:
    """Four convolutions over 14 x 14 cells of every box, doubled, and a mask for every class."""
    cells = 14 * 14
    doubled = linear(cells, width, 4 * width, bias=False) + Counts(width, 0)
    layers = conv(cells, 3, width, width) * 4 + doubled + conv(4 * cells, 1, width, classes)
    return Counts(layers.params, masks * layers.macs)


def two_stages(sizes: Sizes, width: int = 256, hidden: int = 1024) -> Counts:
    """Everything of Mask R-CNN behind its pyramid of five levels."""
    return rpn(sizes, width) + box_head(width, hidden) + mask_head(width)


def panoptic_semantic(sizes: Sizes, classes: int, inputs: int = 96, width: int = 48) -> Counts:
    """As Semantic FPN's, on the pyramid's first four levels."""
    return semantic_fpn(sizes, classes, inputs, width)


def efficientvit_seg(height: int, width: int, channels: tuple[int, int], classes: int = 19, head: int = 64) -> Counts:
    """The first version's head: strides 8 and 32 at the same width, two MBConvs, a classifier."""
    fine, coarse = (pixels(size) for size in pyramid_sizes(height, width, (8, 32)))
    merged = conv(fine, 1, channels[0], head, normed=True) + conv(coarse, 1, channels[1], head, normed=True)
    return merged + mbconv(fine, head, kernel=5) * 2 + conv(fine, 1, head, classes)


def yolox(sizes: Sizes, channels: Sequence[int], classes: int = 80) -> Counts:
    """EfficientViT-Det's: on every level its own convolution, and two branches of two MBConvs."""
    return _sum(
        conv(n, 1, c, c, normed=True) + mbconv(n, c, kernel=5) * 4 + conv(n, 1, c, classes) + conv(n, 1, c, 5)
        for n, c in ((pixels(size), c) for size, c in zip(sizes, channels, strict=True))
    )


def released_seg(sizes: Sizes, channels: Sequence[int], head: int, depth: int, classes: int, expand: int) -> Counts:
    """The released segmenters': three levels at stride 8, MBConvs, a classifier, after a wider map with `expand`."""
    finest = pixels(sizes[0])
    merged = _sum(conv(pixels(size), 1, c, head, normed=True) for size, c in zip(sizes, channels, strict=True))
    wide = expand * head
    widened = conv(finest, 1, head, wide, normed=True) if expand else NOTHING
    middle = mbconv(finest, head, kernel=3) * depth
    return merged + middle + widened + conv(finest, 1, wide or head, classes)
