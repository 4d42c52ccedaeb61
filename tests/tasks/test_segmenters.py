"""What every segmenter promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_effvit import create_backbone
from keras_effvit.layers import PaddedConv2D
from keras_effvit.tasks import (
    EfficientViTSeg,
    EfficientViTSegB,
    SegFormer,
    SemanticFPN,
    UperNet,
    create_task,
    list_tasks,
    pyramid_of,
    task_row,
)
from keras_effvit.tasks.efficientvit_seg_b import HeadRow
from tests.lite.conftest import alive

#: Not square, and no multiple of 32.
SHAPE = (40, 72, 3)
STRIDES = {SemanticFPN: 4, UperNet: 4, SegFormer: 4, EfficientViTSeg: 8, EfficientViTSegB: 8}

#: Of the largest logit: the rounding of float32 in sums of another order.
RELATIVE = 1e-5

every_segmenter = pytest.mark.parametrize("build", STRIDES, ids=lambda build: build.__name__)


def build_on_convolutions(build, shape=SHAPE, **options):
    """A segmenter on four convolutions, for what does not depend on the backbone."""
    x, maps = keras.Input(shape), {}
    image = x
    for level, strides in (("P2", 4), ("P3", 2), ("P4", 2), ("P5", 2)):
        x = maps[level] = PaddedConv2D(4, 2 * strides - 1, strides=strides, name=f"stage_{level}")(x)
    if build is EfficientViTSegB:
        options["head"] = HeadRow(8, 1)
    return build(keras.Model(image, maps), classes=3, **options)


def pixels(shape=SHAPE):
    return np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")


def test_a_lighter_decoder():
    """By the definition: four linear layers, a merging convolution with its normalisation, and a classifier."""
    width, classes = 6, 3
    counts = {
        channels: build_on_convolutions(SegFormer, channels=channels).count_params() for channels in (width, 2 * width)
    }
    merge, linears, head = 4 * width**2, 4 * (4 + 1) * width, (width + 1) * classes
    decoder = linears + merge + 4 * width + head  # a normalisation has four numbers a channel
    double = 2 * linears + 4 * merge + 8 * width + (2 * width + 1) * classes
    assert counts[2 * width] - counts[width] == double - decoder
    with pytest.raises(ValueError, match=r"`channels` must be at least 1. Received: channels=0"):
        build_on_convolutions(SegFormer, channels=0)


@every_segmenter
def test_logits_at_the_stride_of_the_head_and_of_the_image(build):
    model = alive(build_on_convolutions(build, resize=False))
    sized = build_on_convolutions(build)
    sized.set_weights(model.get_weights())
    logits, stride = np.asarray(model(pixels())), STRIDES[build]
    assert logits.shape == (2, -(-SHAPE[0] // stride), -(-SHAPE[1] // stride), 3)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    full = np.asarray(sized(pixels()))
    assert full.shape == (2, *SHAPE[:2], 3)
    if build is not EfficientViTSegB:  # whose bicubic resize has a test of its own
        expected = tf.image.resize(logits, SHAPE[:2])
        np.testing.assert_allclose(full, expected, atol=RELATIVE * np.abs(logits).max())


@every_segmenter
def test_one_model_for_every_size(build):
    fixed = alive(build_on_convolutions(build))
    open_sized = build_on_convolutions(build, (None, None, 3))
    open_sized.set_weights(fixed.get_weights())
    expected = np.asarray(fixed(pixels()))
    np.testing.assert_allclose(
        open_sized.predict(pixels(), verbose=0), expected, atol=RELATIVE * np.abs(expected).max()
    )
    # The second size makes Keras trace the model for sizes it does not know.
    for shape in ((64, 32, 3), (33, 50, 3)):
        expected = np.asarray(open_sized(pixels(shape)))
        predicted = open_sized.predict(pixels(shape), verbose=0)
        np.testing.assert_allclose(predicted, expected, atol=RELATIVE * np.abs(expected).max())


@every_segmenter
def test_saved_and_loaded(build, tmp_path):
    model = alive(build_on_convolutions(build))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(pixels()), model(pixels()))


def test_half_precision_leaves_logits_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = SemanticFPN("efficientvit_b0", classes=3, input_shape=SHAPE)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model(pixels()).dtype == "float32"
    assert model.get_layer("decoder_sum").compute_dtype == "bfloat16"


def test_a_backbone_that_is_built_already_lends_its_layers():
    backbone = create_backbone("lvt", SHAPE)
    model = SegFormer(backbone, classes=3)
    assert model.get_layer("stage1_block1_mlp") is backbone.get_layer("stage1_block1_mlp")
    with pytest.raises(ValueError, match=r"built already has its options\. Received: \['input_shape', 'recursion'\]"):
        SegFormer(backbone, input_shape=SHAPE, recursion=3)


def test_options_reach_the_backbone():
    model = SegFormer("lvt", classes=3, input_shape=SHAPE, recursion=3, include_preprocessing=True)
    assert model.get_layer("stage2_block1_attn").recursion == 3
    assert model.layers[1].name == "preprocessing"
    with pytest.raises(ValueError, match=r"got unexpected argument\(s\) \['windows'\]"):
        SegFormer("lvt", windows=3)


def test_the_second_head_is_trained_too():
    model = UperNet("efficientvit_b0", classes=3, input_shape=SHAPE, auxiliary=True)
    outputs = model(pixels())
    assert {name: tuple(x.shape) for name, x in outputs.items()} == {
        "logits": (2, *SHAPE[:2], 3),
        "auxiliary": (2, *SHAPE[:2], 3),
    }


def test_gradients_reach_every_weight():
    model = alive(SemanticFPN("lvt", classes=3, input_shape=SHAPE))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(pixels(), training=True)))
    gradients = tape.gradient(loss, model.trainable_weights)
    dead = [w.path for w, g in zip(model.trainable_weights, gradients, strict=True) if g is None]
    assert dead == []


@pytest.mark.parametrize("classes", [0, -1, 2.5, None])
@every_segmenter
def test_wrong_classes(build, classes):
    with pytest.raises(ValueError, match=r"`classes` must be a positive integer\. Received: classes="):
        build(classes=classes)


def test_wrong_backbones():
    with pytest.raises(ValueError, match=r"with the maps \['P2'\]\. Received: \['P3'\]"):
        pyramid_of(create_backbone("lvt", SHAPE, ("P3",)), ("P2",))
    classifier = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()], name="sequential")
    with pytest.raises(ValueError, match=r"a dict of maps\. Received: a Sequential, sequential"):
        pyramid_of(classifier)
    with pytest.raises(ValueError, match=r"`head` is known of .* only\. Received: head=None, a backbone 'lvt'"):
        EfficientViTSegB("lvt", input_shape=SHAPE)


def test_the_catalogue():
    assert list_tasks("lvt_*")[0] == "lvt_segformer"
    assert task_row("efficientvit_seg_b1_ade20k").params_m == 4.8
    model = create_task("lvt_segformer", classes=2, input_shape=SHAPE, resize=False)
    assert (model.name, model.output_shape) == ("lvt_segformer", (None, 10, 18, 2))
    with pytest.raises(ValueError, match=r"Unknown dense model\. Expected one of \['sepvit.*Received: 'unet'"):
        create_task("unet")
