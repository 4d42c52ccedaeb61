"""The tables of SepViT (Li et al. 2022, arXiv 2203.15380)."""

from collections.abc import Callable

from benchmarks.papers import heads
from benchmarks.papers.blocks import swin_pair, twins_pair
from benchmarks.papers.counting import backbone, block, classifier, plus
from benchmarks.papers.rows import Counts, Printed, Row, Table

#: The first stage of SepViT-T, which is what the first table is about.
SIDE, CHANNELS, HEADS = 56, 96, 3
TITLES = {
    "sepvit_lite": "SepViT-Lite",
    "sepvit_tiny": "SepViT-T",
    "sepvit_small": "SepViT-S",
    "sepvit_base": "SepViT-B",
}
#: Final normalisation and classifier, which the authors' dense backbones hold and never run.
UNUSED = {"sepvit_tiny": 770_536, "sepvit_small": 770_536, "sepvit_base": 1_027_048}
ADE20K = 150
SEGMENTATION, DETECTION = (512, 2048), (800, 1280)


def _attention():
    from keras_effvit.layers import SeparableSelfAttention

    return SeparableSelfAttention(HEADS, 7)


def _norm():
    from keras_effvit.layers.norm import BLOCK_EPSILON, LayerNorm

    return LayerNorm(BLOCK_EPSILON)


def _mlp():
    from keras_effvit.layers import Mlp

    return Mlp(4)


BLOCKS = Table(
    paper="sepvit",
    number="1",
    title="one SepViT block beside pairs of blocks, at 56 x 56 x 96",
    rows=(
        Row(
            label="SepViT block", count=block((SIDE, SIDE, CHANNELS), _attention, _norm, _mlp),
            printed=Printed(macs="0.40"), known=(136_800, 400_146_432),
        ),
        Row(
            label="Swin pair", count=lambda: swin_pair(SIDE, CHANNELS, HEADS),
            printed=Printed(macs="0.77"), known=(None, 752_640_000),
            note="In closed form. Two blocks of window attention and MLP are 0.75 G; what the paper adds is not known.",
        ),
        Row(
            label="Twins pair", count=lambda: twins_pair(SIDE, CHANNELS, 8),
            note="In closed form, keys reduced 8 times, as Twins-SVT does in its first stage.",
        ),
    ),
    unknown="The figure that the paper prints for Twins.",
)  # fmt: skip


def _classifier(name: str, printed: Printed, known: tuple[int, int], note: str = "") -> Row:
    return Row(label=TITLES[name], count=classifier(name), printed=printed, known=known, note=note)


LITE = _classifier("sepvit_lite", Printed("3.7", "0.6", "72.3"), (3_661_128, 568_414_464))
TINY = _classifier("sepvit_tiny", Printed("31.2", "4.5", "82.7"), (31_182_856, 4_518_998_784))
CLASSIFICATION = Table(
    paper="sepvit",
    number="",
    title="classification on ImageNet, 224 x 224",
    rows=(
        TINY,
        _classifier("sepvit_small", Printed("46.6", "7.5", "83.6"), (46_570_504, 7_455_290_112)),
        _classifier(
            "sepvit_base", Printed("82.3", "13.1", "84.2"), (82_377_064, 13_054_592_000),
            "The authors' own code has 82.377 M: the paper cuts off instead of rounding.",
        ),
    ),
)  # fmt: skip


def _tiny(label: str, params: str, macs: str, known: tuple[int, int], note: str = "", **options) -> Row:
    count = classifier("sepvit_tiny", **options)
    return Row(label=label, count=count, printed=Printed(params, macs), known=known, note=note)


