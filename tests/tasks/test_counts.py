"""Parameters and MACs of the papers' segmenters, to the last digit."""

import re

import pytest

from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from keras_effvit.tasks import create_task, task_row

#: Layers of the heads, by their names; all others are the backbone's.
PARTS = {"neck": r"neck_", "head": r"decoder_|\w*classifier", "auxiliary": r"auxiliary_"}
#: What the authors count too and nothing uses: the norm and the classifier for 1000 classes of SepViT's dense backbone.
SEPVIT_UNUSED, SEPVIT_BASE_UNUSED = 2 * 768 + 768 * 1000 + 1000, 2 * 1024 + 1024 * 1000 + 1000


def params_of(model, part):
    """Trainable values of a part of a model; the backbone is what is in no other."""
    weights = {w.path: w for w in model.trainable_weights}
    auxiliary = {path for path in weights if re.match(PARTS["auxiliary"], path)}
    parts = {
        "auxiliary": auxiliary,
        "neck": {path for path in weights if re.match(PARTS["neck"], path)},
        "head": {path for path in weights if re.match(PARTS["head"], path)} - auxiliary,
    }
    parts["backbone"] = set(weights).difference(*parts.values())
    return count_params([weights[path] for path in parts[part]])


#: Parameters of the backbone, with what it does not use; MACs of its linear layers and of attention at 512 x 2048.
TINY = (34_425_928, 85_550_247_936, 17_843_534_400)
SMALL = (50_993_224, 148_046_819_328, 23_115_224_640)
BASE = (90_240_104, 263_194_345_472, 30_820_299_520)
#: Parameters of neck, head and auxiliary head; MACs of all convolutions.
SEPVIT = [
    ("sepvit_tiny_semantic_fpn", TINY, (2_729_984, 1_643_158, 0), 95_906_168_832),
    ("sepvit_small_semantic_fpn", SMALL, (2_729_984, 1_643_158, 0), 95_906_168_832),
    ("sepvit_base_semantic_fpn", BASE, (2_852_864, 1_643_158, 0), 103_598_260_224),
    ("sepvit_tiny_upernet", TINY, (0, 31_497_366, 923_798), 854_574_759_936),
    ("sepvit_small_upernet", SMALL, (0, 31_497_366, 923_798), 854_574_759_936),
    ("sepvit_base_upernet", BASE, (0, 33_315_990, 1_218_710), 864_353_779_712),
]


def quick_first(rows, quick):
    """Rows of a table, of which those that take long are left to the slow suite: the same lines with other numbers."""
    return [pytest.param(*row, id=row[0], marks=[] if row[0] in quick else [pytest.mark.slow]) for row in rows]


@pytest.mark.parametrize(
    ("name", "backbone", "parts", "convolutions"), quick_first(SEPVIT, ["sepvit_tiny_semantic_fpn"])
)
def test_sepvit(name, backbone, parts, convolutions):
    row, (params, linear, attention) = task_row(name), backbone
    model = create_task(name, input_shape=(*row.image, 3), resize=False)
    unused = SEPVIT_BASE_UNUSED if "base" in name else SEPVIT_UNUSED
    assert params_of(model, "backbone") == params - unused
    assert [params_of(model, part) for part in ("neck", "head")] == list(parts[:2])
    assert count_macs(model) == convolutions + linear + attention
    # As printed: with what is not used, and without the products of attention.
    assert round((params + sum(parts)) / 1e6, 1) == row.params_m
    assert (convolutions + linear) / 1e9 == pytest.approx(row.gmacs, abs=0.5)


@pytest.mark.parametrize(
    ("name", "params"),
    [("sepvit_tiny_upernet", 923_798), pytest.param("sepvit_base_upernet", 1_218_710, marks=pytest.mark.slow)],
)
def test_the_head_that_only_training_looks_at(name, params):
    model = create_task(name, input_shape=(64, 64, 3), auxiliary=True, resize=False)
    assert params_of(model, "auxiliary") == params


def test_lvt_segformer():
    model = create_task("lvt_segformer", resize=False)
    unused = 128 * 150 + 150  # a classifier that is inherited and replaced
    assert params_of(model, "backbone") == 3_429_092
    assert params_of(model, "head") == 460_844 - unused
    assert count_macs(model) == 7_224_033_280 + 2_360_344_576 + 1_049_100_288


def test_the_first_efficientvit():
    model = create_task("efficientvit_seg", input_shape=(None, None, 3), resize=False)
    assert count_params(model.trainable_weights) == 2_394_643
    macs = {(704, 1408): 9_049_576_448, (768, 1536): 10_769_743_872, (1024, 2048): 19_146_211_328}
    assert {image: count_macs(model, (*image, 3)) for image in macs} == macs


RELEASED = [
    ("efficientvit_seg_b0_cityscapes", 706_691, 4_391_436_288),
    ("efficientvit_seg_b1_cityscapes", 4_803_443, 25_105_006_592),
    ("efficientvit_seg_b2_cityscapes", 15_323_779, 73_641_492_480),
    ("efficientvit_seg_b3_cityscapes", 39_603_155, 179_227_852_800),
    ("efficientvit_seg_b1_ade20k", 4_791_414, 3_090_415_616),
    ("efficientvit_seg_b2_ade20k", 15_293_382, 9_083_289_600),
    ("efficientvit_seg_b3_ade20k", 39_546_198, 22_173_843_456),
]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    quick_first(RELEASED, ["efficientvit_seg_b0_cityscapes", "efficientvit_seg_b1_ade20k"]),
)
def test_the_released_efficientvit(name, params, macs):
    model = create_task(name, input_shape=(*task_row(name).image, 3), resize=False)
    assert count_params(model.trainable_weights) == params
    assert count_macs(model) == macs
