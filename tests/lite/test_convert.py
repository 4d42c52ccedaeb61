"""Files that are one XNNPACK partition and calculate what Keras does, by the LiteRT runtime's own account."""

import json
import math
import os
import stat
from dataclasses import replace

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from keras_effvit import create_backbone, create_model, layers, list_models, lite
from keras_effvit.lite import LiteError
from keras_effvit.lite.calibration import calibrate
from keras_effvit.lite.comparison import snr_db
from keras_effvit.lite.exporting import export_float, output_names
from keras_effvit.lite.flatfile import pack, unpack
from keras_effvit.lite.inspection import inspect
from keras_effvit.lite.quantization import quantize
from keras_effvit.models import lightvit
from keras_effvit.models.assemble import DEFAULTS, assemble
from tests.lite.conftest import alive, convert, converted, exported, grouped, images, model_of

FAMILIES = ("efficientvit_b0", "sepvit_lite", "lightvit_tiny", "lvt")
PRECISIONS = ("float32", "float16", "dynamic", "int8")

every_family = pytest.mark.parametrize("name", grouped(*FAMILIES))


def run(content, image, *, delegate=True):
    """The plain runtime, used as an app uses it."""
    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    return interpreter.get_signature_runner("serving_default")(image=image)


def partitions(content):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return sum(node["op_name"] == "DELEGATE" for node in interpreter._get_ops_details())


@every_family
@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_partition_and_nothing_outside(name, precision):
    file = converted(name, precision)
    assert partitions(file.content) == file.inspection.partitions == 1
    assert file.inspection.outside == ()
    assert file.inspection.custom == file.inspection.dynamic == ()
    assert file.inspection.highest_rank <= 4


@every_family
def test_float_files_calculate_what_keras_does(name):
    image = images()[:1]
    expected = np.asarray(model_of(name)(image))
    for delegate in (True, False):
        (logits,) = run(converted(name, "float32").content, image, delegate=delegate).values()
        np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


@every_family
@pytest.mark.parametrize(("precision", "least_db"), [("float16", 50), ("dynamic", 20), ("int8", 20)])
def test_quantised_files_come_close(name, precision, least_db):
    image = images()[-1:]
    expected = np.asarray(model_of(name)(image), np.float64)
    (logits,) = run(converted(name, precision).content, image).values()
    assert 10 * math.log10(np.square(expected).sum() / np.square(expected - logits).sum()) >= least_db
    assert converted(name, precision).parity.snr_db >= least_db


@pytest.mark.slow
@pytest.mark.parametrize("name", grouped(*list_models()))
def test_the_whole_zoo(name):
    """All precisions at 224, and float32 on a map that is not square."""
    content = exported(name)
    found = inspect(content)
    ranges = calibrate(content, found, images(2))
    for precision in PRECISIONS:
        recipe = lite.load_recipe(precision)
        file = inspect(quantize(content, found, recipe, ranges))
        assert (precision, file.partitions, file.outside) == (precision, 1, ())
    wide = inspect(export_float(create_model(name, input_shape=(256, 320, 3), classifier_activation=None)))
    assert (wide.partitions, wide.outside, wide.highest_rank) == (1, (), 4)


def test_a_sequential_model():
    stack = [keras.Input((32, 32, 3)), layers.ConvNormAct(8, 3, strides=2), keras.layers.GlobalAveragePooling2D()]
    model = alive(keras.Sequential(stack, name="stack"))
    file = lite.convert(model, "float32")
    assert file.inspection.partitions == 1
    image = images(side=32)[:1]
    (features,) = run(file.content, image).values()
    np.testing.assert_allclose(features, model(image), atol=1e-5)
    assert any("conv" in operator.layer for operator in file.inspection.operators)


class Counting(keras.layers.Layer):
    calls = 0

    def call(self, inputs):
        self.calls += 1
        return 2 * inputs


