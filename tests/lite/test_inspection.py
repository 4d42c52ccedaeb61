"""Looking into files: ours, others, and damaged ones, which must not take anybody down."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_effvit import lite
from keras_effvit.lite import LiteError, inspect
from keras_effvit.lite.child import Child
from keras_effvit.lite.delegates import gpu_refusals, nnapi_refusals
from keras_effvit.lite.flatfile import pack, unpack
from keras_effvit.lite.inspection import layer_of
from keras_effvit.lite.strip import COLOURS, OUTSIDE, draw_strip
from keras_effvit.lite.tables import inspection_lines


def foreign(function, *shapes):
    """A file of TensorFlow's own making."""
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


@pytest.fixture(scope="module")
def mixed():
    """A convolution, a step-2 slice that XNNPACK refuses, and another convolution."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 3, 4, 4)).astype(np.float32)

    def function(x):
        x = tf.nn.conv2d(x, kernel, 1, "SAME")[:, ::2, ::2]
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    return foreign(function, (1, 16, 16, 4))


def test_partitions_and_what_is_outside(mixed):
    found = inspect(mixed)
    assert [operator.name for operator in found.operators] == ["CONV_2D", "STRIDED_SLICE", "CONV_2D"]
    assert [operator.partition for operator in found.operators] == [0, None, 1]
    assert found.partitions == 2
    assert [operator.name for operator in found.outside] == ["STRIDED_SLICE"]


def test_sizes_that_are_not_known():
    found = inspect(foreign(lambda x: tf.nn.relu(tf.matmul(x, tf.ones((4, 4)))), (None, 4)))
    assert found.dynamic


def test_other_accelerators_by_rule(mixed):
    assert gpu_refusals(inspect(mixed)) == []
    five = inspect(foreign(lambda x: tf.transpose(tf.reshape(x, (2, 2, 2, 2, 2)), (1, 0, 3, 2, 4)), (32,)))
    assert {refusal.reason for refusal in gpu_refusals(five)} == {"more than 4 dimensions"}
    cumsum = gpu_refusals(inspect(foreign(lambda x: tf.cumsum(x), (8,))))
    assert [(refusal.operator, refusal.reason) for refusal in cumsum] == [
        ("CUMSUM", "the GPU delegate has no such operator")
    ]
    matmul = inspect(foreign(tf.matmul, (2, 3, 4), (2, 4, 5)))
    assert [refusal.operator for refusal in nnapi_refusals(matmul)] == ["BATCH_MATMUL"]


def test_what_a_user_sees(mixed):
    lines = inspection_lines(inspect(mixed), operators=True)
    assert any(line.split() == ["CONV_2D", "2"] for line in lines)
    assert any("2 partition(s), 1 operator(s) outside" in line for line in lines)
    assert any(line.strip().startswith("1 STRIDED_SLICE in") for line in lines)


def test_the_picture_shows_what_is_outside(mixed, tmp_path):
    from PIL import Image

    pixels = np.asarray(Image.open(draw_strip(inspect(mixed), tmp_path / "strip.png")))
    colours = ["#" + pixels[90, x].tobytes().hex() for x in (100, 600, 1100)]
    assert colours == [COLOURS[0], OUTSIDE, COLOURS[1]]


@pytest.mark.parametrize(
    ("name", "known", "layer"),
    [
        ("sepvit_lite_1/stage1_block1_attn_1/dsa_1/qkv_1/Tensordot", (), "stage1_block1_attn/dsa/qkv"),
        ("lvt_1/norm_1/Mean;lvt_1/norm_1/Mean_1", ("norm",), "norm"),
        ("functional_1/conv_2/convolution", ("conv_2",), "conv_2"),
        ("alone", (), "alone"),
        ("b0_1/stem_conv_1/norm_1/batchnorm/add_1;b0_1/stem_conv_1/conv_1/convolution", (), "stem_conv/norm"),
    ],
)
def test_layers_in_the_converters_names(name, known, layer):
    assert layer_of(name, frozenset(known)) == layer


@given(st.text())
def test_any_name_has_a_layer(name):
    assert isinstance(layer_of(name), str)


# --- Damaged files.


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100, b"TFL3", b"\x1c\x00\x00\x00TFL3" + bytes(100)])
def test_no_file_at_all(content):
    with pytest.raises(LiteError, match=r"Expected a \.tflite file"):
        inspect(content)


def test_a_truncated_file(mixed, tmp_path):
    for share in (0.1, 0.5, 0.9):
        path = tmp_path / "cut.tflite"
        path.write_bytes(mixed[: int(len(mixed) * share)])
        with pytest.raises(LiteError, match=r"Expected a \.tflite file"):
            inspect(path)


def test_a_file_newer_than_the_runtime(mixed):
    model = unpack(mixed)
    model.operatorCodes[0].version = 99
    with pytest.raises(LiteError, match=r"version '99'"):
        inspect(pack(model))


def mutants(content, count, seed):
    """Looks at copies with one to eight bytes changed or the end cut off; returns how many could be read."""
    rng, original, readable = np.random.default_rng(seed), np.frombuffer(content, np.uint8), 0
    with Child() as child:
        for number in range(count):
            mutant = original.copy()
            places = rng.integers(0, mutant.size, rng.integers(1, 9))
            mutant[places] = rng.integers(0, 256, places.size)
            end = int(rng.integers(0, mutant.size)) if number % 10 == 0 else mutant.size
            try:
                child.look(mutant[:end].tobytes(), invoke=True, patience=20)
                readable += 1
            except LiteError:
                pass
    return readable


def test_mutants_are_read_or_refused(mixed):
    assert 0 < mutants(mixed, 100, seed=0) < 100


@pytest.mark.slow
def test_many_mutants_are_read_or_refused(mixed):
    assert 0 < mutants(mixed, 2500, seed=1) < 2500


def test_the_next_file_after_a_crash(mixed):
    """A mutant that takes the child down costs the next file nothing."""
    with Child() as child:
        child._running().kill()
        child._running().wait()
        assert child.look(mixed)["partitions"] == 2


def test_facts_of_a_damaged_file(mixed):
    with pytest.raises(LiteError, match=r"Expected a \.tflite file"):
        lite.read_metadata(mixed[:100])
