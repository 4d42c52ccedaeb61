"""The lowerings: one function, two lists of LiteRT operators; and the exact GELU."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from scipy.special import erf

from keras_effvit.layers import GroupedLinear, HardSwish, gelu, hard_swish, lowering
from keras_effvit.layers.lowerings import chosen

LOWERINGS = ("fused", "reassociated")
X = np.concatenate([np.linspace(-8, 8, 1001), [-3.0, 0.0, 3.0]]).astype("float32")


@pytest.mark.parametrize("spelling", LOWERINGS)
def test_hard_swish(spelling):
    with lowering(hard_swish=spelling):
        y = np.asarray(hard_swish(X))
    np.testing.assert_allclose(y, X.astype("float64") * np.clip(X + 3.0, 0, 6) / 6, atol=2e-6)


@pytest.mark.parametrize(("dtype", "half_unit"), [("float16", 2.0**-11), ("bfloat16", 2.0**-8), ("float32", 2.0**-24)])
def test_both_lowerings_agree_and_keep_the_dtype(dtype, half_unit):
    x = tf.cast(X, dtype)
    results = []
    for spelling in LOWERINGS:
        with lowering(hard_swish=spelling):
            y = hard_swish(x)
        assert y.dtype == x.dtype
        results.append(np.asarray(tf.cast(y, "float32")))
    # Three roundings on either side, each of at most half a unit in the last place of values below 16.
    np.testing.assert_allclose(*results, atol=6 * 8 * half_unit)


def exported_operators(layer, expected, tmp_path, **spellings):
    """Names of the operators of a LiteRT file that holds one layer, after a look at what the file computes."""

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.variables_of_layer = [weight.value for weight in layer.weights]

        @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 8), tf.float32)])
        def __call__(self, x):
            return layer(x)

    x = np.random.default_rng(0).uniform(-6, 6, (1, 4, 4, 8)).astype("float32")
    layer(x)
    module = Module()
    with lowering(**spellings):
        tf.saved_model.save(module, str(tmp_path), signatures=module.__call__)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    y = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(y, expected(x), atol=1e-5)
    return [op["op_name"] for op in interpreter._get_ops_details()]


def exported_hard_swish(spelling, tmp_path):
    def expected(x):
        return x * np.clip(x + 3, 0, 6) / 6

    return exported_operators(HardSwish(), expected, tmp_path, hard_swish=spelling)


def test_fused_exports_as_one_operator(tmp_path):
    assert exported_hard_swish("fused", tmp_path) == ["HARD_SWISH"]


def test_reassociated_exports_as_operators_that_int8_keeps_inside_xnnpack(tmp_path):
    operators = exported_hard_swish("reassociated", tmp_path)
    assert "HARD_SWISH" not in operators
    assert set(operators) <= {"ADD", "MUL", "RELU6"}


@pytest.mark.parametrize(("spelling", "operator"), [("matmul", "BATCH_MATMUL"), ("convolution", "CONV_2D")])
def test_grouped_linear_exports_as_it_is_asked(spelling, operator, tmp_path):
    layer = GroupedLinear(4)

    def expected(x):
        kernel = np.asarray(layer.kernel)[0, 0]
        return np.concatenate([x[..., :4] @ kernel[:, :4], x[..., 4:] @ kernel[:, 4:]], axis=-1)

    operators = exported_operators(layer, expected, tmp_path, grouped=spelling)
    assert operators.count(operator) == 1
    assert set(operators) <= {operator, "RESHAPE", "TRANSPOSE"}


def test_the_lowering_ends_with_its_block():
    with pytest.raises(KeyError), lowering(hard_swish="reassociated"):
        raise KeyError
    graph = tf.function(hard_swish).get_concrete_function(tf.TensorSpec((4,))).graph
    fused = [op.type for op in graph.get_operations()]
    with lowering(hard_swish="reassociated"):
        graph = tf.function(hard_swish).get_concrete_function(tf.TensorSpec((4,))).graph
    assert fused != [op.type for op in graph.get_operations()]


def test_lowerings_nest():
    with lowering(grouped="convolution"), lowering(hard_swish="reassociated"):
        assert (chosen("grouped"), chosen("hard_swish")) == ("convolution", "reassociated")
    assert (chosen("grouped"), chosen("hard_swish")) == ("matmul", "fused")


@pytest.mark.parametrize("spelling", [{"hard_swish": "other"}, {"softmax": "fused"}])
def test_an_unknown_lowering_is_refused(spelling):
    with pytest.raises(ValueError, match=r"`lowering` takes any of .*Received: "), lowering(**spelling):
        pass


def test_gelu_is_exact():
    np.testing.assert_allclose(gelu(X), 0.5 * X * (1 + erf(X / np.sqrt(2.0))), atol=2e-6)