def test_folded_normalisation_is_exact_on_every_machine():
    """All processors round a division and a root alike; TensorFlow's reciprocal root is an estimate of each."""
    image = keras.Input((8, 8, 16))
    layer = layers.ConvNormAct(512, name="conv")
    model = alive(keras.Model(image, layer(image)))
    assert layer.norm is not None
    gamma, variance = np.asarray(layer.norm.gamma), np.asarray(layer.norm.moving_variance)
    factor = gamma * np.sqrt(np.float32(1) / (variance + np.float32(1e-5)))
    expected = (np.asarray(layer.conv.kernel) * factor).transpose(3, 0, 1, 2)
    interpreter = Interpreter(model_content=export_float(model), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    [kernel] = [
        interpreter.get_tensor(each["index"])
        for each in interpreter.get_tensor_details()
        if list(each["shape"]) == [512, 1, 1, 16]
    ]
    np.testing.assert_array_equal(kernel, expected)


def test_exporting_runs_through_a_model_once():
    """Keras' own export does so five times, which is most of the time that a conversion takes."""
    image = keras.Input((8, 8, 3))
    counting = Counting()
    model = keras.Model(image, keras.layers.Flatten()(counting(image)))
    counting.calls = 0
    export_float(model)
    assert counting.calls == 1


class Opaque(keras.Model):
    def call(self, image):
        return keras.ops.mean(image, axis=(1, 2))


@pytest.mark.parametrize("model", [keras.Sequential([keras.layers.Dense(2)], name="open"), Opaque(name="opaque")])
def test_a_model_that_does_not_know_its_inputs(model):
    with pytest.raises(LiteError, match=f"Expected a functional model, or a sequential one.* Received: {model.name}"):
        lite.convert(model, "float32")


# --- What is in the files.


#: Families whose layers run once; LightViT's see pixels and tokens, LVT's recur.
CALLED_ONCE = ("efficientvit_b0", "sepvit_lite")


def kinds(model):
    """How many convolutions a Keras model has, by kind, and linear layers."""
    counts = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0, "FULLY_CONNECTED": 0}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            counts["DEPTHWISE_CONV_2D"] += 1
        elif isinstance(layer, (keras.layers.Conv2D, layers.GroupedLinear)):
            counts["CONV_2D"] += 1
        elif isinstance(layer, keras.layers.Dense):
            counts["FULLY_CONNECTED"] += 1
    return counts


@every_family
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_linear_layer_is_one_operator_and_nothing_else_is_left(name, precision):
    """A converter that stops folding normalisations or fusing dense layers is caught here."""
    counts = converted(name, precision).inspection.counts()
    layers_of = kinds(model_of(name))
    if name in CALLED_ONCE:
        for operator, expected in layers_of.items():
            assert counts[operator] == expected, operator
    # Convolutions of one pixel and linear layers are the same thing, and the converter's to choose between.
    assert sum(counts[operator] for operator in layers_of) >= sum(layers_of.values())
    allowed = {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "ADD", "SUB", "MUL", "DIV", "MEAN", "SUM"),
        *("RSQRT", "SOFTMAX", "GELU", "HARD_SWISH", "LOGISTIC", "RELU", "RESHAPE", "TRANSPOSE", "CONCATENATION"),
        *("SPLIT", "STRIDED_SLICE", "SLICE", "PAD", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "AVERAGE_POOL_2D"),
        *("QUANTIZE", "DEQUANTIZE", "REDUCE_MAX", "MAX_POOL_2D"),
    }
    assert set(counts) <= allowed


@pytest.mark.xdist_group("sepvit_lite")
def test_nothing_is_cut_where_nothing_was_padded():
    """At 224 every map is whole windows: the only slices part the token of a window from its pixels."""
    counts = converted("sepvit_lite", "float32").inspection.counts()
    tokens = sum(weight.name == "token" for weight in model_of("sepvit_lite").weights)
    assert counts["STRIDED_SLICE"] + counts["SLICE"] == 2 * tokens


