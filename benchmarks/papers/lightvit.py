"""The tables of LightViT (Huang et al. 2022, arXiv 2207.05557)."""

from collections.abc import Callable
from typing import Any

from benchmarks.papers import heads
from benchmarks.papers.counting import backbone, classifier, plus
from benchmarks.papers.rows import Counts, Printed, Row, Table

CONVENTION = (
    "the authors' formula counts one 49th of the products inside windows, leaves out the tokens' projection to keys "
    "and values, and counts the product with the gates"
)
#: The maps of the three stages at 224 x 224.
PIXELS = (28 * 28, 14 * 14, 7 * 7)
WINDOW = 7 * 7
DETECTION = (800, 1280)


def authors_formula(
    name: str, *, tokens: int | None = None, windows: bool = True, gates: bool = True, unused: int = 0
) -> Callable[[Counts], Counts]:
    """What the authors' formula makes of the exact MACs at 224 x 224.

    Args:
        name: of the model.
        tokens: how many are global; the model's own if not given.
        windows: whether its local attention is inside windows.
        gates: whether the feed-forward networks are gated.
        unused: parameters that the authors' ablation builds and never uses.
    """

    def count(counts: Counts) -> Counts:
        from keras_effvit.models.lightvit import LIGHTVIT

        spec = next(row for row in LIGHTVIT.values() if row.id == name)
        t = spec.global_tokens if tokens is None else tokens
        macs = counts.macs
        for depth, c, n in zip(spec.depths, spec.channels, PIXELS, strict=True):
            inside_windows = 2 * n * WINDOW * c
            to_keys_and_values = t * c * 2 * c
            gating = (t + n) * c
            macs -= depth * (windows * inside_windows * (WINDOW - 1) // WINDOW + to_keys_and_values - gates * gating)
        return Counts(counts.params + unused, macs)

    return count


def _classifier(label: str, name: str, printed: Printed, known: tuple[int, int]) -> Row:
    return Row(label=label, count=classifier(name), printed=printed, known=known, as_paper=authors_formula(name))


CLASSIFICATION = Table(
    paper="lightvit",
    number="",
    title="classification on ImageNet, 224 x 224",
    rows=(
        _classifier("LightViT-T", "lightvit_tiny", Printed("9.4", "0.7", "78.7"), (9_377_698, 772_183_808)),
        _classifier("LightViT-S", "lightvit_small", Printed("19.2", "1.7", "80.8"), (19_200_248, 1_825_346_432)),
        _classifier("LightViT-B", "lightvit_base", Printed("35.2", "3.9", "82.1"), (35_195_653, 4_106_798_080)),
    ),
    convention=CONVENTION,
)

#: What the authors' ablations without tokens build and never use: the tokens' way through both patch mergings ...
TOKEN_MERGING = sum(2 * c + c * 2 * c for c in (64, 128))
#: ... and the windows' relative bias in the one without windows.
BIAS_TABLES = 13 * 13 * (2 * 2 + 6 * 4 + 6 * 8)


def _component(label: str, printed: Printed, formula: Callable[[Counts], Counts], note: str = "", **options) -> Row:
    return Row(
        label=label, count=classifier("lightvit_tiny", **options), printed=printed, as_paper=formula, note=note
    )  # fmt: skip


def _of_tiny(**changes) -> Callable[[Counts], Counts]:
    return authors_formula("lightvit_tiny", **changes)


COMPONENTS = Table(
    paper="lightvit",
    number="5",
    title="the parts of LightViT-T",
    rows=(
        _component(
            "attention of all pixels to all, no tokens, no gates", Printed("8.0", "0.88"),
            _of_tiny(tokens=0, windows=False, gates=False, unused=TOKEN_MERGING + BIAS_TABLES),
            attention="global", global_tokens=0, gates=(),
        ),
        _component(
            "inside windows only", Printed("8.0", "0.66"),
            _of_tiny(tokens=0, gates=False, unused=TOKEN_MERGING), global_tokens=0, gates=(),
        ),
        _component(
            "+ global tokens", Printed("8.8", "0.71"), _of_tiny(gates=False),
            "No reading of the authors' modules gives this step's figures; those before and after are met.",
            gates=(),
        ),
        _component(
            "+ spatial gate", Printed("9.1", "0.73"), _of_tiny(), "With the gate's local half only.",
            gates=("local_spatial",),
        ),
        _component("+ channel gate, which is all of it", Printed("9.4", "0.73"), _of_tiny()),
        _component("all of it, without the shortcut of patch merging", Printed("9.3", "0.73"), _of_tiny(),
                   merge_shortcut=False),
    ),
    convention=CONVENTION + "; parameters that the authors' ablations build and never use are in",
    unknown="The accuracies.",
)  # fmt: skip


def _tokens(number: int, macs: str, note: str = "") -> Row:
    options: dict[str, Any] = {} if number == 8 else {"global_tokens": number}
    known = 9_377_698 + (number - 8) * 64 if number else None
    return Row(
        label=f"{number} tokens", count=classifier("lightvit_tiny", **options), printed=Printed(macs=macs),
        known=(known, None), as_paper=_of_tiny(tokens=number), note=note,
    )  # fmt: skip


TOKENS = Table(
    paper="lightvit",
    number="6",
    title="the number of global tokens of LightViT-T",
    rows=(
        _tokens(
            0, "0.68",
            "The authors' code fails without tokens; the printed figure is that of one token, which is 0.678 G.",
        ),
        _tokens(2, "0.69"),
        _tokens(4, "0.70"),
        _tokens(8, "0.73"),
        _tokens(16, "0.80"),
        _tokens(32, "0.92"),
    ),
    convention=CONVENTION,
    unknown="The parameters that the paper prints, and the accuracies.",
)  # fmt: skip


def _mask_rcnn(label: str, name: str, channels: tuple[int, ...], params: str) -> Row:
    sizes = heads.pyramid_sizes(*DETECTION, strides=(4, 8, 16, 32, 64))
    head = heads.three_stage_fpn(sizes[1:4], channels) + heads.two_stages(sizes)
    return Row(label=label, count=plus(backbone(name, DETECTION, dense=True), head), printed=Printed(params))


DETECTOR = Table(
    paper="lightvit",
    number="",
    title="Mask R-CNN on COCO, counted at 800 x 1280 with 1000 boxes and 100 masks",
    rows=(
        _mask_rcnn("LightViT-T", "lightvit_tiny", (64, 128, 256), "28"),
        _mask_rcnn("LightViT-S", "lightvit_small", (96, 192, 384), "38"),
        _mask_rcnn("LightViT-B", "lightvit_base", (128, 256, 512), "54"),
    ),
    unknown="The MACs that the paper prints, and the accuracies.",
)

TABLES = (
    Table(
        paper="lightvit", number="1", title="architectures of the variants",
        unknown="Whether it prints counts; the widths of the feed-forward network's first stage are not in it.",
    ),
    Table(
        paper="lightvit", number="3-4", title="which these are",
        unknown="Their numbers. Classification and detection stand below.",
    ),
    CLASSIFICATION,
    DETECTOR,
    COMPONENTS,
    TOKENS,
)  # fmt: skip
