"""Files for the runners: converted once, from models that take a second."""

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_effvit.device.errors import DeviceError
from keras_effvit.device.events import Answers
from keras_effvit.device.host import BINARIES, HostInterpreter, HostRunner, litert_folder
from tests.lite.conftest import converted

SIDE = 64
PRECISIONS = ("float32", "int8")


def _runs_here():
    try:
        HostRunner()
    except DeviceError as error:
        return str(error)
    return ""


needs_runner = pytest.mark.skipif(bool(_runs_here()), reason=f"the runner does not run here: {_runs_here()}")
ENGINES = [pytest.param(HostRunner, marks=needs_runner), HostInterpreter]


@functools.cache
def content_of(precision):
    return converted("efficientvit_b0", precision, SIDE).content


def write_files(folder):
    paths = {precision: Path(folder) / f"{precision}.tflite" for precision in PRECISIONS}
    for precision, path in paths.items():
        path.write_bytes(content_of(precision))
    return paths


@functools.cache
def content_of_many():
    """Inputs and outputs of several types, whose signature names them in another order than the graph."""
    import tensorflow as tf

    shapes = {"z": (tf.float32, 3), "m": (tf.int32, 2), "a": (tf.int64, 4), "k": (tf.float16, 5)}

    @tf.function(input_signature=[tf.TensorSpec((1, n), kind, name) for name, (kind, n) in shapes.items()])
    def many(z, m, a, k):
        return {"z": a * 2, "y": z + 1.0, "b": m + 3, "a": tf.cast(k, tf.float32) * 0.5}

    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        tf.saved_model.save(module, folder, signatures=many.get_concrete_function())
        content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return _with_signature_reversed(content)


def _with_signature_reversed(content):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    signature: Any = (model.signatureDefs or [])[0]
    signature.inputs.reverse()
    signature.outputs.reverse()
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def interpreted(path, inputs, threads=1):
    """Raw outputs of LiteRT's own interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    for detail, content in zip(interpreter.get_input_details(), inputs, strict=True):
        value = np.frombuffer(content, detail["dtype"]).reshape(detail["shape"])
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]).tobytes() for detail in interpreter.get_output_details()]


def runner(path, *options):
    """The command that runs a file with the packaged runner."""
    binary = BINARIES / f"runner-{os.uname().machine}"
    return [binary, f"--lib={litert_folder() / 'libLiteRt.so'}", f"--graph={path}", *options]


def answers_of(stdout):
    return Answers.of(stdout.decode("utf-8", "replace").splitlines())
