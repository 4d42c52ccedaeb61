"""EfficientViT against the authors' numbers (B series), and the counts of the first version's reconstruction (Base)."""

import re
from collections import Counter

import keras
import numpy as np
import pytest

from keras_effvit import create_backbone, create_model
from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from keras_effvit.weights import load_state_dict
from tests.parity import LOGITS_TOLERANCE, Fixture, check_taps, recorded

B_SERIES = ("efficientvit_b0", "efficientvit_b1", "efficientvit_b2", "efficientvit_b3")

#: Tap of the golden files -> layers of ours, the first that exists, and whether input or output is meant.
TAPS = {
    r"backbone\.input_stem\.op_list\.0": (("stem_conv",), "out"),
    r"backbone\.input_stem\.op_list\.1": (("stem_block1_add",), "out"),
    r"backbone\.stages\.(\d)\.op_list\.0": (("stage{0}_down",), "out"),
    r"backbone\.stages\.(\d)\.op_list\.(\d)": (("stage{0}_block{1}_add", "stage{0}_block{1}_mbconv_add"), "out"),
    r"backbone\.stages\.(\d)\.op_list\.(\d)\.context_module\.main": (("stage{0}_block{1}_attn",), "out"),
    r"backbone\.stages\.(\d)\.op_list\.(\d)\.context_module\.main\.qkv": (("stage{0}_block{1}_attn/qkv",), "out"),
    r"backbone\.stages\.(\d)\.op_list\.(\d)\.context_module\.main\.aggreg\.0": (
        ("stage{0}_block{1}_attn/aggregate_point",),
        "out",
    ),
    r"backbone\.stages\.(\d)\.op_list\.(\d)\.context_module\.main\.attention_output": (
        ("stage{0}_block{1}_attn/proj",),
        "in",
    ),
    r"backbone\.stages\.(\d)\.op_list\.(\d)\.local_module\.main": (("stage{0}_block{1}_mbconv",), "out"),
    r"stage0": (("stem_block1_add",), "out"),
    r"head\.op_list\.0": (("head_conv",), "out"),
    r"head\.op_list\.1": (("avg_pool",), "out"),
    r"head\.op_list\.2": (("head_act",), "out"),
    r"head\.op_list\.3": (("head",), "out"),
}


def lookup(calls, maps):
    """A function from tap labels to what our layers computed; `maps` are the stages' outputs."""

    def find(label):
        if label in maps:
            return maps[label]
        for pattern, (paths, side) in TAPS.items():
            match = re.fullmatch(pattern, label)
            if match:
                stage, *block = (int(n) for n in match.groups()) if match.groups() else (0,)
                path = next(p for p in (path.format(stage + 1, *block) for path in paths) if p in calls)
                inputs, outputs = calls[path][0]
                return (inputs if side == "in" else outputs)[0]
        return None

    return find


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("efficientvit_b0", "224x224"),
        ("efficientvit_b0", "200x264"),
        ("efficientvit_b0", "128x128"),
        ("efficientvit_b1", "224x224"),
        ("efficientvit_b1", "256x256"),
    ],
)
def test_every_tap(name, case):
    golden = Fixture(name)
    image = golden.image(case)
    model = create_model(name, input_shape=image.shape[1:], classifier_activation=None)
    load_state_dict(model, golden.state_dict())
    backbone = create_backbone(name, image.shape[1:])
    load_state_dict(backbone, golden.state_dict())
    with recorded(model) as calls:
        logits = np.asarray(model(image, training=False))
    maps = {f"stage{i + 1}": np.asarray(x) for i, x in enumerate(backbone(image, training=False).values())}
    assert np.abs(logits - golden.logits(case)).max() < LOGITS_TOLERANCE
    assert check_taps(golden, case, lookup(calls, maps)) == []


