"""SepViT against the authors' numbers: golden outputs, and the counts of the paper's ablations."""

import re

import numpy as np
import pytest

from keras_effvit import create_backbone, create_model
from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from keras_effvit.weights import load_state_dict
from tests.parity import LOGITS_TOLERANCE, Fixture, check_taps, recorded

#: Tap of the golden files -> layer of ours, and whether its input or its output is meant.
TAPS = {
    r"patch_embeds\.(\d)\.proj": ("stage{0}_patch_embed/proj", "out"),
    r"patch_embeds\.(\d)": ("stage{0}_patch_embed", "out"),
    r"blocks\.(\d)\.(\d+)\.norm1": ("stage{0}_block{1}_attn/norm", "out"),
    r"blocks\.(\d)\.(\d+)\.attn\.DSA_qkv": ("stage{0}_block{1}_attn/dsa/qkv", "out"),
    r"blocks\.(\d)\.(\d+)\.attn\.win_tokens_norm:in": ("stage{0}_block{1}_attn/psa/norm", "in"),
    r"blocks\.(\d)\.(\d+)\.attn\.PSA_qk": ("stage{0}_block{1}_attn/psa/qk", "out"),
    r"blocks\.(\d)\.(\d+)\.attn\.proj:in": ("stage{0}_block{1}_attn/proj", "in"),
    r"blocks\.(\d)\.(\d+)\.attn": ("stage{0}_block{1}_attn", "out"),
    r"blocks\.(\d)\.(\d+)\.norm2": ("stage{0}_block{1}_norm", "out"),
    r"blocks\.(\d)\.(\d+)\.mlp": ("stage{0}_block{1}_mlp", "out"),
    r"blocks\.(\d)\.(\d+)": ("stage{0}_block{1}_mlp_add", "out"),
    r"pos_block\.(\d)": ("stage{0}_position", "out"),
    r"norm_list\.(\d)": ("stage{0}_norm", "out"),
    r"norm": ("norm", "out"),
    r"head:in": ("head", "in"),
    r"out:logits": ("head", "out"),
}


def lookup(calls):
    """A function from tap labels to what our layers computed."""

    def find(label):
        for pattern, (path, side) in TAPS.items():
            match = re.fullmatch(pattern, label)
            if match:
                inputs, outputs = calls[path.format(*(int(n) + 1 for n in match.groups()))][0]
                return (inputs if side == "in" else outputs)[0]
        return None

    return find


@pytest.mark.parametrize("case", ["224", "112x448"])
@pytest.mark.parametrize(("fixture", "name"), [("sepvit_lite", "sepvit_lite"), ("sepvit_t", "sepvit_tiny")])
def test_every_tap_of_the_classifiers(fixture, name, case):
    golden = Fixture(fixture)
    image = golden.image(case)
    model = create_model(name, input_shape=image.shape[1:], classifier_activation=None)
    load_state_dict(model, golden.state_dict())
    with recorded(model) as calls:
        logits = np.asarray(model(image, training=False))
    assert np.abs(logits - golden.logits(case)).max() < LOGITS_TOLERANCE
    assert check_taps(golden, case, lookup(calls)) == []


def test_zero_window_tokens():
    """The authors' ablation: the same weights with every window token at zero."""
    golden = Fixture("sepvit_lite")
    image = golden.image("224_zero_win_tokens")
    weights = {name: value for name, value in golden.state_dict().items() if not name.endswith("win_tokens")}
    model = create_model("sepvit_lite", window_token="zero", classifier_activation=None)
    load_state_dict(model, weights)
    error = np.abs(model(image) - golden.logits("224_zero_win_tokens")).max()
    assert error < LOGITS_TOLERANCE


def test_windows_of_one_size_everywhere():
    golden = Fixture("sepvit_t_dddd")
    model = create_model("sepvit_tiny", blocks=("D", "D", "D", "D"), classifier_activation=None)
    load_state_dict(model, golden.state_dict())
    with recorded(model) as calls:
        logits = np.asarray(model(golden.image("224"), training=False))
    assert np.abs(logits - golden.logits("224")).max() < LOGITS_TOLERANCE
    assert check_taps(golden, "224", lookup(calls)) == []


