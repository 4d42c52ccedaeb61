"""Segmenters against the authors' code: golden outputs under their own names of weights."""

import functools
import re

import numpy as np
import pytest

from keras_effvit.tasks import create_task
from keras_effvit.weights import load_state_dict
from tests.models.test_efficientvit import lookup as lookup_efficientvit
from tests.parity import LOGITS_TOLERANCE, Fixture, check_taps, recorded

CASE = "128x160"
#: What the golden files call the parts of a detector's head.
PARTS = {"cls": "class", "reg": "box"}
#: Tap of the golden files -> layer of ours; stages count from 0 there.
TAPS = {
    r"out:backbone(\d)": ("stage{0}_norm", "stage{0}_block2_mlp_add"),  # SepViT's, LVT's
    r"out:neck(\d)": ("neck_out{0}",),
    r"out:seg_logits": ("classifier", "linear_classifier"),
    r"out:aux_logits": ("auxiliary_classifier",),
}


@functools.cache
def golden_of(name):
    """A golden file and its checkpoint, which takes a second to draw."""
    fixture = Fixture(name)
    return fixture, fixture.state_dict()


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
    golden, state = golden_of(fixture)
    image = golden.image(CASE)
    model = create_task(name, input_shape=image.shape[1:], **options)
    report = load_state_dict(model, state)
    ignored = {entry for entry in report.ignored if not entry.endswith("num_batches_tracked")}
    assert ignored == {f"{module}.{leaf}" for module in unused for leaf in ("weight", "bias")}
    with recorded(model) as calls:
        model(image, training=False)
    assert check_taps(golden, CASE, lookup(calls)) == []


def test_every_tap_of_the_released_efficientvit():
    (golden, state), case = golden_of("efficientvit_seg_b0_cityscapes"), "128x256"
    image = golden.image(case)
    model = create_task("efficientvit_seg_b0_cityscapes", input_shape=image.shape[1:], resize=False)
    report = load_state_dict(model, state)
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
    model = create_task("sepvit_tiny_upernet", input_shape=(32, 32, 3), resize=False)
    report = load_state_dict(model, golden_of("sepvit_t_upernet")[1])
    assert sum(entry.startswith("auxiliary_head.") for entry in report.ignored) == 8


def test_every_tap_of_retinanet():
    """All five levels of the pyramid, and both towers on each."""
    golden = Fixture("sepvit_t_retinanet")
    image = golden.image(CASE)
    model = create_task("sepvit_tiny_retinanet", input_shape=image.shape[1:])
    report = load_state_dict(model, golden.state_dict())
    assert set(report.ignored) == {
        f"backbone.{module}.{leaf}" for module in ("norm", "head") for leaf in ("weight", "bias")
    }
    with recorded(model) as calls:
        outputs = model(image, training=False)

    def find(label):
        kind, level = label[len("out:") : -1], int(label[-1])
        if kind == "neck":
            return calls[f"neck_out{level + 1}"][0][1][0]
        return np.asarray(outputs[f"P{level + 3}_{PARTS[kind]}"])

    assert check_taps(golden, CASE, find) == []