def test_one_model_for_every_size():
    golden = Fixture("efficientvit_b0")
    model = create_model("efficientvit_b0", input_shape=(None, None, 3), classifier_activation=None)
    load_state_dict(model, golden.state_dict())
    for case in golden.cases:
        assert np.abs(np.asarray(model(golden.image(case))) - golden.logits(case)).max() < LOGITS_TOLERANCE


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("efficientvit_b0", 3_410_008, {224: 100_233_216, 256: 130_123_776, 288: 163_999_744}),
        ("efficientvit_b1", 9_102_024, {224: 519_214_592, 256: 676_915_712, 288: 855_643_648}),
        ("efficientvit_b2", 24_330_712, {224: 1_584_937_984, 256: 2_067_533_824, 288: 2_614_475_776}),
        ("efficientvit_b3", 48_646_056, {224: 3_953_822_208, 256: 5_161_586_688, 288: 6_530_386_432}),
    ],
)
def test_parameters_and_macs_of_the_b_series(name, params, macs):
    model = create_model(name, input_shape=(None, None, 3))
    assert count_params(model.trainable_weights) == params
    assert {side: count_macs(model, (side, side, 3)) for side in macs} == macs


@pytest.mark.parametrize(
    ("options", "side", "params", "macs"),
    [
        ({}, 224, 8_033_320, 409_055_872),
        ({}, 192, 8_033_320, 301_992_448),
        ({"width": 1.2}, 224, 10_910_472, 592_886_464),
    ],
)
def test_parameters_and_macs_of_base(options, side, params, macs):
    model = create_model("efficientvit_base", input_shape=(side, side, 3), **options)
    assert count_params(model.trainable_weights) == params
    assert count_macs(model) == macs


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("efficientvit_base", 392_708_736),
        ("efficientvit_b0", 91_219_968),
        ("efficientvit_b1", 495_889_408),
        ("efficientvit_b2", 1_533_127_680),
        ("efficientvit_b3", 3_887_561_216),
    ],
)
def test_macs_of_the_backbones(name, macs):
    assert count_macs(create_model(name, include_top=False)) == macs


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("efficientvit_base", (928, 19_776, 83_328, 829_728, 1_363_392, 8_033_320 - 2_297_152)),
        ("efficientvit_b0", (400, 4_128, 13_888, 142_208, 521_984, 2_727_400)),
        ("efficientvit_b1", (928, 13_888, 86_528, 756_864, 3_785_728, 4_458_088)),
        ("efficientvit_b2", (1_584, 50_304, 267_072, 2_200_320, 12_457_728, 9_353_704)),
        ("efficientvit_b3", (2_368, 122_752, 742_656, 5_650_944, 32_478_720, 9_648_616)),
    ],
)
def test_parameters_by_part(name, parts):
    counts = Counter()
    for weight in create_model(name, input_shape=(32, 32, 3)).trainable_weights:
        counts[weight.path.split("/")[0].split("_")[0]] += count_params([weight])
    assert counts == dict(zip(("stem", "stage1", "stage2", "stage3", "stage4", "head"), parts, strict=True))


@pytest.mark.parametrize(
    ("width", "channels", "heads", "head"),
    [
        (1.0, [16, 24, 48, 96, 192], [12, 24], (1152, 2560)),
        (1.2, [24, 32, 56, 112, 232], [14, 29], (1392, 3072)),
        # 0.55 * 16 = 8.8 rounds to 8, more than nine tenths of it; 0.75 * 24 = 18 would round to 16, less than that.
        (0.75, [16, 24, 40, 72, 144], [9, 18], (864, 1920)),
    ],
)
def test_width_scales_every_part(width, channels, heads, head):
    model = create_model("efficientvit_base", input_shape=(64, 64, 3), width=width)
    outputs = ["stem_block1_add", "stage1_block1_add", "stage2_block1_add", "stage3_down_add", "stage4_down_add"]
    assert [model.get_layer(name).output.shape[-1] for name in outputs] == channels
    assert [model.get_layer(f"stage{s}_block1_attn").num_heads for s in (3, 4)] == heads
    assert tuple(model.get_layer(name).output.shape[-1] for name in ("head_conv", "head_hidden")) == head


@pytest.mark.parametrize("width", [0, -1.0, "wide", None])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(ValueError, match=rf"`width` must be a positive number. Received: width={width!r}"):
        create_model("efficientvit_base", width=width)


@pytest.mark.parametrize("name", ["efficientvit_base", "efficientvit_b0"])
def test_the_softmax_twin_has_the_same_weights_and_another_answer(name):
    shape, image = (64, 96, 3), np.random.default_rng(0).standard_normal((1, 64, 96, 3))
    linear, softmax = (
        create_model(name, input_shape=shape, include_top=False, attention=kind) for kind in ("linear", "softmax")
    )
    assert [(w.path, w.shape) for w in softmax.weights] == [(w.path, w.shape) for w in linear.weights]
    open_residuals(linear)
    softmax.set_weights(linear.get_weights())
    assert np.abs(linear(image) - softmax(image)).max() > 1e-3