@every_family
def test_int8_files_hold_convolutions_and_linear_layers_in_int8(name):
    file = converted(name, "int8").inspection
    for operator in file.operators:
        types = [file.tensors[index].type for index in (*operator.inputs[:2], *operator.outputs)]
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            assert types == ["INT8", "INT8", "INT8"], operator
            kernel = file.tensors[operator.inputs[1]]
            outputs = kernel.shape[-1] if operator.name == "DEPTHWISE_CONV_2D" else kernel.shape[0]
            assert kernel.channels == outputs, operator
    assert {operator.name for operator in file.islands} <= {
        *("BATCH_MATMUL", "ADD", "SUB", "MUL", "DIV", "MEAN", "SUM", "RSQRT", "SOFTMAX", "GELU", "HARD_SWISH", "PAD"),
        *("LOGISTIC", "RELU", "RESHAPE", "TRANSPOSE", "CONCATENATION", "SPLIT", "STRIDED_SLICE", "SLICE"),
        *("DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "AVERAGE_POOL_2D", "REDUCE_MAX", "MAX_POOL_2D"),
    }
    assert file.bytes < 0.45 * converted(name, "float32").inspection.bytes


def test_operators_name_their_keras_layers(small):
    names = {layer.name for layer in model_of("efficientvit_b0", 64).layers}
    found = [operator.layer.split("/")[0] for operator in small.inspection.operators]
    assert set(found[:-1]) <= names
    assert found[-1] == "logits"  # an output bears the signature's name
    by_layer = {operator.layer: operator.name for operator in small.inspection.operators}
    assert by_layer["stage3_block1_attn/aggregate_depth"] == "DEPTHWISE_CONV_2D"
    assert by_layer["stage3_down/depth"] == "HARD_SWISH"


def test_constants_start_where_kernels_want_them(small):
    """Flatbuffers' own builder does not align bytes; a file that was taken apart must be as it was."""
    for content in (small.content, pack(unpack(small.content))):
        model = schema.Model.GetRootAs(content, 0)
        for index in range(model.BuffersLength()):
            buffer = model.Buffers(index)
            if buffer.DataLength() >= 16:
                offset = buffer._tab.Vector(buffer._tab.Offset(4))
                assert offset % 16 == 0
                assert buffer.Offset() == 0


def test_taking_apart_changes_nothing(small):
    again = pack(unpack(small.content))
    image = images(side=64)[:1]
    np.testing.assert_array_equal(run(again, image)["logits"], run(small.content, image)["logits"])


# --- Shapes, names, types.


def test_names_of_the_signature():
    assert output_names(create_model("lvt", classifier_activation=None)) == ["logits"]
    assert output_names(create_model("lvt")) == ["probabilities"]
    assert output_names(create_model("lvt", include_top=False)) == ["features"]


def test_a_pyramid():
    model = alive(create_backbone("efficientvit_b0", (64, 96, 3), levels=("P3", "P5")))
    file = lite.convert(model, "int8", calibration=np.random.default_rng(0).standard_normal((4, 64, 96, 3)))
    outputs = run(file.content, np.zeros((1, 64, 96, 3), np.float32))
    assert {name: value.shape for name, value in outputs.items()} == {"P3": (1, 8, 12, 32), "P5": (1, 2, 3, 128)}
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


def test_a_batch():
    file = lite.convert(model_of("efficientvit_b0", 64), batch=3)
    batch = images(3, 64)
    expected = np.asarray(model_of("efficientvit_b0", 64)(batch))
    np.testing.assert_allclose(run(file.content, batch)["logits"], expected, atol=1e-4 * np.abs(expected).max())
    assert file.inspection.partitions == 1


def test_an_open_size_is_filled_in():
    model = alive(create_model("efficientvit_b0", input_shape=(None, None, 3), classifier_activation=None))
    with pytest.raises(LiteError, match=r"fill in what efficientvit_b0 leaves open in \(None, None, 3\)"):
        lite.convert(model)
    assert lite.convert(model, image_shape=(64, 96, 3)).manifest["input"]["shape"] == (1, 64, 96, 3)


def test_half_precision_is_undone():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), classifier_activation=None))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    file = lite.convert(model)
    assert (file.inspection.partitions, file.inspection.custom) == (1, ())
    exact = create_model("efficientvit_b0", input_shape=(64, 64, 3), classifier_activation=None)
    exact.set_weights(model.get_weights())
    expected = np.asarray(exact(images(side=64)[:1]))
    np.testing.assert_allclose(
        run(file.content, images(side=64)[:1])["logits"], expected, atol=1e-4 * np.abs(expected).max()
    )


