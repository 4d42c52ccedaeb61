"""Training for integers: the rounding is tensorflow-model-optimization's, the file does what the simulation does."""

import functools
import itertools
import json
import re
import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_effvit import cli, create_model, lite
from keras_effvit.lite.comparison import file_outputs, snr_db
from keras_effvit.lite.fake_quant import FakeQuant, FakeQuantWeights
from keras_effvit.lite.graph import constants, nodes_before
from keras_effvit.lite.recipe import Rule
from keras_effvit.lite.runtime import Runner
from tests.lite.conftest import alive, converted, grouped, images, model_of, tiny

INTEGER_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
#: Of a file against its simulation, on weights that were not trained to resist rounding.
LEAST_SNR_DB = 30.0


@functools.cache
def aware(name, recipe="int8"):
    return lite.quantize_aware(model_of(name), recipe, calibration=images())


@functools.cache
def aware_file(name, recipe="int8"):
    return lite.convert(aware(name, recipe), calibration=images())


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


def test_a_divisor_is_never_rounded_to_nothing():
    quantizer = FakeQuant(kind="divisor")
    values = np.array([0.0, 1e-6, 0.5, 2.0], "float32")
    quantizer(values, training=True)
    step = 2 / 255
    np.testing.assert_allclose(quantizer(values), [step, step, round(0.5 / step) * step, 2.0], atol=1e-6)


@pytest.mark.parametrize(("largest", "step"), [(0.9, 1 / 256), (0.1, 0.1 / 255)])
def test_shares_have_the_steps_of_a_kernel_or_of_their_own_if_all_are_small(largest, step):
    quantizer = FakeQuant(kind="shares")
    values = np.array([0.0, 0.013, 0.05, largest], "float32")
    quantizer(values, training=True)
    np.testing.assert_allclose(quantizer(values), np.round(values / step) * step, atol=1e-6)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=20),
    st.sampled_from([8, 16]),
    st.booleans(),
)
def test_rounding_is_that_of_the_formula(numbers, bits, symmetric):
    values = np.array(numbers, "float32")
    quantizer = FakeQuant(bits=bits, symmetric=symmetric)
    received = keras.ops.convert_to_numpy(quantizer(values, training=True))
    low, high = min(values.min(), 0.0), max(values.max(), 1e-5, values.min() + 1e-5)
    widest = max(-low, high)
    step = widest / (2 ** (bits - 1) - 1) if symmetric or bits == 16 else (high - low) / (2**bits - 1)
    assert np.abs(received - values).max() <= 0.501 * step + 1e-5 * widest
    assert received[values == 0] == pytest.approx(0)


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


@pytest.mark.parametrize(
    "name",
    grouped(
        *("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_base", "efficientvit_b0"),
        slow=("lightvit_tiny", "efficientvit_base"),
    ),
)
def test_every_operator_of_the_recipe_rounds_its_weights(name):
    graph = lite.quantize_aware(model_of(name))
    constant = constants(graph)  # LightViT's first tokens, which no image changes
    changing = [operation for operation in graph.operations if operation.name not in constant]
    kinds = Counter(type(operation).__name__ for operation in changing)
    linear = sum(
        type(operation).__name__ == "Matmul" and len(operation._inbound_nodes[-1].arguments.args[1].shape) == 2
        for operation in changing
    )
    rounded = sum(isinstance(layer, FakeQuantWeights) for layer in graph.layers)
    assert rounded == kinds["Conv"] + kinds["DepthwiseConv"] + kinds["GroupedProduct"] + linear > 0


@pytest.mark.parametrize("name", grouped("sepvit_lite", "efficientvit_b0", slow=("sepvit_lite",)))
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
@pytest.mark.parametrize("name", grouped("lvt", "lightvit_tiny", "efficientvit_base"))
def test_the_other_families_files_do_what_their_graphs_do(name):
    file = aware_file(name)
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    assert file.parity.snr_db >= LEAST_SNR_DB


