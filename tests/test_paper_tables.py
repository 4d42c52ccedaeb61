"""The papers' tables that `benchmarks/paper_tables.py` counts: closed forms, conventions, and the record."""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import paper_tables
from benchmarks.papers import blocks, heads, latency, lightvit, lvt, parts, sepvit
from benchmarks.papers.counting import block
from benchmarks.papers.rows import BILLION, MILLION, Counts, Row, Table, meets
from keras_effvit import layers
from keras_effvit.layers.mbconv import MBConv
from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params

RECORD = Path(__file__).parents[1] / "tflite" / "results" / "paper-tables.json"
#: The tables that print parameters or MACs, of each paper.
NUMBERS = {"sepvit": range(1, 10), "lvt": range(2, 8), "lightvit": (1, 3, 4, 5, 6), "efficientvit": (1, 2, 3)}


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text())


@given(st.integers(1, 10**12), st.integers(0, 3), st.sampled_from([MILLION, BILLION]))
def test_a_figure_is_met_if_the_count_rounds_to_it(exact, digits, unit):
    last = Decimal(1).scaleb(-digits)
    figure = (Decimal(exact) / unit).quantize(last, ROUND_HALF_EVEN)
    assert meets(exact, str(figure), unit)
    if abs(Decimal(exact) / unit - figure) * 2 != last:  # a tie may round either way
        assert not meets(exact, str(figure + last), unit)


@pytest.mark.parametrize(("paper", "number"), [(paper, n) for paper, numbers in NUMBERS.items() for n in numbers])
def test_every_table_is_counted_or_said_to_be_unknown(paper, number):
    tables = paper_tables.chosen([paper], [number])
    assert tables
    assert all(table.rows or table.unknown for table in tables)


def test_tables_and_rows_have_names_of_their_own():
    headings = [table.heading for table in paper_tables.TABLES]
    assert len(set(headings)) == len(headings)
    for table in paper_tables.TABLES:
        labels = [row.label for row in table.rows]
        assert len(set(labels)) == len(labels), table.heading


def test_the_record_is_of_these_tables(record):
    described = [(table.heading, [row.label for row in table.rows]) for table in paper_tables.TABLES]
    assert [(table["heading"], [row["label"] for row in table["rows"]]) for table in record["tables"]] == described


def test_counts_are_the_authors_to_the_last_digit(record):
    """Where theirs, or those of the reading of the paper, are known."""
    wrong, held = [], 0
    for table, counted in zip(paper_tables.TABLES, record["tables"], strict=True):
        for row, found in zip(table.rows, counted["rows"], strict=True):
            for known, key in zip(row.known, ("params", "macs"), strict=True):
                held += known is not None
                if known not in (None, found[key]):
                    wrong.append((table.heading, row.label, key, known, found[key]))
    assert wrong == []
    assert held > 100


def test_a_figure_that_is_not_met_has_a_note(record):
    for table, counted in zip(paper_tables.TABLES, record["tables"], strict=True):
        for row, found in zip(table.rows, counted["rows"], strict=True):
            theirs = found["as_paper"] or found
            met = paper_tables.verdicts(Counts(theirs["params"], theirs["macs"]), row.printed)
            assert False not in met.values() or row.note, (table.heading, row.label)
            assert found["met"] == met


def counted(layer, side: int, channels: int) -> Counts:
    return block((side, side, channels), lambda: layer)()


def test_closed_forms_are_what_the_layers_have():
    n = 14 * 14
    assert counted(layers.LocalGlobalAttention(2, 7), 14, 64) == blocks.window_attention(n, 64, heads=2)
    # Of PVT's layer, which LVT's becomes, queries, keys and values have no bias.
    reduced = counted(layers.RecursiveAtrousSelfAttention(2, recursion=1, dilations=None, reduction=2), 14, 64)
    assert reduced + Counts(3 * 64, 0) == blocks.subsampled_attention(n, 64, 2)
    assert counted(layers.ConvolutionalSelfAttention(2), 14, 64) == blocks.csa(n, 64, 2)
    assert counted(layers.RecursiveAtrousSelfAttention(2, recursion=3), 14, 64) == blocks.rasa(n, 64, recursion=3)
    assert counted(MBConv(16, 5), 6, 16) == parts.mbconv(36, 16, kernel=5)


def test_closed_form_of_class_attention():
    tokens = keras.Input((50, 64))
    model = keras.Model(tokens, layers.ClassAttentionBlock(2, expansion=3)(tokens))
    assert Counts(count_params(model.weights), count_macs(model)) == blocks.class_block(49, 64, 3)


def test_the_block_of_sepvits_first_table():
    own, swin, _ = (row.count() for row in sepvit.BLOCKS.rows)
    assert (own.params, own.macs) == sepvit.BLOCKS.rows[0].known
    assert swin.macs == 752_640_000


@pytest.mark.parametrize("row", [row for table in lvt.VOLO for row in table.rows])
def test_the_ablation_in_volo(row: Row):
    params, macs = row.known
    assert row.count().params == params
    assert macs in (None, row.count().macs)


def test_volo_segmenters_are_as_far_from_the_paper_as_is_known():
    macs = [row.count().macs for row in lvt.VOLO[1].rows]
    assert [round(count / 1e9, 2) for count in macs] == [12.81, 12.90, 16.29]


