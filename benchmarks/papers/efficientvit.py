"""The tables of EfficientViT (Cai et al. 2022, arXiv 2205.14756v1), and the figures of the family released later."""

from benchmarks.papers import heads
from benchmarks.papers.counting import backbone, classifier, plus
from benchmarks.papers.rows import Counts, Printed, Row, Table

NAME = "efficientvit_base"
NO_CODE = "No code of this network was ever published; it is built from the paper's text."
#: Why parameters of the dense tables are beyond any network of this layout.
UNREACHABLE = (
    "The printed parameters cannot be reached: with the printed MACs, weights that work on a map of stride 32 or less "
    "are too dear. They must count weights that do no such work, and the text names none."
)

CLASSIFICATION = Table(
    paper="efficientvit",
    number="1",
    title="classification on ImageNet",
    rows=(
        Row(
            label="EfficientViT-Base, 224 x 224", count=classifier(NAME),
            printed=Printed("7.9", "0.406", "78.6"), known=(8_033_320, 409_055_872),
            note="1.7 % and 0.8 % more: the reading of the head that comes closest to all three rows at once.",
        ),
        Row(
            label="EfficientViT-Base, 192 x 192", count=classifier(NAME, (192, 192)),
            printed=Printed("7.9", "0.304", "77.7"), known=(8_033_320, 301_992_448),
            note="1.7 % more and 0.7 % less: no network has both this figure and that of 224 x 224 with 7.9 M.",
        ),
        Row(
            label="EfficientViT-Base, width 1.2, 224 x 224", count=classifier(NAME, width=1.2),
            printed=Printed("10.9", "0.584", "79.7"), known=(10_910_472, 592_886_464),
            note="1.5 % more MACs, for the same reason.",
        ),
    ),
    unknown=NO_CODE,
)  # fmt: skip


def _segmenter(height: int, width: int, macs: str, known: int, note: str = "") -> Row:
    head = heads.efficientvit_seg(height, width, (48, 192))
    return Row(
        label=f"EfficientViT-Base, {height} x {width}",
        count=plus(backbone(NAME, (height, width)), head),
        printed=Printed("6.5", macs), known=(2_394_643, known), note=f"{note}{UNREACHABLE}",
    )  # fmt: skip


SEGMENTATION = Table(
    paper="efficientvit",
    number="2-3",
    title="semantic segmentation on Cityscapes",
    rows=(
        _segmenter(704, 1408, "9.1", 9_049_576_448, "0.4 M short of rounding to 9.1 G. "),
        _segmenter(768, 1536, "10.8", 10_769_743_872),
        _segmenter(1024, 2048, "19.1", 19_146_211_328),
    ),
    unknown=f"Which of the two numbers it has, and the accuracies. {NO_CODE}",
)


def _detector(side: int, macs: str, known: int) -> Row:
    head = heads.yolox(heads.pyramid_sizes(side, side, (8, 16, 32)), (48, 96, 192))
    return Row(
        label=f"EfficientViT-Det, {side} x {side}",
        count=plus(backbone(NAME, (side, side)), head),
        printed=Printed("10.6", macs), known=(4_081_903, known), note=UNREACHABLE,
    )  # fmt: skip


DETECTION = Table(
    paper="efficientvit",
    number="2-3",
    title="detection on COCO with YOLOX's head",
    rows=(
        _detector(416, "2.1", 2_081_376_960),
        _detector(512, "3.2", 3_152_855_040),
        _detector(608, "4.4", 4_446_018_240),
    ),
    unknown=f"Which of the two numbers it has, and the accuracies. {NO_CODE}",
)


def _released(name: str, side: int, printed: Printed, known: tuple[int, int]) -> Row:
    return Row(
        label=f"EfficientViT-{name[-2:].upper()}, {side} x {side}",
        count=classifier(name, (side, side)), printed=printed, known=known,
    )  # fmt: skip


