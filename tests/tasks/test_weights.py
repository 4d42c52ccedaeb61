"""Files of dense models through the public path, and the names of their weights."""

import functools

import keras
import numpy as np
import pytest

from keras_effvit import create_backbone
from keras_effvit.tasks import (
    EfficientViTSeg,
    EfficientViTSegB,
    SegFormer,
    SemanticFPN,
    UperNet,
    create_task,
    pyramid_of,
)
from keras_effvit.tasks.efficientvit_seg_b import HeadRow
from keras_effvit.tasks.mask_rcnn import TwoStage, neck_of, two_stages
from keras_effvit.weights import CheckpointError, load_state_dict, load_weights
from keras_effvit.weights.guess import likely_family
from keras_effvit.weights.naming import namings
from tests.parity import Fixture
from tests.torch_file import write_zip

SMALL = {"input_shape": (32, 32, 3), "resize": False}


@pytest.fixture(scope="module")
def state():
    return Fixture("lvt_segformer").state_dict()


def weights_of(model):
    return {weight.path: np.array(weight) for weight in model.weights}


def test_a_training_checkpoint_of_other_classes(state, tmp_path):
    """As OpenMMLab writes it from several processes; the classifier of 150 classes stays out."""
    path = tmp_path / "latest.pth"
    write_zip(path, {"meta": {"epoch": 1}, "state_dict": {f"module.{name}": value for name, value in state.items()}})
    model = SegFormer("lvt", classes=4, **SMALL)
    before = weights_of(model)
    report = load_weights(model, path)
    assert (report.wrapper, report.prefix) == (("state_dict",), "module.")
    assert report.skipped == ("decode_head.linear_pred.weight", "decode_head.linear_pred.bias")
    after = weights_of(model)
    np.testing.assert_array_equal(after["linear_classifier/kernel"], before["linear_classifier/kernel"])
    np.testing.assert_array_equal(after["decoder_linear4/kernel"], state["decode_head.linear_c4.proj.weight"].T)
    with pytest.raises(ValueError, match=r"Shape of decode_head\.linear_pred"):
        load_weights(model, path, skip_head=False)


def test_every_entry_or_none(state, tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **{name: value for name, value in state.items() if name != "decode_head.linear_c2.proj.bias"})
    model = create_task("lvt_segformer", **SMALL)
    before = weights_of(model)
    with pytest.raises(CheckpointError, match=r"Missing: decode_head\.linear_c2\.proj\.bias\. Unexpected: none"):
        load_weights(model, path)
    np.savez(path, **{**state, "decode_head.more.weight": np.zeros(3, "float32")})
    with pytest.raises(CheckpointError, match=r"Missing: none\. Unexpected: decode_head\.more\.weight"):
        load_weights(model, path)
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_backbone_takes_its_part_of_a_segmenters_file(state, tmp_path):
    path = tmp_path / "segformer.npz"
    np.savez(path, **state)
    backbone = create_backbone("lvt", (32, 32, 3), dense=True)
    report = load_weights(backbone, path)
    assert report.prefix == "backbone."
    assert len(report.matched) == len(backbone.weights)
    assert all(name.startswith("decode_head.") for name in report.ignored)


def test_what_keras_saved(tmp_path):
    one, other = (SemanticFPN("efficientvit_b0", classes=3, **SMALL) for _ in range(2))
    for suffix in (".keras", ".weights.h5"):
        path = tmp_path / f"model{suffix}"
        one.save(path) if suffix == ".keras" else one.save_weights(path)
        report = load_weights(other, path)
        assert len(report.matched) == len(one.weights)
        for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_file_of_a_constructor(state, tmp_path):
    path = tmp_path / "segformer.npz"
    np.savez(path, **state)
    model = create_task("lvt_segformer", weights=path, **SMALL)
    kernel = weights_of(model)["linear_classifier/kernel"]
    np.testing.assert_array_equal(kernel[0, 0], state["decode_head.linear_pred.weight"][:, :, 0, 0].T)


def test_a_transposed_convolutions_axes():
    """(in, out, rows, columns) in the authors' order."""
    model = SemanticFPN("lightvit_tiny", classes=3, **SMALL)
    naming = next(naming for naming in namings(model) if naming.table)
    rng = np.random.default_rng(0)
    state = {}
    for name, target in naming.targets.items():
        shape = list(target.variable.shape)
        axes = target.torch_axes
        state[name] = rng.standard_normal([shape[axes.index(i)] for i in range(len(shape))] if axes else shape)
    load_state_dict(model, state)
    kernel = weights_of(model)["neck_up/kernel"]
    assert state["neck.up.weight"].shape == (256, 256, 2, 2)
    np.testing.assert_allclose(kernel[1, 0, 2, 3], state["neck.up.weight"][2, 3, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("backbone", ["sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_base", "efficientvit_b0"])
def test_every_weight_of_every_segmenter_has_a_name(backbone):
    features = create_backbone(backbone, (32, 32, 3), dense=True)
    assert not any(naming.table and naming.table.requires for naming in namings(features))
    for build in (
        SemanticFPN,
        functools.partial(UperNet, auxiliary=True),
        SegFormer,
        EfficientViTSeg,
        functools.partial(EfficientViTSegB, head=HeadRow(16, 2)),
    ):
        model = build(features, classes=2, resize=False)
        tables = [naming for naming in namings(model) if naming.table]
        assert tables, (backbone, build)
        assert all(len(naming.targets) == len(model.weights) for naming in tables)


def test_the_family_of_a_segmenters_file(state):
    assert likely_family(state) == "lvt"
    assert likely_family(Fixture("efficientvit_seg_b0_cityscapes").state_dict()) == "efficientvit_b"


def test_the_first_linear_layer_of_boxes():
    """OpenMMLab flattens a patch channel by channel: (c, 7, 7), where ours is (7, 7, c)."""
    width, hidden = 8, 16
    features = pyramid_of("efficientvit_b0", input_shape=(64, 64, 3))
    parts = TwoStage(3, width=width, hidden=hidden, proposals=4, most=2)
    model = keras.Model(features.image, two_stages(neck_of(features, width), features.image, parts))
    random = np.random.default_rng(0)
    kernel = random.standard_normal((hidden, width * 49)).astype("float32")
    bias = random.standard_normal(hidden).astype("float32")
    name = "roi_head.bbox_head.shared_fcs.0"
    report = load_state_dict(model, {f"{name}.weight": kernel, f"{name}.bias": bias}, strict=False)
    assert len(report.matched) == 2
    patches = random.standard_normal((5, 7, 7, width)).astype("float32")
    flat = patches.transpose(0, 3, 1, 2).reshape(5, -1)
    received = np.asarray(model.get_layer("box_head_fc1")(patches)).reshape(5, hidden)
    np.testing.assert_allclose(received, np.maximum(flat @ kernel.T + bias, 0), rtol=1e-4, atol=1e-4)