SQUARE = heads.pyramid_sizes(512, 512)
STREET = heads.pyramid_sizes(800, 1216, strides=(4, 8, 16, 32, 64))
T, B, L = (96, 192, 384, 768), (128, 256, 512, 1024), lvt.CHANNELS
RETINA = heads.pyramid_sizes(800, 1280, strides=(8, 16, 32))


@pytest.mark.parametrize(
    ("part", "params", "macs"),
    [
        (heads.fpn(SQUARE, T), 2_729_984, 13_589_544_960),
        (heads.fpn(SQUARE, B), 2_852_864, 13_841_203_200),
        (heads.semantic_fpn(SQUARE, 150), 1_643_158, 8_090_812_416),
        (heads.upernet(SQUARE, T, 150), 31_497_366, 211_362_250_752),
        (heads.upernet(SQUARE, B, 150), 33_315_990, 212_140_556_288),
        (heads.auxiliary(384, 150), 923_798, 0),
        (heads.auxiliary(512, 150), 1_218_710, 0),
        (heads.segformer(SQUARE, L, 150), 460_844 - lvt.UNUSED, 5_318_377_472),
        (heads.fpn(RETINA, T[1:]) + heads.extra_levels(RETINA[-1], 768), 4_474_880, None),
        (heads.retinanet(RETINA), 6_463_220, None),
        (heads.fpn(STREET[:4], L, 96), 384_768, 7_246_387_200),
        (heads.rpn(STREET, 96), 84_495, 6_834_850_848),
        (heads.rpn(STREET), 593_935, None),
        (heads.box_head(), 14_306_705, 14_304_256_000),
        (heads.box_head(96, 160), 843_121, 842_400_000),
        (heads.mask_head(), 2_643_280, 52_985_856_000),
        (heads.mask_head(96), 376_880, 7_827_456_000),
        (heads.panoptic_semantic(STREET[:4], 54), 231_414, 4_215_628_800),
    ],
)
def test_heads_are_those_of_the_authors_modules(part, params, macs):
    assert part.params == params
    assert macs in (None, part.macs)


@pytest.mark.parametrize(
    ("name", "size", "macs"),
    [
        ("sepvit_tiny", (512, 2048), 17_843_534_400),
        ("sepvit_small", (512, 2048), 23_115_224_640),
        ("sepvit_base", (512, 2048), 30_820_299_520),
        ("sepvit_tiny", (800, 1280), 16_024_330_368),
    ],
)
def test_what_openmmlabs_counter_does_not_see(name, size, macs):
    assert sepvit.attention_products(name, *size) == macs


@pytest.mark.parametrize(
    ("name", "exact", "theirs"),
    [
        ("lightvit_tiny", 772_183_808, 733_224_192),
        ("lightvit_small", 1_825_346_432, 1_742_950_016),
        ("lightvit_base", 4_106_798_080, 3_922_873_344),
    ],
)
def test_lightvits_formula(name, exact, theirs):
    assert lightvit.authors_formula(name)(Counts(0, exact)).macs == theirs


def test_lightvits_ablations_by_the_authors_formula(record):
    """In millions, as their own functions give them."""
    tables = {table["heading"]: table for table in record["tables"]}

    def millions(table: Table) -> list[float]:
        return [round(row["as_paper"]["macs"] / 1e6, 1) for row in tables[table.heading]["rows"]]

    assert millions(lightvit.TOKENS) == [670.3, 686.0, 701.8, 733.2, 796.1, 922.0]
    fourth = 3  # of which their formula is known to a hundredth of a billion only, as printed
    components = millions(lightvit.COMPONENTS)
    assert components[:fourth] + components[fourth + 1 :] == [881.4, 658.3, 720.2, 733.2, 730.0]


def test_the_mask_rcnns_of_lightvit(record):
    rows = next(t for t in record["tables"] if t["heading"] == lightvit.DETECTOR.heading)["rows"]
    assert [round(row["params"] / 1e6, 2) for row in rows] == [28.05, 37.76, 53.65]


def test_a_record_keeps_what_is_not_counted_anew(tmp_path):
    file, (first, second) = tmp_path / "tables.json", paper_tables.TABLES[:2]
    paper_tables.save(file, [paper_tables.describe(second, [])], {"rows": []})
    paper_tables.save(file, [paper_tables.describe(first, [])], None)
    kept = json.loads(file.read_text())
    assert [table["heading"] for table in kept["tables"]] == [first.heading, second.heading]
    assert kept["latency"] == {"rows": []}


def test_what_is_timed_costs_what_the_formulas_say():
    """A layer of n pixels, 12 heads of 16: q, k, v and the way back, and the products of either attention."""
    side, channels, inner = 8, latency.CHANNELS, 16 * latency.HEADS
    n = side * side
    around = n * channels * 3 * inner + n * inner * channels
    products = {"linear": 2 * n * latency.HEADS * 17 * 16, "softmax": 2 * n * n * inner}
    for kind in latency.KINDS:
        layer = layers.LinearAttention(latency.HEADS, attention=kind)
        assert counted(layer, side, channels).macs == around + products[kind]
