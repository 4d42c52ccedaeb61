"""Checkpoints of two-stage detectors, by the names and shapes that OpenMMLab's code gives them."""

import numpy as np
import pytest

from keras_effvit.tasks import create_task
from keras_effvit.weights import load_weights
from tests.parity import Fixture
from tests.torch_file import write_zip


def convolution(name, outputs, inputs, side):
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def two_stages(channels, width, hidden, classes=80):
    """Neck, proposals, boxes and masks of Mask R-CNN."""
    shapes = {}
    for level, inputs in enumerate(channels):
        shapes |= convolution(f"neck.lateral_convs.{level}.conv", width, inputs, 1)
        shapes |= convolution(f"neck.fpn_convs.{level}.conv", width, width, 3)
    shapes |= convolution("rpn_head.rpn_conv", width, width, 3)
    shapes |= convolution("rpn_head.rpn_cls", 3, width, 1)
    shapes |= convolution("rpn_head.rpn_reg", 12, width, 1)
    shapes |= linear("roi_head.bbox_head.shared_fcs.0", hidden, width * 49)
    shapes |= linear("roi_head.bbox_head.shared_fcs.1", hidden, hidden)
    shapes |= linear("roi_head.bbox_head.fc_cls", classes + 1, hidden)
    shapes |= linear("roi_head.bbox_head.fc_reg", 4 * classes, hidden)
    for number in range(4):
        shapes |= convolution(f"roi_head.mask_head.convs.{number}.conv", width, width, 3)
    shapes |= convolution("roi_head.mask_head.upsample", width, width, 2)
    return shapes | convolution("roi_head.mask_head.conv_logits", classes, width, 1)


def semantic_head(width, classes=54):
    shapes = {}
    for level in range(4):
        for number in range(max(1, level)):
            name = f"semantic_head.conv_upsample_layers.{level}.conv.{number}"
            inputs = width if number == 0 else width // 2
            shapes |= {f"{name}.conv.weight": (width // 2, inputs, 3, 3)}
            shapes |= {f"{name}.gn.{part}": (width // 2,) for part in ("weight", "bias")}
    return shapes | convolution("semantic_head.conv_logits", classes, width // 2, 1)


HEADS = {
    "sepvit_tiny_mask_rcnn": ("sepvit_t_dense", two_stages((96, 192, 384, 768), 256, 1024)),
    "lvt_panoptic_fpn": ("lvt_dense", two_stages((64, 64, 160, 256), 96, 160) | semantic_head(96)),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_detectors_checkpoint(name, tmp_path):
    """Strictly: every entry has its weight and every weight its entry."""
    backbone, shapes = HEADS[name]
    random = np.random.default_rng(0)
    state = {f"backbone.{entry}": value for entry, value in Fixture(backbone).state_dict().items()}
    state |= {entry: random.standard_normal(shape, np.float32) for entry, shape in shapes.items()}
    path = write_zip(tmp_path / "latest.pth", {"meta": {"epoch": 12}, "state_dict": state})
    model = create_task(name, input_shape=(64, 64, 3), proposals=8, most=4)
    report = load_weights(model, path)
    assert set(shapes) <= set(report.matched)
    kernel = state["roi_head.bbox_head.shared_fcs.0.weight"]
    width = kernel.shape[1] // 49
    ours = np.asarray(model.get_layer("box_head_fc1").kernel)
    np.testing.assert_array_equal(ours[2, 5, 3, 7], kernel[7, 3 * 49 + 2 * 7 + 5])
    assert ours.shape == (7, 7, width, len(kernel))
    upsample = state["roi_head.mask_head.upsample.weight"]
    np.testing.assert_array_equal(np.asarray(model.get_layer("mask_head_up").kernel)[1, 0, 2, 3], upsample[2, 3, 1, 0])