@pytest.mark.parametrize(
    "name",
    grouped("efficientvit_b0", "sepvit_lite", "efficientvit_base", slow=("sepvit_lite", "efficientvit_base")),
)
def test_full_integers_have_one_float_at_the_door(name):
    file = aware_file(name, "int8_full")
    floats = [o for o in file.inspection.operators if file.inspection.tensors[o.outputs[0]].type == "FLOAT32"]
    assert {operator.name for operator in floats} == {"DEQUANTIZE"}, "which is float by default"
    assert len(floats) == 1


@pytest.mark.parametrize("name", grouped("efficientvit_b0", "efficientvit_base", slow=("efficientvit_base",)))
def test_full_integers_do_what_their_graph_does(name):
    assert aware_file(name, "int8_full").parity.snr_db >= LEAST_SNR_DB


@pytest.mark.slow
@pytest.mark.parametrize("name", grouped("lvt", "efficientvit_b1", "sepvit_lite"))
def test_what_separates_a_deep_file_from_its_graph_is_chance(name):
    """Numbers between two steps fall to either side, and on weights that were not trained that adds up to 26 (LVT), 29
    (B1) and 30 dB (SepViT; a little more or less by the processor that ranges were measured on). The file is as close
    to the float model as the graph is: nothing in it is wrong on top.
    """
    graph, file = aware(name, "int8_full"), aware_file(name, "int8_full")
    expected = model_of(name)(images(), training=False)
    simulated = snr_db(expected, graph(images(), training=False))
    assert snr_db(expected, next(iter(file_outputs(file.content, images()).values()))) >= simulated - 1.0


def evaluate(result, known):
    """A tensor of a graph, from others of it."""
    values = dict(known)
    for node in nodes_before([result], values):
        args, kwargs = node.arguments.fill_in(values)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        values.update(zip(map(id, node.outputs), outputs, strict=True))
    return keras.ops.convert_to_numpy(values[id(result)])


def products(graph, layer, depth=0):
    """Of a layer of the graph: what its convolutions, linear layers and matmuls take, and the rounded results."""
    constant, takers, pairs = constants(graph), {}, []
    nodes = list(nodes_before(graph.outputs, {id(x): x for x in graph.inputs}))
    for node in nodes:
        takers.update((id(tensor), node) for tensor in node.input_tensors)
    for node in nodes:
        name = node.operation.name
        own = name.startswith(f"{layer}.") and name.removeprefix(f"{layer}.").count(".") == depth
        if own and type(node.operation).__name__ in ("Conv", "DepthwiseConv", "Matmul", "GroupedProduct"):
            operands = [x for x in node.arguments.args if x._keras_history.operation.name not in constant]
            end = node
            while not isinstance(end.operation, FakeQuant):
                end = takers[id(end.outputs[0])]
            pairs.append((operands, end.outputs[0]))
    return pairs


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        pytest.param("sepvit_lite", "int8", marks=[pytest.mark.slow, pytest.mark.xdist_group("sepvit_lite")]),
        pytest.param("efficientvit_b0", "int8", marks=pytest.mark.xdist_group("efficientvit_b0")),
        pytest.param("sepvit_lite", "int8_full", marks=[pytest.mark.slow, pytest.mark.xdist_group("sepvit_lite")]),
    ],
)
def test_every_operator_is_within_one_step_of_its_simulation(name, recipe):
    graph, file = aware(name, recipe), aware_file(name, recipe)
    found, runner = file.inspection, Runner(file.content, threads=2, keep_all=True)
    image = images()[:1]
    runner(image)

    def numbers(index):
        tensor = found.tensors[index]
        return (runner.tensor(index).astype("float32") - tensor.zero_point) * tensor.scale

    kinds = INTEGER_OPERATORS if recipe == "int8" else (*INTEGER_OPERATORS, "BATCH_MATMUL")
    # Variances become matmuls in a file; in the graph they are sums.
    wanted = [o for o in found.operators if (o.name in kinds and not re.search(r"norm\d?$", o.layer)) or is_conv(o)]
    checked = 0
    for layer, group in itertools.groupby(sorted(wanted, key=lambda o: o.layer), key=lambda o: o.layer):
        operators = sorted(group, key=lambda o: o.index)
        path = layer.replace("/", ".")
        # A convolution's path ends in the last layer that was fused into it.
        above = path.rpartition(".")[0]
        pairs = products(graph, path) or products(graph, above) or products(graph, above, 1)
        if len(pairs) != len(operators):
            continue
        for operator, (operands, result) in zip(operators, pairs, strict=True):
            given = [numbers(i).reshape((-1, *x.shape[1:])) for i, x in zip(operator.inputs, operands, strict=False)]
            step = found.tensors[operator.outputs[0]].scale
            known = {id(x): value.astype("float32") for x, value in zip(operands, given, strict=True)}
            expected = evaluate(result, {**known, id(graph.inputs[0]): image})
            difference = np.abs(numbers(operator.outputs[0]).reshape(expected.shape) - expected) / step
            assert difference.max() <= 1.01, (operator.name, operator.layer, difference.max())
            checked += 1
    assert checked >= 0.9 * len(wanted), (checked, len(wanted))


