"""Hard-swish in both lowerings: one function, two lists of LiteRT operators; and the exact GELU."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from scipy.special import erf

from keras_effvit.layers import HardSwish, gelu, hard_swish, hard_swish_lowering

LOWERINGS = ("fused", "reassociated")
X = np.concatenate([np.linspace(-8, 8, 1001), [-3.0, 0.0, 3.0]]).astype("float32")


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_hard_swish(lowering):
    with hard_swish_lowering(lowering):
        y = np.asarray(hard_swish(X))
    np.testing.assert_allclose(y, X.astype("float64") * np.clip(X + 3.0, 0, 6) / 6, atol=2e-6)


@pytest.mark.parametrize(("dtype", "half_unit"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8), ("float32", 2.0**-24)])
def test_both_lowerings_agree_and_keep_the_dtype(dtype, half_unit):
    x = tf.cast(X, dtype)
    results = []
    for lowering in LOWERINGS:
        with hard_swish_lowering(lowering):
            y = hard_swish(x)
        assert y.dtype == x.dtype
        results.append(np.asarray(tf.cast(y, "float32")))
    # Three roundings on either side, each of at most half a unit in the last place of values below 16.
    np.testing.assert_allclose(*results, atol=6 * 8 * half_unit)


def exported_operators(lowering, tmp_path):
    """Names of the operators of a LiteRT file that holds one hard-swish, and what the file computes."""
    layer = HardSwish()

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 8), tf.float32)])
        def __call__(self, x):
            return layer(x)

    module = Module()
    with hard_swish_lowering(lowering):
        tf.saved_model.save(module, str(tmp_path), signatures=module.__call__)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    x = np.random.default_rng(0).uniform(-6, 6, (1, 4, 4, 8)).astype("float32")
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(y, x * np.clip(x + 3, 0, 6) / 6, atol=2e-6)
    return [op["op_name"] for op in interpreter._get_ops_details()]


def test_fused_exports_as_one_operator(tmp_path):
    assert exported_operators("fused", tmp_path) == ["HARD_SWISH"]


def test_reassociated_exports_as_operators_that_int8_keeps_inside_xnnpack(tmp_path):
    operators = exported_operators("reassociated", tmp_path)
    assert "HARD_SWISH" not in operators
    assert set(operators) <= {"ADD", "MUL", "RELU6"}


def test_the_lowering_ends_with_its_block():
    with pytest.raises(KeyError), hard_swish_lowering("reassociated"):
        raise KeyError
    graph = tf.function(hard_swish).get_concrete_function(tf.TensorSpec((4,))).graph
    fused = [op.type for op in graph.get_operations()]
    with hard_swish_lowering("reassociated"):
        graph = tf.function(hard_swish).get_concrete_function(tf.TensorSpec((4,))).graph
    assert fused != [op.type for op in graph.get_operations()]


def test_an_unknown_lowering_is_refused():
    with pytest.raises(ValueError, match=r"`lowering` must be one of \('fused', 'reassociated'\). Received.*'other'"):  # noqa: SIM117
        with hard_swish_lowering("other"):  # type: ignore[arg-type]
            pass


def test_gelu_is_exact():
    np.testing.assert_allclose(gelu(X), 0.5 * X * (1 + erf(X / np.sqrt(2.0))), atol=2e-6)
