"""SepViT against the authors' numbers: golden outputs, and the counts of the paper's ablations."""

import re

import numpy as np
import pytest

from keras_effvit import create_model
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