def is_conv(operator):
    return operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D")


# Training -------------------------------------------------------------------------------------------------------------


def test_training_saving_and_converting_go_together(tmp_path):
    model = tiny()
    graph = lite.quantize_aware(model)
    with pytest.raises(lite.LiteError, match="nothing has set"):
        lite.convert(graph)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    graph.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    before = [np.asarray(weight) for weight in graph.non_trainable_variables if "moving" in weight.name]
    pictures, labels = images(6, 32), np.array([0, 1, 2, 0, 1, 2])
    history = graph.fit(pictures, labels, batch_size=6, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    after = [np.asarray(weight) for weight in graph.non_trainable_variables if "moving" in weight.name]
    assert before
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True)), "statistics are frozen"

    graph.save(tmp_path / "aware.keras")
    loaded = keras.models.load_model(tmp_path / "aware.keras")
    np.testing.assert_array_equal(loaded(pictures, training=False), graph(pictures, training=False))
    file = lite.convert(loaded, calibration=pictures)
    assert file.manifest["precision"] == "int8"
    assert file.parity.agreement == 1.0
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    assert cli.main(["convert", str(tmp_path / "aware.keras"), "-o", str(tmp_path / "aware.tflite")]) == 0
    assert lite.read_metadata(tmp_path / "aware.tflite")["precision"] == "int8"


def test_images_of_a_folder_are_scaled_once(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(tmp_path / f"{number}.png")
    for inside in (False, True):
        graph = lite.quantize_aware(tiny(pixels=inside), calibration=tmp_path)
        first = graph.get_layer("stem.conv.conv.operand_0")
        # From -mean / std, about -2.1, to (1 - mean) / std, about 2.6: scaled twice, all would be below 0.
        assert (float(first.low), float(first.high)) == pytest.approx((-2.1, 2.6), abs=0.1)
        file = lite.convert(graph, calibration=tmp_path)
        assert (file.manifest["preprocessing"]["mean"] is None) == inside
        assert file.parity.snr_db > 20


def test_training_for_full_integers_learns():
    graph = lite.quantize_aware(tiny(), "int8_full", calibration=images(6, 32))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    graph.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    pictures, labels = images(6, 32), np.array([0, 1, 2, 0, 1, 2])
    history = graph.fit(pictures, labels, batch_size=6, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["int8", "int8_full"])
def test_a_whole_model_learns(recipe):
    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), classes=3, classifier_activation=None))
    graph = lite.quantize_aware(model, recipe, calibration=images(6, 64))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    graph.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    pictures, labels = images(6, 64), np.array([0, 1, 2, 0, 1, 2])
    history = graph.fit(pictures, labels, batch_size=6, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


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
    anysize = create_model("efficientvit_b0", input_shape=(None, None, 3))
    with pytest.raises(lite.LiteError, match="build the model for one size"):
        lite.quantize_aware(anysize)
    image = keras.Input((8, 8, 3))
    unknown = keras.Model(image, keras.ops.log(keras.layers.Conv2D(4, 1)(image)))
    with pytest.raises(lite.LiteError, match="Received: Log in"):
        lite.quantize_aware(unknown, "int8_full")