@pytest.mark.parametrize("case", ["200x264", "224", "256"])
def test_every_tap_of_the_dense_backbone(case):
    golden = Fixture("sepvit_t_dense")
    image = golden.image(case)
    model = create_backbone("sepvit_tiny", image.shape[1:], dense=True)
    report = load_state_dict(model, golden.state_dict())
    assert report.ignored == ("norm.weight", "norm.bias", "head.weight", "head.bias")
    with recorded(model) as calls:
        maps = model(image, training=False)
    outputs = {f"out:stage{i}": np.asarray(maps[f"P{i + 2}"]) for i in range(4)}
    find = lookup(calls)
    assert check_taps(golden, case, lambda label: outputs[label] if label in outputs else find(label)) == []


@pytest.mark.parametrize(
    ("name", "options", "params", "macs"),
    [
        ("sepvit_lite", {}, 3_661_128, 568_414_464),
        ("sepvit_tiny", {}, 31_182_856, 4_518_998_784),
        ("sepvit_small", {}, 46_570_504, 7_455_290_112),
        ("sepvit_base", {}, 82_377_064, 13_054_592_000),
        # Table 6: which blocks look how far.
        ("sepvit_tiny", {"blocks": ("D", "D", "D", "D")}, 32_079_112, 4_423_110_912),
        ("sepvit_tiny", {"blocks": ("D", "D", "D&G", "D")}, 31_185_160, 4_478_812_416),
        ("sepvit_tiny", {"blocks": ("D", "G&D", "G&D", "D")}, 31_182_856, 4_518_998_784),
        # Table 7: what stands for a window.
        ("sepvit_tiny", {"window_token": "zero"}, 31_168_264, 4_518_998_784),
        ("sepvit_tiny", {"window_token": "avg_pool"}, 31_168_264, 4_506_368_256),
        ("sepvit_tiny", {"window_token": "depthwise_conv"}, 31_278_088, 4_507_196_160),
    ],
)
def test_parameters_and_macs(name, options, params, macs):
    model = create_model(name, **options)
    assert count_params(model.trainable_weights) == params
    assert model.non_trainable_weights == []
    assert count_macs(model) == macs


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("sepvit_tiny", 33_655_392, 26_978_395_008),
        ("sepvit_small", 50_222_688, 44_576_754_048),
        ("sepvit_base", 89_213_056, 77_442_785_792),
    ],
)
def test_dense_parameters_and_macs(name, params, macs):
    model = create_backbone(name, (512, 512, 3), dense=True)
    assert count_params(model.trainable_weights) == params
    assert count_macs(model) == macs


@pytest.mark.parametrize(("side", "windows"), [(32, [4, 1, 1, 1]), (224, [64, 16, 4, 4]), (256, [100, 25, 9, 9])])
def test_learnable_tokens_follow_the_window_grid(side, windows):
    """In order: D of stages 1 and 2, G of stage 2, D of stage 3, counted in windows of 7 and 14 pixels."""
    model = create_model("sepvit_lite", input_shape=(side, side, 3))
    tokens = {w.path: w.shape[0] for w in model.weights if w.path.endswith("/token")}
    blocks = ("stage1_block1", "stage2_block1", "stage2_block2", "stage3_block1")
    assert [tokens[f"{block}_attn/token"] for block in blocks] == windows


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match=r"sepvit needs a fixed height and width.*\(None, None, 3\)"):
        create_model("sepvit_lite", input_shape=(None, None, 3))


@pytest.mark.parametrize("blocks", [("D", "D", "D"), ("D", "X", "D", "D"), ("D", "D&", "D", "D")])
def test_a_wrong_block_pattern_is_refused(blocks):
    with pytest.raises(ValueError, match=r"`blocks` must name the blocks of four stages.*Received"):
        create_model("sepvit_lite", blocks=blocks)
