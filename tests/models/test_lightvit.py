"""LightViT against the authors' numbers: golden outputs, and the counts of the paper's ablations."""

import functools
import re

import keras
import numpy as np
import pytest

from keras_effvit import create_backbone, create_model, model_info
from keras_effvit.models import count_macs
from keras_effvit.models.lightvit import LIGHTVIT
from keras_effvit.models.registry import count_params
from keras_effvit.weights import load_state_dict
from tests.parity import LOGITS_TOLERANCE, PROBE_TOLERANCE, Fixture, check_taps, recorded

#: Tap of the golden files below a block -> layer of ours below that block.
PARTS = {
    "": "mlp_add",
    ".norm1": "norm1",
    ".attn": "attn",
    ".norm2": "norm2",
    ".mlp.fc2": "mlp/mlp/fc2",
    ".mlp.attn": "mlp/gate",
    ".mlp": "mlp",
}
WHOLE = {
    "patch_embed.stem": "stem_conv4",
    "patch_embed.proj": "stem_proj",
    "patch_embed": "stem_norm",
    "norm": "norm",
    "neck": "neck_act",
    "pooled": "avg_pool",
}


def lookup(calls):
    """A function from tap labels to what our layers computed."""

    def outputs(path):
        """Of one call or of a shared layer's two: the map, then the tokens if it has them."""
        arrays = [array for _, given in calls[path] for array in given]
        return sorted(arrays, key=lambda array: -array.ndim)

    def find(label):
        if label in WHOLE:
            x, *tokens = outputs(WHOLE[label])
            return sequence(x, tokens[0]) if tokens else x
        match = re.fullmatch(r"stages\.(\d)\.(\d+)(\S*)/(image|tokens)", label)
        if match is None:
            return None
        stage, module = int(match[1]), int(match[2])
        if stage > 0 and module == 0:
            path = f"stage{stage + 1}_merge"
        else:
            path = f"stage{stage + 1}_block{module + (stage == 0)}_{PARTS[match[3]]}"
        if match[4] == "image":
            return outputs(path)[0]
        return outputs(path.replace("mlp_add", "mlp_tokens_add"))[-1]

    return find


def sequence(pixels, tokens):
    """The authors' order of positions: tokens, then the map row by row."""
    return np.concatenate([tokens, pixels.reshape(len(pixels), -1, pixels.shape[-1])], axis=1)


@pytest.mark.parametrize(
    ("fixture", "case"),
    [
        ("lightvit_tiny", "224x224"),
        ("lightvit_tiny", "224x448"),
        ("lightvit_tiny_padded", "224x224"),
        ("lightvit_tiny_padded", "200x264"),
        ("lightvit_tiny_padded", "256x256"),
    ],
)
def test_every_tap(fixture, case):
    golden = Fixture(fixture)
    image = golden.image(case)
    model = create_model("lightvit_tiny", input_shape=image.shape[1:], classifier_activation=None)
    load_state_dict(model, golden.state_dict())
    with recorded(model) as calls:
        logits = np.asarray(model(image, training=False))
    assert np.abs(logits - golden.logits(case)).max() < LOGITS_TOLERANCE
    assert check_taps(golden, case, lookup(calls)) == []


def tiny(**options):
    """LightViT-T with the golden files' weights."""
    model = create_model("lightvit_tiny", classifier_activation=None, **options)
    load_state_dict(model, Fixture("lightvit_tiny").state_dict())
    return model


def test_unknown_size_computes_the_same():
    golden = Fixture("lightvit_tiny_padded")
    model = tiny(input_shape=(None, None, 3))
    logits = model.predict(golden.image("200x264"), verbose=0)
    assert np.abs(logits - golden.logits("200x264")).max() < LOGITS_TOLERANCE


def test_gradients_reach_every_weight():
    import tensorflow as tf

    # Without stochastic depth, which now and then drops a branch for both images and leaves it no gradient.
    model = tiny(input_shape=(75, 100, 3), drop_path_rate=0.0)
    image = Fixture("lightvit_tiny").image("224x224")[:, :75, :100]
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(model(image, training=True)[:, ::2])
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    unreached = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.asarray(gradient).any()
    ]
    assert unreached == []


