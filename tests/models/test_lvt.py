"""LVT against the authors' numbers: golden outputs, and the counts of the paper's ablations."""

import re

import keras
import numpy as np
import pytest

from keras_effvit import create_backbone, create_model
from keras_effvit.layers import mix_token, unfold
from keras_effvit.models import count_macs
from keras_effvit.models.registry import count_params
from keras_effvit.weights import load_state_dict
from tests.parity import LOGITS_TOLERANCE, Fixture, check_taps, recorded

#: Tap of the golden files -> layer of ours, and whether its input or its output is meant.
TAPS = {
    r"backbone\.(\d)\.0": ("stage{0}_patch_embed", "out"),
    r"backbone\.(\d)\.1\.(\d)\.norm(\d)": ("stage{0}_block{1}_norm{2}", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.pool": ("stage{0}_block{1}_attn/logits", "in"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.attn": ("stage{0}_block{1}_attn/logits", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.unfold": ("stage{0}_block{1}_attn/values", "in"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.weight": ("stage{0}_block{1}_attn/values", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.q": ("stage{0}_block{1}_attn/q", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.ds": ("stage{0}_block{1}_attn/atrous", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.sr": ("stage{0}_block{1}_attn/reduce", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.norm": ("stage{0}_block{1}_attn/norm", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.kv": ("stage{0}_block{1}_attn/kv", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.proj:in": ("stage{0}_block{1}_attn/proj", "in"),
    r"backbone\.(\d)\.1\.(\d)\.attn\.proj": ("stage{0}_block{1}_attn/proj", "out"),
    r"backbone\.(\d)\.1\.(\d)\.attn": ("stage{0}_block{1}_attn", "out"),
    r"backbone\.(\d)\.1\.(\d)\.mlp\.depconv": ("stage{0}_block{1}_mlp/conv", "out"),
    r"backbone\.(\d)\.1\.(\d)\.mlp": ("stage{0}_block{1}_mlp", "out"),
    r"backbone\.(\d)\.1\.(\d)": ("stage{0}_block{1}_mlp_add", "out"),
    r"post_network\.(\d)": ("class_block{0}", "out"),
    r"post_network\.(\d)\.attn": ("class_block{0}/attn", "out"),
    r"post_network\.(\d)\.mlp": ("class_block{0}/mlp", "out"),
    r"norm": ("norm", "out"),
    r"head": ("heads/head", "out"),
    r"aux_head": ("heads/aux_head", "out"),
    r"out:logits": ("heads", "out"),
    r"out:stage(\d)": ("stage{0}_block2_mlp_add", "out"),
}


def lookup(calls):
    """A function from tap labels to what our layers computed; `#1` stands for the second step of the recursion."""

    def find(label):
        module, _, step = label.partition("#")
        for pattern, (path, side) in TAPS.items():
            match = re.fullmatch(pattern, module)
            if match:
                numbers = (int(n) + (0 if ".norm" in pattern and i == 2 else 1) for i, n in enumerate(match.groups()))
                inputs, outputs = calls[path.format(*numbers)][int(step or 0)]
                if module.endswith("attn.unfold"):
                    return channel_major(unfold(inputs[0]))
                return np.concatenate(inputs if side == "in" else outputs, axis=-1)
        return None

    return find


def channel_major(positions):
    """9 maps (b, a, e, c) as the authors' (b, c * 9, a * e)."""
    return np.stack(positions, axis=-1).transpose(0, 3, 4, 1, 2)


@pytest.fixture(scope="module")
def golden():
    return Fixture("lvt")


@pytest.fixture(scope="module")
def weights(golden):
    return golden.state_dict()


def loaded(weights, **options):
    model = create_model("lvt", **{"classifier_activation": None, **options})
    report = load_state_dict(model, weights)
    assert report.missing == report.unexpected == report.ignored == ()
    return model


@pytest.mark.parametrize("case", ["224", "200x264", "203x261", "256"])
def test_every_tap(golden, weights, case):
    image = golden.image(case)
    model = loaded(weights, input_shape=image.shape[1:])
    with recorded(model) as calls:
        logits = np.asarray(model(image, training=False))
    assert np.abs(logits - golden.logits(case)).max() < LOGITS_TOLERANCE
    assert check_taps(golden, case, lookup(calls)) == []


def test_a_model_of_any_size(golden, weights):
    model = loaded(weights, input_shape=(None, None, 3))
    logits = model.predict(golden.image("203x261"), verbose=0)
    assert np.abs(logits - golden.logits("203x261")).max() < LOGITS_TOLERANCE


@pytest.mark.parametrize("recursion", [1, 3, 4])
def test_other_depths_of_recursion_share_the_weights(golden, weights, recursion):
    case = f"224_R{recursion}"
    logits = np.asarray(loaded(weights, recursion=recursion)(golden.image(case)))
    assert np.abs(logits - golden.logits(case)).max() < LOGITS_TOLERANCE


def test_without_rasa():
    golden = Fixture("lvt_norasa")
    model = loaded(golden.state_dict(), attention="sra")
    with recorded(model) as calls:
        logits = np.asarray(model(golden.image("224"), training=False))
    assert np.abs(logits - golden.logits("224")).max() < LOGITS_TOLERANCE
    assert check_taps(golden, "224", lookup(calls)) == []


def test_training_with_mix_token(golden, weights, monkeypatch):
    """The authors' training outputs, with the box they were made with in place of the random one."""
    case, box = "224_train_mixtoken_bbox_1_2_4_6", (1, 2, 4, 6)
    monkeypatch.setattr(mix_token, "draw_box", lambda rows, columns, seed: keras.ops.convert_to_tensor(box, "int32"))
    model = loaded(weights, training_outputs=True, drop_path_rate=0.0)
    outputs = {name: np.asarray(value) for name, value in model(golden.image(case), training=True).items()}
    assert outputs["box"].tolist() == [list(box)] * 2
    taps = {"out:x_cls": outputs["logits"], "out:x_aux": outputs["aux_logits"]}
    assert check_taps(golden, case, taps.get) == []
    for label, (_, indices, values, _) in golden.taps(case).items():
        assert np.abs(taps[label].reshape(-1)[indices] - values).max() < LOGITS_TOLERANCE


def test_training_outputs_at_inference(golden, weights):
    """Nothing is mixed; class logits and half the largest auxiliary ones make the usual score."""
    image = golden.image("224")
    outputs = loaded(weights, training_outputs=True)(image, training=False)
    assert not np.any(outputs["box"])
    score = np.asarray(outputs["logits"]) + 0.5 * np.asarray(outputs["aux_logits"]).max(axis=1)
    assert np.abs(score - golden.logits("224")).max() < LOGITS_TOLERANCE


def test_training_outputs_in_a_training_loop():
    """Losses on two of the outputs, and prediction over several batches."""
    model = create_model("lvt", input_shape=(32, 64, 3), classes=3, attention="sra", training_outputs=True)
    model.compile("sgd", {"logits": "mse", "aux_logits": "mse", "box": None}, jit_compile=False)
    images = np.random.default_rng(0).standard_normal((4, 32, 64, 3)).astype("float32")
    history = model.fit(
        images, {"logits": np.zeros((4, 3)), "aux_logits": np.zeros((4, 2, 3))}, batch_size=2, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
    predictions = model.predict(images, batch_size=2, verbose=0)
    shapes = {name: value.shape for name, value in predictions.items()}
    assert shapes == {"logits": (4, 3), "aux_logits": (4, 2, 3), "box": (4, 4)}


def test_training_outputs_survive_saving(tmp_path):
    model = create_model("lvt", input_shape=(32, 64, 3), classes=3, attention="sra", training_outputs=True)
    model.save(tmp_path / "lvt.keras")
    again = keras.models.load_model(tmp_path / "lvt.keras")
    image = np.random.default_rng(0).standard_normal((2, 32, 64, 3)).astype("float32")
    for name, value in model(image).items():
        np.testing.assert_array_equal(again(image)[name], value)


@pytest.mark.parametrize(("case", "prefix"), [("200x264", ""), ("256", "backbone."), ("203x261", "module.")])
def test_every_tap_of_the_dense_backbone(case, prefix):
    golden = Fixture("lvt_dense")
    image = golden.image(case)
    model = create_backbone("lvt", image.shape[1:], dense=True)
    weights = {prefix + name: value for name, value in golden.state_dict().items()}
    assert load_state_dict(model, {**weights, "decode_head.conv_seg.weight": np.zeros(3)}).ignored == (
        "decode_head.conv_seg.weight",
    )
    with recorded(model) as calls:
        model(image, training=False)
    assert check_taps(golden, case, lookup(calls)) == []


def test_a_backbone_takes_its_part_of_a_classifier(golden, weights):
    report = load_state_dict(create_backbone("lvt", (64, 64, 3)), weights)
    assert len(report.matched) == 148
    assert set(report.ignored) == {name for name in weights if not name.startswith("backbone.")}


@pytest.mark.parametrize(
    ("name", "options", "params", "macs"),
    [
        ("lvt", {}, 5_521_844, 888_816_128),
        ("lvt", {"recursion": 1}, 5_521_844, 784_412_416),
        ("lvt", {"recursion": 3}, 5_521_844, 993_219_840),
        ("lvt", {"recursion": 4}, 5_521_844, 1_097_623_552),
        # Less 9 depthwise weights for every channel of six blocks, thrice at every pixel and step.
        ("lvt", {"dilations": None}, 5_513_204, 888_816_128 - 2 * 5_080_320),
        ("lvt", {"attention": "sra"}, 5_513_204, 784_412_416 - 5_080_320),
        ("lvt", {"class_attention": False}, 3_686_604, 861_803_008),
        ("lvt_large", {}, 32_175_350, 5_200_523_264),
    ],
)
def test_parameters_and_macs(name, options, params, macs):
    model = create_model(name, **options)
    assert count_params(model.trainable_weights) == params
    assert count_macs(model) == macs


@pytest.mark.parametrize(
    ("name", "side", "params", "macs"),
    [
        ("lvt", 224, 3_429_092, 861_547_008),
        ("lvt", 512, 3_429_092, 5_315_100_672),
        ("lvt_large", 224, 24_846_118, None),
    ],
)
def test_encoder_parameters_and_macs(name, side, params, macs):
    model = create_backbone(name, (side, side, 3))
    assert count_params(model.trainable_weights) == params
    assert macs is None or count_macs(model) == macs


def test_training_outputs_cost_nothing():
    model = create_model("lvt", training_outputs=True)
    assert count_params(model.trainable_weights) == 5_521_844
    assert count_macs(model) == 888_816_128


def test_where_the_parameters_are():
    """Of every block: the sums of the closed forms."""
    model = create_model("lvt")

    def params(prefix):
        return sum(int(np.prod(w.shape)) for w in model.trainable_weights if w.path.startswith(prefix))

    blocks = {"patch_embed": [9_600, 37_056, 92_640, 369_408], "block": [84_898, 154_240, 419_520, 801_536]}
    for stage in range(4):
        assert params(f"stage{stage + 1}_patch_embed") == blocks["patch_embed"][stage]
        for block in (1, 2):
            assert params(f"stage{stage + 1}_block{block}") == blocks["block"][stage]
    assert params("stage1_block1_attn") == 51_554
    assert [params(f"class_block{block}") for block in (1, 2)] == [788_992] * 2
    assert params("class_token") == 256
    assert params("norm") == 512
    assert params("heads") == 2 * 257_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recursion": 0}, r"`recursion` must be an integer from 1 to 4. Received: recursion=0"),
        ({"recursion": 5}, r"`recursion` must be an integer from 1 to 4. Received: recursion=5"),
        ({"dilations": ()}, r"`dilations` must be None or positive integers. Received: dilations=\(\)"),
        ({"dilations": (1, 0)}, r"`dilations` must be None or positive integers. Received: dilations=\(1, 0\)"),
        ({"attention": "linear"}, r"`attention` must be one of \('rasa', 'sra'\). Received: attention='linear'"),
        ({"training_outputs": True, "class_attention": False}, r"needs the auxiliary logits.*class_attention=False"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        create_model("lvt", **options)


def test_training_outputs_need_the_head():
    for build in (create_backbone, lambda name, **options: create_model(name, include_top=False, **options)):
        with pytest.raises(ValueError, match="`training_outputs=True` needs the head"):
            build("lvt", training_outputs=True)
