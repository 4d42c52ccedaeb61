"""Keras -> float32 `.tflite`: a static batch, builtin operators, weights frozen, names that say where they come from.

The only module that knows TensorFlow's converter, which is to leave TensorFlow one day.
"""

import re
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import keras

from keras_effvit.layers.lowerings import lowering
from keras_effvit.lite.child import LiteError

SIGNATURE = "serving_default"
#: How a file says what can be said in several ways.
SPELLINGS = {"grouped": "convolution", "divisors": "bare", "batch_norm": "exact", "one_key": "product"}
#: What the converter says of an operator it cannot express, and where it comes from.
_UNSUPPORTED = re.compile(r"'?(tf\.\w+)'? op")
_LOCATION = re.compile(r'"([^"]*/[^"]*)"|@__inference_\w+')


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or one that is functional and calculates in float32, with the same weights.

    Args:
        model: of any dtype policy; half precision would become operators no phone has.

    Raises:
        LiteError: if nothing is known of the model's inputs and outputs.
    """
    model = _functional(model)
    if all(layer.compute_dtype in (None, "float32") for layer in model._flatten_layers() if layer.weights):
        return model
    copy = keras.Model.from_config(_without_policies(model.get_config()))
    copy.set_weights([weight.astype("float32") for weight in model.get_weights()])
    return copy


def _functional(model: keras.Model) -> keras.Model:
    try:
        if isinstance(model, keras.Sequential):  # which has no output of its own
            return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
        _ = model.inputs, model.output
    except (AttributeError, ValueError, TypeError, IndexError) as error:
        raise LiteError(
            f"Expected a functional model, or a sequential one that knows its input's shape. Received: {model.name}, "
            f"a {type(model).__name__} of which inputs or outputs are unknown"
        ) from error
    return model


def _without_policies(config: Any) -> Any:
    if isinstance(config, Mapping):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {key: _without_policies(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_without_policies(value) for value in config)
    return config


def export_float(
    model: keras.Model, *, batch: int = 1, image_shape: tuple[int, ...] | None = None, hard_swish: str = "fused"
) -> bytes:
    """A float32 file of a model.

    Args:
        model: a functional model with one input.
        batch: images at a time.
        image_shape: (height, width, channels), where the model leaves them open.
        hard_swish: the spelling of the activation, as in `keras_effvit.layers.lowering`.

    Raises:
        LiteError: if the model has an operator that LiteRT does not, or no single input of a known size.
    """
    import tensorflow as tf

    shape = (batch, *_image_shape(model, image_shape))
    names = output_names(model)
    spec = tf.TensorSpec(shape, "float32", name="image")

    def serve(image):
        outputs = keras.tree.flatten(model(image, training=False))
        return dict(zip(names, outputs, strict=True))

    # TensorFlow and its converter talk of folders and assets nobody asked for.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        with lowering(
            hard_swish=hard_swish, grouped="convolution", divisors="bare", batch_norm="exact", one_key="product"
        ):
            traced = tf.function(serve, input_signature=[spec], autograph=False).get_concrete_function()
        # Keras' own export runs through a model five times, and that takes longer than all the rest: hold what the one
        # run reads, and save that.
        holder: Any = tf.Module()
        holder.held = list(traced.graph.variables)
        tf.saved_model.save(holder, folder, signatures={SIGNATURE: traced})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            return bytes(converter.convert())
        except Exception as error:  # ConverterError has no public name
            raise LiteError(_explain(str(error), model)) from error


def output_names(model: keras.Model) -> list[str]:
    """Names for the outputs: a pyramid's levels, `logits`, `features`, or `probabilities` where it ends in a softmax.

    Args:
        model: the model.
    """
    outputs = model.output
    if isinstance(outputs, dict):
        return list(keras.tree.flatten({key: key for key in outputs}))
    flat = keras.tree.flatten(outputs)
    if len(flat) > 1:
        return [f"output_{number}" for number in range(len(flat))]
    last = flat[0]._keras_history.operation
    if len(flat[0].shape) != 2:
        return ["logits" if _CLASSIFIES.search(last.name) else "features"]
    activation = getattr(last, "activation", keras.activations.linear)
    return ["probabilities" if activation in _PROBABILITIES else "logits"]


#: Names of the layers that our segmenters end in.
_CLASSIFIES = re.compile(r"(logits|classifier)$")
_PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)


def _image_shape(model: keras.Model, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    if len(model.inputs) != 1:
        raise LiteError(f"Expected a model with one input. Received: {model.name} with {len(model.inputs)}")
    own = tuple(model.inputs[0].shape[1:])
    shape = own if wanted is None else tuple(wanted)
    fits = len(shape) == len(own) and all(side in (None, known) for side, known in zip(own, shape, strict=True))
    if None in shape or not fits:
        raise LiteError(
            f"Expected `image_shape` to fill in what {model.name} leaves open in {own}. Received: image_shape={wanted}"
        )
    return shape


def _explain(message: str, model: keras.Model) -> str:
    """The converter's pages of text as one sentence: which operator, of which layer."""
    operators = sorted(set(_UNSUPPORTED.findall(message)))
    layers = [layer.name for layer in model._flatten_layers(include_self=False)]
    named = [name for name in layers if re.search(rf"[/\"]{re.escape(name)}(_\d+)?[/\"]", message)]
    if operators:
        where = f" in layer {', '.join(repr(name) for name in named[:3])}" if named else ""
        return (
            f"Expected operators that LiteRT has. Received: {', '.join(operators)}{where} of {model.name}. "
            "Replace the layer by one made of LiteRT's operators"
        )
    return f"The converter refused {model.name}: {message.strip().splitlines()[0][:300] if message.strip() else '?'}"