def open_residuals(model):
    for weight in model.weights:
        if weight.name == "gamma":
            weight.assign(np.ones(weight.shape))
        elif weight.name == "kernel":
            weight.assign(10 * np.asarray(weight))


@pytest.mark.parametrize("name", ["efficientvit_base", "efficientvit_b0"])
def test_an_unknown_attention_is_refused(name):
    with pytest.raises(ValueError, match=r"`attention` must be one of.*Received: attention='quadratic'"):
        create_model(name, attention="quadratic")


@pytest.mark.parametrize(("name", "entries"), list(zip(B_SERIES, (197, 272, 365, 514), strict=True)))
def test_every_entry_of_the_official_files_has_a_place(name, entries):
    """The authors' files hold a counter besides for every batch normalisation."""
    model = create_model(name, input_shape=(32, 32, 3))
    counters = sum(w.name == "moving_mean" for w in model.weights)
    assert len(model.weights) + counters == entries


def test_backbone_from_a_segmentation_file():
    """The same names under `backbone.`, another head."""
    golden = Fixture("efficientvit_b0").state_dict()
    encoder = {f"module.{name}": value for name, value in golden.items() if name.startswith("backbone.")}
    weights = {**encoder, "module.head.input_ops.0.op_list.0.conv.weight": np.zeros((32, 128, 1, 1), np.float32)}
    report = load_state_dict(create_backbone("efficientvit_b0", (None, None, 3)), weights)
    assert report.prefix == "module."
    assert report.unexpected == ()


def test_base_takes_arrays_under_its_own_names():
    source, target = (create_model("efficientvit_base", input_shape=(64, 64, 3)) for _ in range(2))
    convolution = np.random.default_rng(0).standard_normal((96, 1, 5, 5)).astype("float32")
    weights = {"stage2_down.depth.conv.weight": convolution}
    report = load_state_dict(target, weights, strict=False)
    assert report.matched == tuple(weights)
    assert len(report.missing) + 1 == len(source.weights)
    kernel = next(w for w in target.weights if w.path == "stage2_down/depth/conv/kernel")
    np.testing.assert_array_equal(kernel[:, :, :, 0], convolution[:, 0].transpose(1, 2, 0))


@pytest.mark.parametrize("name", ["efficientvit_base", "efficientvit_b0"])
def test_stochastic_depth_rises_over_the_branches_with_an_identity(name):
    model = create_model(name, input_shape=(64, 64, 3), drop_path_rate=0.3)
    drops = [layer for layer in model.layers if type(layer).__name__ == "DropPath"]
    assert not any("stem" in layer.name or "down" in layer.name for layer in drops)
    # The first branch of all is never dropped and has no such layer.
    np.testing.assert_allclose([layer.rate for layer in drops], np.linspace(0, 0.3, len(drops) + 1)[1:])
    adds = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    identities = [name for name in adds if "stem" not in name and "down" not in name]
    assert len(drops) + 1 == len(identities)


@pytest.mark.parametrize("name", ["efficientvit_base", "efficientvit_b1"])
def test_normalised_residual_branches_start_closed(name):
    model = create_model(name, input_shape=(64, 64, 3))
    closed = {w.path.removesuffix("/norm/gamma") for w in model.weights if w.name == "gamma" and not np.any(w)}
    identities = {
        layer.name.removesuffix("_add")
        for layer in model.layers
        if isinstance(layer, keras.layers.Add) and "down" not in layer.name
    }
    normalised = {
        w.path.split("/")[0] for w in model.weights if w.path.endswith(("point/norm/gamma", "proj/norm/gamma"))
    }
    assert {path.split("/")[0] for path in closed} == identities & normalised
    assert all(path.endswith(("/point", "/proj")) for path in closed)


def test_every_layer_starts_from_its_own_draw():
    model = create_model("efficientvit_base", input_shape=(64, 64, 3))
    first, second = (model.get_layer(f"stage3_block{b}_attn").qkv.kernel for b in (1, 2))
    assert not np.array_equal(first, second)
    assert np.std(first) == pytest.approx(0.02, rel=0.05)
