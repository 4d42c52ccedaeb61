"""Segmenters against the authors' code: golden outputs under their own names of weights."""

import re

import numpy as np
import pytest

from keras_effvit.tasks import create_task
from keras_effvit.weights import load_state_dict
from tests.models.test_efficientvit import lookup as lookup_efficientvit
from tests.parity import LOGITS_TOLERANCE, Fixture, check_taps, recorded

CASE = "128x160"
#: Tap of the golden files -> layer of ours; stages count from 0 there.
TAPS = {
    r"out:backbone(\d)": ("stage{0}_norm", "stage{0}_block2_mlp_add"),  # SepViT's, LVT's
    r"out:neck(\d)": ("neck_out{0}",),
    r"out:seg_logits": ("classifier", "linear_classifier"),
    r"out:aux_logits": ("auxiliary_classifier",),
}


def lookup(calls):
    """A function from tap labels to what our layers computed."""

    def find(label):
        for pattern, paths in TAPS.items():
            match = re.fullmatch(pattern, label)
            if match:
                names = [path.format(*(int(n) + 1 for n in match.groups())) for path in paths]
                return calls[next(name for name in names if name in calls)][0][1][0]
        return None

    return find


@pytest.mark.parametrize(
    ("fixture", "name", "options", "unused"),
    [
        ("sepvit_t_semfpn", "sepvit_tiny_semantic_fpn", {}, ["backbone.norm", "backbone.head"]),
        ("sepvit_t_upernet", "sepvit_tiny_upernet", {"auxiliary": True}, ["backbone.norm", "backbone.head"]),
        ("lvt_segformer", "lvt_segformer", {}, ["decode_head.conv_seg"]),
    ],
)
def test_every_tap(fixture, name, options, unused):
    golden = Fixture(fixture)
    image = golden.image(CASE)
    model = create_task(name, input_shape=image.shape[1:], **options)
    report = load_state_dict(model, golden.state_dict())
    ignored = {entry for entry in report.ignored if not entry.endswith("num_batches_tracked")}
    assert ignored == {f"{module}.{leaf}" for module in unused for leaf in ("weight", "bias")}
    with recorded(model) as calls:
        model(image, training=False)
    assert check_taps(golden, CASE, lookup(calls)) == []


def test_every_tap_of_the_released_efficientvit():
    golden, case = Fixture("efficientvit_seg_b0_cityscapes"), "128x256"
    image = golden.image(case)
    model = create_task("efficientvit_seg_b0_cityscapes", input_shape=image.shape[1:], resize=False)
    report = load_state_dict(model, golden.state_dict())
    assert all(entry.endswith("num_batches_tracked") for entry in report.ignored)
    with recorded(model) as calls:
        logits = np.asarray(model(image, training=False))
    assert np.abs(logits - golden.arrays[f"{case}|segout"]).max() < LOGITS_TOLERANCE
    ours = {
        "stage1": "stage1_block1_add",
        "stage2": "stage2_block1_add",
        "stage3": "stage3_block2_mbconv_add",
        "stage4": "stage4_block2_mbconv_add",
        "head.input_ops.0": "decoder_resize1",
        "head.input_ops.1": "decoder_resize2",
        "head.input_ops.2": "decoder_input3",
        "head.middle": "decoder_block1_add",
    }
    maps = {label: calls[path][0][1][0] for label, path in ours.items()}
    assert check_taps(golden, case, lookup_efficientvit(calls, maps)) == []


def test_the_head_that_only_training_looks_at_may_stay_in_the_file():
    """An UperNet for inference takes the whole file and computes the same."""
    golden = Fixture("sepvit_t_upernet")
    image = golden.image(CASE)
    model = create_task("sepvit_tiny_upernet", input_shape=image.shape[1:], resize=False)
    report = load_state_dict(model, golden.state_dict())
    assert sum(entry.startswith("auxiliary_head.") for entry in report.ignored) == 8
    logits = np.asarray(model(image, training=False))
    assert check_taps(golden, CASE, lambda label: logits if label == "out:seg_logits" else None)[-1] == "out:aux_logits"
