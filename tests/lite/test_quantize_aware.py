"""Training for integers: the rounding is tensorflow-model-optimization's, the file does what the simulation does."""

import functools
import json
import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import pytest

from keras_effvit import create_model, lite
from keras_effvit.lite.fake_quant import FakeQuant, FakeQuantWeights
from keras_effvit.lite.graph import nodes_before
from keras_effvit.lite.recipe import Rule
from keras_effvit.lite.runtime import Runner
from tests.lite.conftest import alive, converted, images, model_of

INTEGER_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
#: Of a file against its simulation, on weights that were not trained to resist rounding.
LEAST_SNR_DB = 30.0


@functools.cache
def aware(name):
    return lite.quantize_aware(model_of(name), calibration=images())


@functools.cache
def aware_file(name):
    return lite.convert(aware(name), calibration=images())


# The quantizers, against tensorflow-model-optimization's --------------------------------------------------------------

TFMOT = """
import json, os, sys
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
import tensorflow as tf

quantizers = tfmot.quantization.keras.quantizers
values = np.random.default_rng(0).normal(0.3, 2, (5, 4, 6)).astype("float32")
host = tf_keras.layers.Layer()
average = quantizers.MovingAverageQuantizer(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
variables = average.build(values[0].shape, "activation", host)
# tfmot starts at +-6; start where ours does, at the first batch.
variables["min_var"].assign(min(0.0, values[0].min()))
variables["max_var"].assign(max(0.0, values[0].max()))
averaged = [average(tf.constant(x), True, variables).numpy().tolist() for x in values[1:]]
last = quantizers.LastValueQuantizer(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)
kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 5, 7)).astype("float32")
state = last.build(tf.TensorShape(kernel.shape), "weight", host)
rounded = last(tf.constant(kernel), True, state).numpy().tolist()
print(json.dumps({"averaged": averaged, "rounded": rounded}))
"""


@functools.cache
def tfmot():
    """What tfmot makes of the same numbers, in a process of its own: it changes what `tf.keras` is."""
    done = subprocess.run([sys.executable, "-c", TFMOT], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def test_activations_round_as_in_tfmot():
    values = np.random.default_rng(0).normal(0.3, 2, (5, 4, 6)).astype("float32")
    quantizer = FakeQuant(momentum=0.999)  # tfmot's
    quantizer(values[0], training=True)
    received = [keras.ops.convert_to_numpy(quantizer(x, training=True)) for x in values[1:]]
    np.testing.assert_allclose(received, tfmot()["averaged"], atol=1e-5)


def test_weights_round_as_in_tfmot():
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 5, 7)).astype("float32")
    np.testing.assert_allclose(FakeQuantWeights((3,))(kernel), tfmot()["rounded"], atol=1e-6)


def test_a_symmetric_range_has_its_zero_in_the_middle():
    quantizer = FakeQuant(symmetric=True)
    values = np.array([-3.0, 0.0, 1.0, 2.0], "float32")
    quantizer(values, training=True)
    step = 3 / 127
    np.testing.assert_allclose(quantizer(values), np.round(values / step) * step, atol=1e-6)


