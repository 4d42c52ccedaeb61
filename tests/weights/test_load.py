"""Checkpoints into models: every entry accounted for, all of it or nothing, clear words when it does not fit."""

import keras
import numpy as np
import pytest

from keras_effvit import create_backbone, create_model
from keras_effvit.weights import load_state_dict
from tests.parity import Fixture

SIZE = (64, 64, 3)


@pytest.fixture(scope="module")
def golden():
    return Fixture("sepvit_lite")


@pytest.fixture
def model():
    return create_model("sepvit_lite")


def test_reports_what_it_did(model, golden):
    weights = golden.state_dict()
    report = load_state_dict(model, weights)
    assert set(report.matched) == set(weights)
    assert report.missing == report.unexpected == report.ignored == ()
    assert report.prefix == ""
    # (1, n, 1, c) in the checkpoint, (n, c) here.
    assert [name.split(".")[-1] for name in report.reshaped] == ["win_tokens"] * 6
    assert str(report).startswith("190 entries loaded\n6 reshaped (of another rank): blocks.0.0.win_tokens, ")


def test_axes_of_every_kind_of_kernel(model, golden):
    weights = golden.state_dict()
    load_state_dict(model, weights)
    ours = {w.path: np.asarray(w) for w in model.weights}
    conv, depthwise, dense = (
        weights[f"{name}.weight"] for name in ("patch_embeds.0.proj", "pos_block.1.proj.0", "blocks.2.1.mlp.fc1")
    )
    assert ours["stage1_patch_embed/proj/kernel"][5, 1, 2, 7] == conv[7, 2, 5, 1]
    assert ours["stage2_position/proj/kernel"][2, 1, 9, 0] == depthwise[9, 0, 2, 1]
    assert ours["stage3_block2_mlp/fc1/kernel"][3, 70] == dense[70, 3]


@pytest.mark.parametrize("prefix", ["module.", "backbone."])
def test_finds_the_prefix(model, golden, prefix):
    report = load_state_dict(model, {prefix + name: value for name, value in golden.state_dict().items()})
    assert report.prefix == prefix
    assert len(report.matched) == 190
    assert f"with prefix {prefix!r}" in str(report)


def test_counters_are_ignored(model, golden):
    counter = {"bn.num_batches_tracked": np.zeros((), np.int64)}
    assert load_state_dict(model, {**golden.state_dict(), **counter}).ignored == tuple(counter)


def test_a_model_without_head_needs_no_head(golden):
    model = create_model("sepvit_lite", include_top=False)
    assert load_state_dict(model, golden.state_dict()).ignored == ("head.weight", "head.bias")


def test_the_encoder_of_a_dense_checkpoint(golden):
    """A segmentation file holds the encoder under a prefix, and other things beside it."""
    encoder = {f"backbone.{name}": value for name, value in golden.state_dict().items()}
    weights = {**encoder, "decode_head.conv.weight": np.zeros((2, 2, 1, 1), np.float32)}
    report = load_state_dict(create_backbone("sepvit_lite"), weights)
    assert "decode_head.conv.weight" in report.ignored
    assert report.unexpected == ()


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("sepvit_lite", "sepvit_lite"),
        ("lvt", "lvt"),
        ("lightvit_tiny", "lightvit_tiny"),
        ("efficientvit_b0", "efficientvit_b0"),
    ],
)
@pytest.mark.parametrize("level", ["P3", "P4"])
def test_a_pyramid_that_ends_early_ignores_the_later_stages(fixture, name, level):
    weights = Fixture(fixture).state_dict()
    shallow, whole = create_backbone(name, levels=(level,)), create_backbone(name)
    assert load_state_dict(shallow, weights).unexpected == ()
    load_state_dict(whole, weights)
    x = np.random.default_rng(0).standard_normal((1, 224, 224, 3)).astype("float32")
    np.testing.assert_array_equal(shallow(x)[level], whole(x)[level])


def test_a_deeper_checkpoint_is_no_match(golden):
    """Blocks the model does not have are not ignored, head or no head."""
    weights = golden.state_dict()
    weights["blocks.2.6.norm1.weight"] = weights["blocks.2.5.norm1.weight"]
    with pytest.raises(ValueError, match=r"Unexpected: blocks.2.6.norm1.weight"):
        load_state_dict(create_backbone("sepvit_lite"), weights)


def test_nested_in_a_users_model(golden):
    encoder = create_model("sepvit_lite", include_top=False, pooling="avg")
    image = keras.Input((224, 224, 3))
    outer = keras.Model(image, encoder(image))
    load_state_dict(outer, golden.state_dict())
    expected = golden.state_dict()["norm.bias"]
    np.testing.assert_array_equal(encoder.get_layer("norm").beta, expected)


def test_a_renamed_model_is_recognised(golden):
    assert load_state_dict(create_model("sepvit_lite", name="mine"), golden.state_dict()).missing == ()


def unchanged(model, before):
    return all(np.array_equal(x, y) for x, y in zip(before, model.get_weights(), strict=True))


def test_missing_and_unexpected_are_refused_and_nothing_changes(model, golden):
    before, weights = model.get_weights(), golden.state_dict()
    weights["surprise"] = weights.pop("norm.weight")
    with pytest.raises(ValueError, match=r"Expected 190 entries. Missing: norm.weight. Unexpected: surprise."):
        load_state_dict(model, weights)
    assert unchanged(model, before)


def test_not_strict_loads_what_there_is(model, golden):
    weights = golden.state_dict()
    weights["surprise"] = weights.pop("norm.weight")
    report = load_state_dict(model, weights, strict=False)
    assert (report.missing, report.unexpected) == (("norm.weight",), ("surprise",))
    np.testing.assert_array_equal(model.get_layer("norm").gamma, np.ones(256))
    np.testing.assert_array_equal(model.get_layer("norm").beta, weights["norm.bias"])


def test_a_wrong_shape_names_both_and_nothing_changes(model, golden):
    before, weights = model.get_weights(), golden.state_dict()
    weights["head.weight"] = weights["head.weight"][:10]
    with pytest.raises(ValueError, match=r"head.weight.*expected \(256, 1000\).*Received: \(10, 256\)"):
        load_state_dict(model, weights, strict=False, skip_head=False)
    assert unchanged(model, before)


def test_axes_are_not_reinterpreted(model, golden):
    """As many values on other axes are no match."""
    weights = golden.state_dict()
    weights["blocks.2.1.mlp.fc1.weight"] = weights["blocks.2.1.mlp.fc1.weight"].T
    with pytest.raises(ValueError, match=r"blocks.2.1.mlp.fc1.weight"):
        load_state_dict(model, weights)


def test_a_foreign_model_is_refused(golden):
    foreign = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="foreign")
    with pytest.raises(ValueError, match=r"Expected a model made by keras_effvit. Received: 'foreign'"):
        load_state_dict(foreign, golden.state_dict())