PATTERNS = Table(
    paper="sepvit",
    number="6",
    title="which blocks look how far, SepViT-T (D inside windows, G inside groups of them)",
    rows=(
        _tiny("(D, D, D, D)", "32.1", "4.4", (32_079_112, 4_423_110_912), blocks=("D", "D", "D", "D")),
        _tiny("(D, D, D&G, D)", "31.2", "4.5", (31_185_160, 4_478_812_416), blocks=("D", "D", "D&G", "D")),
        _tiny("(D, D&G, D&G, D)", "31.2", "4.5", (31_182_856, 4_518_998_784)),
        _tiny("(D, G&D, G&D, D)", "31.2", "4.5", (31_182_856, 4_518_998_784), blocks=("D", "G&D", "G&D", "D")),
    ),
    unknown="The accuracies.",
)

NO_CODE = "The authors published no code of it; this reading meets the figures."
TOKENS = Table(
    paper="sepvit",
    number="7",
    title="what stands for a window, SepViT-T",
    rows=(
        _tiny("fixed zero", "31.2", "4.5", (31_168_264, 4_518_998_784), window_token="zero"),
        _tiny("average pooling", "31.2", "4.5", (31_168_264, 4_506_368_256), NO_CODE, window_token="avg_pool"),
        _tiny(
            "depthwise convolution", "31.3", "4.5", (31_278_088, 4_507_196_160), NO_CODE, window_token="depthwise_conv"
        ),
        _tiny("learnable token", "31.2", "4.5", (31_182_856, 4_518_998_784)),
    ),
    unknown="The accuracies.",
)