def test_gradients_pass_inside_the_range_only():
    import tensorflow as tf

    quantizer = FakeQuant()
    quantizer(np.array([-1.0, 1.0], "float32"), training=True)
    values = tf.constant([-2.0, -0.5, 0.7, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(quantizer(values))
    np.testing.assert_array_equal(tape.gradient(total, values), [0, 1, 1, 0])


# The graph ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_base", "efficientvit_b0"])
def test_every_operator_of_the_recipe_rounds_its_weights(name):
    graph = lite.quantize_aware(model_of(name))
    rounded = sum(isinstance(layer, FakeQuantWeights) for layer in graph.layers)
    kinds = Counter(type(operation).__name__ for operation in graph.operations)
    linear = sum(
        1
        for operation in graph.operations
        if type(operation).__name__ == "Matmul" and len(operation._inbound_nodes[-1].arguments.args[1].shape) == 2
    )
    assert rounded == kinds["Conv"] + kinds["DepthwiseConv"] + kinds["GroupedProduct"] + linear > 0


@pytest.mark.parametrize("name", ["sepvit_lite", "efficientvit_b0"])
def test_the_file_is_that_of_conversion_and_does_what_the_graph_does(name):
    file, quantized = aware_file(name), converted(name, "int8")
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    kinds = {*INTEGER_OPERATORS, "SOFTMAX", "GELU", "HARD_SWISH", "BATCH_MATMUL", "DIV"}
    assert {k: v for k, v in file.inspection.counts().items() if k in kinds} == {
        k: v for k, v in quantized.inspection.counts().items() if k in kinds
    }
    for operator in file.inspection.operators:
        if operator.name in INTEGER_OPERATORS:
            types = {file.inspection.tensors[index].type for index in (*operator.inputs[:2], *operator.outputs)}
            assert types == {"INT8"}, operator
    assert file.parity.snr_db >= LEAST_SNR_DB
    assert file.manifest["calibration"]["method"] == "learnt"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lvt", "lightvit_tiny", "efficientvit_base"])
def test_the_other_families_files_do_what_their_graphs_do(name):
    file = aware_file(name)
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    assert file.parity.snr_db >= LEAST_SNR_DB - 1


def evaluate(result, known):
    """A tensor of a graph, from others of it."""
    values = dict(known)
    for node in nodes_before([result], values):
        args, kwargs = node.arguments.fill_in(values)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        values.update(zip(map(id, node.outputs), outputs, strict=True))
    return keras.ops.convert_to_numpy(values[id(result)])


def simulated(graph, layer):
    """Of a layer of the graph that rounds once: its operand, and the rounded result."""
    inside = [o for o in graph.operations if o.name.rpartition(".")[0] == layer or o.name.startswith(f"{layer}.")]
    products = [o for o in inside if type(o).__name__ in ("Conv", "DepthwiseConv", "Matmul", "GroupedProduct")]
    results = [o for o in inside if isinstance(o, FakeQuant) and o.name.endswith(".result")]
    if len(products) != 1 or len(results) != 1:
        return None
    return products[0]._inbound_nodes[-1].arguments.args[0], results[0].output


@pytest.mark.parametrize("name", ["sepvit_lite", "efficientvit_b0"])
def test_every_operator_is_within_one_step_of_its_simulation(name):
    graph, file = aware(name), aware_file(name)
    found, runner = file.inspection, Runner(file.content, threads=2, keep_all=True)
    image = images()[:1]
    runner(image)

    def numbers(index):
        tensor = found.tensors[index]
        return (runner.tensor(index).astype("float32") - tensor.zero_point) * tensor.scale

    checked = 0
    for operator in found.operators:
        # A convolution's path ends in the last layer that was fused into it.
        layer = operator.layer.replace("/", ".")
        pair = None
        if operator.name in INTEGER_OPERATORS:
            pair = simulated(graph, layer) or simulated(graph, layer.rpartition(".")[0])
        if pair is None:
            continue
        operand, result = pair
        given, step = numbers(operator.inputs[0]), found.tensors[operator.outputs[0]].scale
        given = given.reshape((-1, *operand.shape[1:])).astype("float32")
        expected = evaluate(result, {id(operand): given, id(graph.inputs[0]): image})
        difference = np.abs(numbers(operator.outputs[0]).reshape(expected.shape) - expected) / step
        assert difference.max() <= 1.01, (operator.layer, difference.max())
        checked += 1
    wanted = sum(operator.name in INTEGER_OPERATORS for operator in found.operators)
    assert checked >= 0.9 * wanted, (checked, wanted)


# Training -------------------------------------------------------------------------------------------------------------


def test_training_saving_and_converting_go_together(tmp_path):
    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), classes=3, classifier_activation=None))
    graph = lite.quantize_aware(model)
    with pytest.raises(lite.LiteError, match="nothing has set"):
        lite.convert(graph)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    graph.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    before = [np.asarray(weight) for weight in graph.non_trainable_variables if "moving" in weight.name]
    pictures, labels = images(6, 64), np.array([0, 1, 2, 0, 1, 2])
    history = graph.fit(pictures, labels, batch_size=6, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    after = [np.asarray(weight) for weight in graph.non_trainable_variables if "moving" in weight.name]
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True)), "statistics are frozen"

    graph.save(tmp_path / "aware.keras")
    loaded = keras.models.load_model(tmp_path / "aware.keras")
    np.testing.assert_array_equal(loaded(pictures, training=False), graph(pictures, training=False))
    file = lite.convert(loaded, calibration=pictures)
    assert file.manifest["precision"] == "int8"
    assert file.parity.agreement == 1.0
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


def test_a_file_of_another_precision_is_refused():
    with pytest.raises(lite.LiteError, match=r"trained for int8.*'float16'"):
        lite.convert(aware("efficientvit_b0"), "float16")


def test_layers_that_the_recipe_leaves_in_float_do_not_round():
    recipe = lite.load_recipe("int8").with_islands(["stage4", "^head"])
    graph = lite.quantize_aware(model_of("efficientvit_b0"), recipe)
    quantizers = [layer.name for layer in graph.layers if isinstance(layer, (FakeQuant, FakeQuantWeights))]
    assert quantizers
    assert not [name for name in quantizers if name.startswith(("stage4", "head"))]


def test_what_cannot_be_simulated_is_refused():
    model = model_of("efficientvit_b0")
    with pytest.raises(lite.LiteError, match="quantises something"):
        lite.quantize_aware(model, "float32")
    wide = lite.Recipe("wide", "", (Rule(("CONV_2D",), "static", activation_bits=16),))
    with pytest.raises(lite.LiteError, match="8 bits"):
        lite.quantize_aware(model, wide)