@pytest.mark.parametrize("size", [(200, 264), (203, 261)])
def test_dense_backbone(size):
    """Its maps are the raw ones, normalised, but for the last block, which forgets the tokens before its MLP."""
    state = Fixture("lightvit_tiny").state_dict()
    rng = np.random.default_rng(0)
    norms = {
        f"norm{stage}.{kind}": rng.standard_normal(channels).astype("float32")
        for stage, channels in enumerate((64, 128, 256))
        for kind in ("weight", "bias")
    }
    image = rng.standard_normal((1, *size, 3)).astype("float32")
    raw = create_backbone("lightvit_tiny", (*size, 3))
    dense = create_backbone("lightvit_tiny", (*size, 3), dense=True)
    load_state_dict(raw, state)
    report = load_state_dict(dense, {f"backbone.{name}": value for name, value in {**state, **norms}.items()})
    assert {name.split(".")[1] for name in report.ignored if "num_batches" not in name and "index" not in name} == {
        "norm", "neck", "head",
    }  # fmt: skip
    with recorded(raw) as calls:
        maps = {level: np.asarray(x) for level, x in raw(image, training=False).items()}
    attended = calls["stage3_block6_attn_add"][0][1][0]
    block = "stage3_block6"
    forgetful = dense.get_layer(f"{block}_mlp")(dense.get_layer(f"{block}_norm2")(attended))
    maps["P5"] = attended + np.asarray(forgetful)
    for stage, (level, x) in enumerate(dense(image, training=False).items()):
        x0 = maps[level] - np.mean(maps[level], -1, keepdims=True)
        x0 = x0 / np.sqrt(np.mean(x0**2, -1, keepdims=True) + 1e-6)
        expected = x0 * norms[f"norm{stage}.weight"] + norms[f"norm{stage}.bias"]
        assert x.shape[1:3] == tuple(-(-side // 2 ** (stage + 3)) for side in size)
        np.testing.assert_allclose(x, expected, rtol=0, atol=PROBE_TOLERANCE * expected.std())


def test_a_dense_backbone_wants_its_norms():
    model = create_backbone("lightvit_tiny", (64, 64, 3), dense=True)
    with pytest.raises(ValueError, match=r"Missing: norm0\.weight"):
        load_state_dict(model, Fixture("lightvit_tiny").state_dict())


def test_include_top_false_gives_the_normalised_map():
    golden = Fixture("lightvit_tiny")
    model = create_model("lightvit_tiny", include_top=False)
    load_state_dict(model, golden.state_dict())
    x = np.asarray(model(golden.image("224x224"), training=False))
    size, indices, values, std = golden.taps("224x224")["norm"]
    batch, positions, channels = np.unravel_index(indices, (2, 8 + 49, 256))
    assert size == 2 * (8 + 49) * 256
    pixels = positions >= 8
    assert pixels.sum() > 32
    error = x.reshape(2, 49, 256)[batch[pixels], positions[pixels] - 8, channels[pixels]] - values[pixels]
    assert np.abs(error).max() < PROBE_TOLERANCE * std


def test_an_image_drops_its_map_and_its_tokens_together():
    model = create_model("lightvit_tiny", input_shape=(32, 32, 3), drop_path_rate=0.5)
    drop = model.get_layer("stage3_block6_attn_drop")
    x, tokens = drop([np.ones((64, 1, 1, 4), "float32"), np.ones((64, 8, 4), "float32")], training=True)
    dropped = np.asarray(x)[:, 0, 0, 0] == 0
    assert 0 < dropped.sum() < 64
    np.testing.assert_array_equal(np.asarray(tokens) == 0, np.broadcast_to(dropped[:, None, None], (64, 8, 4)))


@functools.cache
def counts(name, **options):
    """Parameters and MACs; of a model as it stands, those that are counted for its facts."""
    if not options:
        return model_info(name).params, model_info(name).macs
    model = create_model(name, **options)
    return count_params(model.trainable_weights), count_macs(model)


@pytest.mark.xdist_group("infos")
@pytest.mark.parametrize(
    ("name", "params", "macs", "backbone"),
    [
        ("lightvit_tiny", 9_377_698, 772_183_808, 7_765_562),
        ("lightvit_small", 19_200_248, 1_825_346_432, 17_424_464),
        ("lightvit_base", 35_195_653, 4_106_798_080, 33_256_221),
    ],
)
def test_parameters_and_macs(name, params, macs, backbone):
    assert counts(name) == (params, macs)
    assert count_params(create_backbone(name, (64, 64, 3), dense=True).trainable_weights) == backbone


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lightvit_tiny", (20_608, 512, 189_990, 1_518_430, 6_035_126, 1_613_032)),
        ("lightvit_small", (44_736, 1_536, 424_760, 3_401_994, 13_550_094, 1_777_128)),
        ("lightvit_base", (78_080, 3_072, 1_129_071, 7_980_872, 24_063_334, 1_941_224)),
    ],
)
def test_parameters_by_part(name, parts):
    weights = create_model(name, input_shape=(32, 32, 3)).trainable_weights
    patterns = ("stem_", "global_tokens/", "stage1_", "stage2_", "stage3_", "(norm|neck|neck_norm|head)/")
    assert parts == tuple(count_params([w for w in weights if re.match(p, w.path)]) for p in patterns)