def attention_products(name: str, height: int, width: int) -> int:
    """MACs of the products of activations in a dense backbone, which OpenMMLab's counter leaves out.

    Every window attends inside itself with its token, and then, where there are several, windows to windows.

    Args:
        name: of the model.
        height: of the image.
        width: of the image.
    """
    from keras_effvit.models.sepvit import SEPVIT, SPANS, WINDOW

    spec = next(row for row in SEPVIT.values() if row.id == name)
    total = 0
    sizes = heads.pyramid_sizes(height, width)
    for depth, kinds, c, (rows, columns) in zip(spec.depths, spec.blocks, spec.channels, sizes, strict=True):
        pattern = kinds.split("&")
        for number in range(depth):
            side = WINDOW * SPANS[pattern[number % len(pattern)]]
            windows, p = -(-rows // side) * -(-columns // side), side * side
            inside = 2 * windows * (1 + p) ** 2 * c
            between = windows**2 * (1 + p) * c if windows > 1 else 0
            total += inside + between
    return total


def _dense(
    name: str,
    size: tuple[int, int],
    head: Counts,
    printed: tuple[str, str],
    known: tuple[int, int, int],
    note: str = "",
) -> Row:
    """A row of a dense table; `known` are all parameters, and the MACs of weights and of products of activations."""

    def as_openmmlab(counts: Counts) -> Counts:
        return Counts(counts.params + UNUSED[name], counts.macs - attention_products(name, *size))

    params, weights, products = known
    return Row(
        label=TITLES[name],
        count=plus(backbone(name, size, dense=True), head),
        printed=Printed(*printed),
        known=(params - UNUSED[name], weights + products),
        as_paper=as_openmmlab,
        note=note,
    )


def _channels(name: str) -> tuple[int, ...]:
    return (128, 256, 512, 1024) if name == "sepvit_base" else (96, 192, 384, 768)


def _semantic_fpn(name: str) -> Counts:
    sizes = heads.pyramid_sizes(*SEGMENTATION)
    return heads.fpn(sizes, _channels(name)) + heads.semantic_fpn(sizes, ADE20K)


def _upernet(name: str) -> Counts:
    sizes, channels = heads.pyramid_sizes(*SEGMENTATION), _channels(name)
    return heads.upernet(sizes, channels, ADE20K) + heads.auxiliary(channels[2], ADE20K)


def _retinanet(name: str) -> Counts:
    sizes, channels = heads.pyramid_sizes(*DETECTION)[1:], _channels(name)[1:]
    coarser = heads.pyramid_sizes(*sizes[-1], strides=(2, 4))
    neck = heads.fpn(sizes, channels) + heads.extra_levels(sizes[-1], channels[-1])
    return neck + heads.retinanet([*sizes, *coarser])


def _mask_rcnn(name: str) -> Counts:
    sizes = heads.pyramid_sizes(*DETECTION, strides=(4, 8, 16, 32, 64))
    return heads.fpn(sizes[:4], _channels(name)) + heads.two_stages(sizes)


DENSE_CONVENTION = (
    "OpenMMLab's counter sees convolutions and linear layers, not the products of attention; "
    "and the parameters include the normalisation and classifier of ImageNet, which nothing uses"
)
Known = tuple[int, int, int]


def _dense_table(
    title: str,
    size: tuple[int, int],
    head: Callable[[str], Counts],
    rows: dict[str, tuple[tuple[str, str], Known, str]],
) -> Table:
    return Table(
        paper="sepvit",
        number="",
        title=title,
        rows=tuple(_dense(name, size, head(name), *row) for name, row in rows.items()),
        convention=DENSE_CONVENTION,
        unknown="The accuracies.",
    )


DENSE = (
    _dense_table("Semantic FPN on ADE20K, 512 x 2048", SEGMENTATION, _semantic_fpn, {
        "sepvit_tiny": (("38.8", "181"), (38_799_070, 95_906_168_832 + 85_550_247_936, 17_843_534_400), ""),
        "sepvit_small": (("55.4", "244"), (55_366_366, 95_906_168_832 + 148_046_819_328, 23_115_224_640), ""),
        "sepvit_base": (("94.7", "367"), (94_736_126, 103_598_260_224 + 263_194_345_472, 30_820_299_520), ""),
    }),
    _dense_table("UperNet on ADE20K, 512 x 2048", SEGMENTATION, _upernet, {
        "sepvit_tiny": (("66.8", "940"), (66_847_092, 854_574_759_936 + 85_550_247_936, 17_843_534_400), ""),
        "sepvit_small": (("83.4", "1003"), (83_414_388, 854_574_759_936 + 148_046_819_328, 23_115_224_640), ""),
        "sepvit_base": (("124.8", "1128"), (124_774_804, 864_353_779_712 + 263_194_345_472, 30_820_299_520), ""),
    }),
    _dense_table("RetinaNet on COCO, 800 x 1280", DETECTION, _retinanet, {
        "sepvit_tiny": (
            ("45.4", "243"), (45_364_028, 161_034_055_680 + 81_347_198_976, 16_024_330_368),
            "With biases, normalisations and activations, which the authors' counter counts too, it would be 242.66 G.",
        ),
        "sepvit_small": (("61.9", "302"), (61_931_324, 161_034_055_680 + 140_815_613_952, 20_505_002_112), ""),
    }),
    _dense_table("Mask R-CNN on COCO, 800 x 1280, 1000 boxes and 100 masks", DETECTION, _mask_rcnn, {
        "sepvit_tiny": (("54.7", "261"), (54_699_832, 165_655_280_640 + 95_651_454_976, 16_024_330_368), ""),
        "sepvit_small": (("71.3", "321"), (71_267_128, 165_655_280_640 + 155_119_869_952, 20_505_002_112), ""),
    }),
)  # fmt: skip

TABLES = (
    BLOCKS,
    Table(paper="sepvit", number="2", title="widths and depths of the variants", unknown="Whether it prints counts."),
    Table(
        paper="sepvit", number="3-5", title="which these are",
        unknown="Their numbers. Classification, segmentation and detection stand below.",
    ),
    CLASSIFICATION,
    *DENSE,
    PATTERNS,
    TOKENS,
    Table(
        paper="sepvit", number="8-9", title="the lite variant", rows=(LITE,),
        unknown="All of both tables but SepViT-Lite's own figures, and which of the two prints which.",
    ),
)  # fmt: skip