def test_a_users_own_model_of_our_layers():
    image = keras.Input((32, 32, 3), name="picture")
    x = layers.ConvNormAct(16, 3, strides=2, activation=layers.hard_swish, name="stem")(image)
    x = layers.MultiScaleLinearAttention(8, name="attention")(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = alive(keras.Model(image, keras.layers.Dense(10, name="scores")(x)))
    file = lite.convert(model, "int8", calibration=np.random.default_rng(0).standard_normal((4, 32, 32, 3)))
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


def test_attention_to_one_token_leaves_nothing_outside():
    """Queries and keys decide nothing then; XNNPACK refuses to split integers into parts that nothing takes."""
    image = keras.Input((32, 32, 3), name="picture")
    x = layers.PaddedConv2D(64, 33, strides=32, name="stem")(image)
    x = layers.GroupedSelfAttention(2, name="attention")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = alive(keras.Model(image, keras.layers.Dense(10, name="scores")(x)))
    file = lite.convert(model, "int8", calibration=np.random.default_rng(0).standard_normal((4, 32, 32, 3)))
    assert file.inspection.counts()["SPLIT"] == 1
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


@pytest.mark.parametrize("aware", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_tokens_that_gather_from_one_pixel_stay_inside(aware):
    """XNNPACK takes no matmul of constant weights, and those of a single key are all one."""
    row = replace(lightvit.LIGHTVIT["Tiny"], channels=(32, 64, 128), depths=(1, 1, 1))
    options = {"input_shape": (32, 32, 3), "classes": 10, "classifier_activation": None}
    model = alive(assemble(lightvit.FAMILY, row, **{**DEFAULTS, **options}))
    images = np.random.default_rng(0).standard_normal((16, 32, 32, 3)).astype("float32")
    if aware:
        file = lite.convert(lite.quantize_aware(model, calibration=images))
    else:
        file = lite.convert(model, "int8", calibration=images)
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


@pytest.mark.parametrize(("input_type", "output_type"), [("uint8", "uint8"), ("int8", "int8"), ("uint8", "float32")])
def test_integers_at_the_doors(input_type, output_type):
    """Pixels in as an app has them: with preprocessing inside, a uint8 is its own value."""
    model = model_of("efficientvit_b0", 64, pixels=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    types = {"input_type": input_type, "output_type": output_type}
    file = convert("efficientvit_b0", 64, "int8", pixels=True, calibration=pixels, **types)
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
    interpreter = Interpreter(model_content=file.content)
    interpreter.allocate_tensors()
    entry, leave = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (entry["dtype"], leave["dtype"]) == (np.dtype(input_type).type, np.dtype(output_type).type)
    assert entry["quantization"] == (1.0, 0 if input_type == "uint8" else -128)
    given = pixels[:1] if input_type == "uint8" else (pixels[:1].astype(int) - 128).astype(np.int8)
    (result,) = run(file.content, given).values()
    if output_type != "float32":
        scale, zero_point = leave["quantization"]
        result = (result.astype(np.float32) - zero_point) * scale
    expected = np.asarray(model(pixels[:1].astype(np.float32)))
    assert snr_db(expected, result) > 20


# --- What travels in and beside the file.


def test_facts_in_the_file_and_beside_it(tmp_path):
    labels = [f"class {number}" for number in range(1000)]
    file = convert("efficientvit_b0", 64, "int8", labels=labels)
    path = file.save(tmp_path / "b0.tflite")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["b0.manifest.json", "b0.tflite"]
    facts = lite.read_metadata(path)
    assert facts["labels"] == labels
    assert facts["recipe"]["rules"][0]["mode"] == "static"
    assert facts["calibration"]["images"] == 8
    assert facts["preprocessing"]["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert facts["parity"]["snr_db"] == file.parity.snr_db
    manifest = json.loads((tmp_path / "b0.manifest.json").read_text())
    assert {key: manifest[key] for key in facts} == facts
    assert manifest["bytes"] == path.stat().st_size
    # A runtime that knows nothing of them runs the file, and other files have no facts.
    assert run(path.read_bytes(), images(side=64)[:1])["logits"].shape == (1, 1000)
    assert lite.read_metadata(exported("efficientvit_b0", 64)) == {}


def test_saving_is_whole_or_not_at_all(small, tmp_path):
    target = tmp_path / "models" / "m.tflite"
    with pytest.raises(OSError, match="No such file"):
        small.save(target)
    if os.geteuid() != 0:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(PermissionError):
            small.save(tmp_path / "m.tflite")
        tmp_path.chmod(stat.S_IRWXU)
    assert list(tmp_path.iterdir()) == []


# --- What is refused.


@keras.saving.register_keras_serializable("tests")
class Bessel(keras.layers.Layer):
    def call(self, inputs):
        import tensorflow as tf

        return tf.math.bessel_i0(inputs)


def test_an_operator_that_litert_does_not_have():
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, keras.layers.Flatten()(Bessel(name="strange")(image)), name="mine")
    with pytest.raises(LiteError, match=r"Received: tf.BesselI0 in layer 'strange' of mine"):
        lite.convert(model)


def test_five_dimensions_are_refused_by_layer():
    image = keras.Input((32, 32, 3))
    x = keras.layers.Reshape((4, 8, 4, 24), name="cut")(image)
    x = keras.layers.Permute((1, 3, 2, 4), name="swap")(x)
    with pytest.raises(LiteError, match=r"at most 4 dimensions. Received: 5 in layer '(cut|swap)'"):
        lite.convert(keras.Model(image, keras.layers.Flatten()(x)))


def test_a_file_that_does_not_do_what_keras_does_is_not_given_out(monkeypatch):
    """A model whose weights change behind the exporter's back; the first layer that differs is named."""
    from keras_effvit.lite import conversion

    model = alive(create_model("efficientvit_b0", input_shape=(64, 64, 3), classifier_activation=None))

    def export_and_meddle(exact, **options):
        content = export_float(exact, **options)
        layer = exact.get_layer("stage3_block1_mbconv")
        layer.point.norm.gamma.assign(-layer.point.norm.gamma)
        return content

    monkeypatch.setattr(conversion, "export_float", export_and_meddle)
    with pytest.raises(LiteError, match=r"Nothing was written. The first layer to diverge is 'stage3_block1_mbconv'"):
        lite.convert(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "`precision` must be one of"),
        ({"labels": ["a", "b"]}, "Expected 1000 labels, one for every class. Received: 2"),
        ({"input_type": "int32"}, "`input_type` must be one of"),
        ({"precision": "int8", "method": "median", "calibration": np.zeros((2, 64, 64, 3))}, "`method` must be one of"),
        ({"islands": ["("]}, "must be a regular expression"),
        ({"image_shape": (32, 32, 3)}, "leaves open"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(LiteError, match=message):
        convert("efficientvit_b0", 64, **{"precision": "float32", **options})


def test_two_inputs_are_refused():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    with pytest.raises(LiteError, match=r"with one input. Received: .* with 2"):
        lite.convert(keras.Model(inputs, keras.layers.Add()(inputs)))


def test_without_calibration_the_risk_is_named():
    with pytest.warns(UserWarning, match="int8 without calibration: .* will be clipped"):
        file = convert("efficientvit_b0", 64, "int8", calibration=None)
    assert file.manifest["calibration"]["images"] == 0


def test_an_untrained_model_whose_signal_dies_away():
    model = create_model("efficientvit_b0", input_shape=(64, 64, 3), classifier_activation=None)
    with pytest.warns(UserWarning, match="outputs of efficientvit_b0 are all but zero"):
        file = lite.convert(model, "int8", calibration=images(side=64))
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())


def test_islands_stay_in_float():
    file = convert("efficientvit_b0", 64, "int8", islands=["stage4", "^head"])
    for operator in file.inspection.operators:
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kept = operator.layer.startswith(("stage4", "head"))
            assert (file.inspection.tensors[operator.outputs[0]].type == "FLOAT32") == kept, operator.layer
    assert (file.inspection.partitions, file.inspection.outside) == (1, ())