def authors_macs(exact: int, tokens: int, *, windows: bool = True, gates: bool = True) -> int:
    """What the authors' own formula, which is what the paper prints, gives for LightViT-T.

    It counts one 49th of the attention inside windows, leaves out the tokens' projection to keys and values, and
    counts the product with the gates.
    """
    spec = LIGHTVIT["Tiny"]
    stages = list(zip(spec.depths, spec.channels, (28 * 28, 14 * 14, 7 * 7), strict=True))
    inside_windows = sum(depth * 2 * pixels * 49 * channels for depth, channels, pixels in stages)
    to_keys_and_values = sum(depth * tokens * channels * 2 * channels for depth, channels, _ in stages)
    gating = sum(depth * (tokens + pixels) * channels for depth, channels, pixels in stages)
    return exact - windows * inside_windows * 48 // 49 - to_keys_and_values + gates * gating


@pytest.mark.parametrize(
    ("tokens", "exact", "authors"),
    [
        (0, 701.3, 670.3),
        (1, 710.2, 678.2),
        (8, 772.2, 733.2),
        (32, 984.8, 922.0),
    ],
)
def test_number_of_tokens(tokens, exact, authors):
    """The paper's table 6, in millions of MACs; its other rows are on the line between these."""
    params, macs = counts("lightvit_tiny", global_tokens=tokens)
    assert round(macs / 1e6, 1) == exact
    assert round(authors_macs(macs, tokens) / 1e6, 1) == authors
    if tokens:
        assert params == 9_377_698 + (tokens - 8) * 64


#: What the authors' ablations without tokens build and never use: the tokens' way through both patch mergings ...
TOKEN_MERGING = sum(2 * c + c * 2 * c for c in (64, 128))
#: ... and the windows' relative bias in the one without windows.
BIAS_TABLES = 13 * 13 * (2 * 2 + 6 * 4 + 6 * 8)


@pytest.mark.parametrize(
    ("options", "unused", "kilo_params", "authors", "paper"),
    [
        (
            {"attention": "global", "global_tokens": 0, "gates": ()},
            TOKEN_MERGING + BIAS_TABLES, 7988, 881.4, (8.0, 0.88),
        ),
        ({"global_tokens": 0, "gates": ()}, TOKEN_MERGING, 7988, 658.3, (8.0, 0.66)),
        # The paper prints 8.8 M and 0.71 G here, which no reading of its modules gives.
        ({"gates": ()}, 0, 8993, 720.2, None),
        # The authors' formula is not known to a tenth of a million for this row; the paper's rounding is.
        ({"gates": ("local_spatial",)}, 0, 9124, None, (9.1, 0.73)),
        # The other reading of the same row; the paper prints 9.1 M.
        ({"gates": ("spatial",)}, 0, 9250, 733.1, None),
        ({}, 0, 9378, 733.2, (9.4, 0.73)),
        ({"merge_shortcut": False}, 0, 9337, 730.0, (9.3, 0.73)),
    ],
)  # fmt: skip
def test_components(options, unused, kilo_params, authors, paper):
    """The paper's table 5."""
    params, macs = counts("lightvit_tiny", **options)
    params += unused
    windows, gates = options.get("attention") != "global", options.get("gates") != ()
    macs = authors_macs(macs, options.get("global_tokens", 8), windows=windows, gates=gates)
    assert round(params / 1e3) == kilo_params
    if authors:
        assert round(macs / 1e6, 1) == authors
    if paper:
        assert (round(params / 1e6, 1), round(macs / 1e9, 2)) == paper


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_tokens": -1}, r"`global_tokens` must be an integer of at least 0.*global_tokens=-1"),
        ({"global_tokens": 2.0}, r"`global_tokens` must be an integer of at least 0.*global_tokens=2\.0"),
        ({"attention": "linear"}, r"`attention` must be one of \('local', 'global'\).*attention='linear'"),
        ({"gates": ("temporal",)}, r"`gates` must be taken from .*Received: gates=\('temporal',\)"),
        ({"gates": ("spatial", "local_spatial")}, r"only one of them be spatial.*Received"),
        ({"gates": "channel"}, r"`gates` must be taken from .*Received: gates='channel'"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        create_model("lightvit_tiny", **options)