RELEASED = Table(
    paper="efficientvit",
    number="",
    title="the released family on ImageNet; the figures are the authors' README's, not the paper's",
    rows=(
        _released("efficientvit_b0", 224, Printed(), (3_410_008, 100_233_216)),
        _released("efficientvit_b1", 224, Printed("9.1", "0.52", "79.4"), (9_102_024, 519_214_592)),
        _released("efficientvit_b1", 256, Printed("9.1", "0.68"), (9_102_024, 676_915_712)),
        _released("efficientvit_b1", 288, Printed("9.1", "0.86"), (9_102_024, 855_643_648)),
        _released("efficientvit_b2", 224, Printed("24", "1.6", "82.1"), (24_330_712, 1_584_937_984)),
        _released("efficientvit_b2", 256, Printed("24", "2.1"), (24_330_712, 2_067_533_824)),
        _released("efficientvit_b2", 288, Printed("24", "2.6"), (24_330_712, 2_614_475_776)),
        _released("efficientvit_b3", 224, Printed("49", "4.0", "83.5"), (48_646_056, 3_953_822_208)),
        _released("efficientvit_b3", 256, Printed("49", "5.2"), (48_646_056, 5_161_586_688)),
        _released("efficientvit_b3", 288, Printed("49", "6.5"), (48_646_056, 6_530_386_432)),
    ),
    unknown="What the README says of B0's classification, and the accuracies beyond 224 x 224.",
)


def _released_segmenter(
    name: str, size: tuple[int, int], head: Counts, printed: tuple[str, str], known: tuple[int, int], note: str = ""
) -> Row:
    return Row(
        label=f"EfficientViT-Seg-{name[-2:].upper()}, {size[0]} x {size[1]}",
        count=plus(backbone(name, size), head), printed=Printed(*printed), known=known, note=note,
    )  # fmt: skip


STREET, ADE20K = (1024, 2048), (512, 512)


def _head(size: tuple[int, int], last: int, width: int, depth: int, classes: int, expand: int) -> Counts:
    sizes = heads.pyramid_sizes(*size, strides=(8, 16, 32))
    return heads.released_seg(sizes, (last // 4, last // 2, last), width, depth, classes, expand)


def _street(name: str, last: int, width: int, depth: int, printed: tuple[str, str], known: tuple[int, int]) -> Row:
    return _released_segmenter(name, STREET, _head(STREET, last, width, depth, 19, 4), printed, known)


def _scenes(name: str, last: int, width: int, printed: tuple[str, str], known: tuple[int, int], note: str = "") -> Row:
    return _released_segmenter(name, ADE20K, _head(ADE20K, last, width, 3, 150, 0), printed, known, note)


RELEASED_SEGMENTERS = Table(
    paper="efficientvit",
    number="",
    title="the released segmenters on Cityscapes and ADE20K; the figures are the authors' README's, not the paper's",
    rows=(
        _street("efficientvit_b0", 128, 32, 1, ("0.7", "4.4"), (706_691, 4_391_436_288)),
        _street("efficientvit_b1", 256, 64, 3, ("4.8", "25"), (4_803_443, 25_105_006_592)),
        _street("efficientvit_b2", 384, 96, 3, ("15", "74"), (15_323_779, 73_641_492_480)),
        _street("efficientvit_b3", 512, 128, 3, ("40", "179"), (39_603_155, 179_227_852_800)),
        _scenes("efficientvit_b1", 256, 64, ("4.8", "3.1"), (4_791_414, 3_090_415_616)),
        _scenes("efficientvit_b2", 384, 96, ("15", "9.1"), (15_293_382, 9_083_289_600)),
        _scenes(
            "efficientvit_b3", 512, 128, ("39", "22"), (39_546_198, 22_173_843_456),
            "39.5 M: the README cuts off instead of rounding.",
        ),
    ),
    unknown="The accuracies.",
)  # fmt: skip

TABLES = (CLASSIFICATION, SEGMENTATION, DETECTION, RELEASED, RELEASED_SEGMENTERS)
