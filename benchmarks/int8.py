"""What stock int8 breaks, one operator and one model at a time: where it runs, and how much of the signal is left.

python benchmarks/int8.py [--json tflite/results/int8.json]

Operators go through TensorFlow's converter alone, in float and in int8, and LiteRT says whether XNNPACK runs them.
Models are those of `benchmarks/lite.py`, with its drawn weights and images; nothing here is a time.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "tflite" / "results" / "int8.json"
#: One whose stock file runs, and one whose does not.
MODELS = ("sepvit_lite", "efficientvit_b0")
#: What the islands are taken from: the family with the most of them.
ISLANDS_OF = "sepvit_lite"
SIDE, CHANNELS = 16, 32


def operators() -> dict[str, Callable[[Any], Any]]:
    """Graphs of one operator, by the name it has in a file and what is special about it."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    square = rng.normal(size=(1, 1, CHANNELS, CHANNELS)).astype(np.float32)
    depthwise = rng.normal(size=(3, 3, CHANNELS, 1)).astype(np.float32)

    def rows(x):
        return tf.reshape(x, (SIDE * SIDE, CHANNELS))

    def turned(x):
        return tf.transpose(rows(x))

    return {
        "CONV_2D": lambda x: tf.nn.conv2d(x, square, 1, "SAME"),
        "DEPTHWISE_CONV_2D": lambda x: tf.nn.depthwise_conv2d(x, depthwise, (1, 1, 1, 1), "SAME"),
        "FULLY_CONNECTED": lambda x: tf.matmul(rows(x), square[0, 0]),
        "BATCH_MATMUL, right operand symmetric": lambda x: tf.matmul(x[0], tf.tanh(x[0]), transpose_b=True),
        "BATCH_MATMUL": lambda x: tf.matmul(x[0], x[0] + 1.0, transpose_b=True),
        "ADD": lambda x: x + tf.reverse(x, (1,)),
        "SUB": lambda x: x - tf.tanh(x),
        "MUL": lambda x: x * tf.tanh(x),
        "LOGISTIC": tf.sigmoid,
        "TANH": tf.tanh,
        "MEAN": lambda x: tf.reduce_mean(x, 3, keepdims=True),
        "SUM": lambda x: tf.reduce_sum(x, (1, 2), keepdims=True),
        "CONCATENATION": lambda x: tf.concat((x, tf.tanh(x)), 3),
        "PAD": lambda x: tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
        "RESHAPE": lambda x: tf.reshape(x, (SIDE, SIDE, CHANNELS)),
        "TRANSPOSE": turned,
        "SLICE": lambda x: tf.slice(x, (0, 2, 2, 0), (1, SIDE - 2, SIDE - 2, CHANNELS)),
        "MAX_POOL_2D": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        "STRIDED_SLICE, step 2": lambda x: x[:, ::2, ::2],
        "AVERAGE_POOL_2D": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
        "RELU": tf.nn.relu,
        "RELU6": tf.nn.relu6,
        "MAXIMUM": lambda x: tf.maximum(x, tf.tanh(x)),
        "HARD_SWISH": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
        "GELU": lambda x: tf.nn.gelu(x, approximate=False),
        "SOFTMAX": tf.nn.softmax,
        "RSQRT": lambda x: tf.math.rsqrt(x * x + 1.0),
        "SQUARED_DIFFERENCE": lambda x: tf.math.squared_difference(x, tf.tanh(x)),
        "DIV": lambda x: x / (tf.sigmoid(x) + 1.0),
    }


def place(name: str, graph: Callable[[Any], Any], int8: bool) -> str:
    """Where one graph's operator runs: "inside" or "outside" of XNNPACK, or "float" where int8 was refused."""
    import tensorflow as tf

    from keras_effvit import lite

    shape = (1, SIDE, SIDE, CHANNELS)
    function = tf.function(graph, input_signature=[tf.TensorSpec(shape, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    if int8:
        rng = np.random.default_rng(1)
        images = [rng.normal(size=shape).astype(np.float32) for _ in range(4)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in images)
    found = lite.inspect(converter.convert())
    mine = [operator for operator in found.operators if operator.name == name]
    if not mine:
        raise SystemExit(f"Expected {name} in its graph's file. Received: {[each.name for each in found.operators]}")
    if int8 and any(found.tensors[operator.outputs[0]].type != "INT8" for operator in mine):
        return "float"
    return "outside" if any(operator in found.outside for operator in mine) else "inside"


def by_operator() -> list[dict[str, str]]:
    """Whether XNNPACK runs every operator, in float32 and in stock int8."""
    rows = []
    for title, graph in operators().items():
        name = title.partition(",")[0]
        row = {"operator": title, "float32": place(name, graph, False), "int8": place(name, graph, True)}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def by_model(name: str) -> dict[str, Any]:
    """Stock int8 and ours beside the float model: partitions, what is outside, signal to noise."""
    from benchmarks.lite import alive, calibration, stock
    from keras_effvit import create_model, lite

    model, images = alive(create_model(name, classifier_activation=None)), calibration()
    row: dict[str, Any] = {"model": name}
    for precision in ("int8", "int8_full"):
        row[precision] = _facts(lite.convert(model, precision, calibration=images))
    plain = stock(model, images)
    if isinstance(plain, str):
        return {**row, "stock_int8": {"error": plain}}
    row["stock_int8"] = _stock_facts(plain, model, images)
    print(json.dumps(row), flush=True)
    return row


def _stock_facts(content: bytes, model: Any, images: np.ndarray) -> dict[str, Any]:
    from keras_effvit import lite

    found = lite.inspect(content)
    names = [operator.name for operator in found.outside]
    facts: dict[str, Any] = {
        "partitions": found.partitions,
        "outside": len(names),
        "outside_by_name": {name: names.count(name) for name in sorted(set(names))},
    }
    try:
        lite.inspect(content, invoke=True)  # in a process of its own, which a kernel may take down
        return {**facts, "snr_db": round(lite.compare(model, content, images).snr_db, 1)}
    except (ValueError, RuntimeError) as error:
        return {**facts, "error": str(error)[:160]}


def _facts(converted: Any) -> dict[str, Any]:
    found = converted.inspection
    return {
        "partitions": found.partitions,
        "outside": len(found.outside),
        "islands": len(found.islands),
        "snr_db": round(converted.parity.snr_db, 1),
    }


def by_island(name: str) -> list[dict[str, Any]]:
    """What becomes of the int8 file of one model when one kind of island is put into integers as well."""
    from dataclasses import replace

    from benchmarks.lite import alive, calibration
    from keras_effvit import create_model, lite

    model, images, base = alive(create_model(name, classifier_activation=None)), calibration(), lite.load_recipe("int8")
    found = lite.inspect(lite.convert(model, "float32", calibration=images).content, layers=_layers(model))
    norms = sorted({operator.layer for operator in found.operators if operator.name == "RSQRT"})
    exactly = f"^({'|'.join(map(re.escape, norms))})$"
    of_norms = sorted({operator.name for operator in found.operators if operator.layer in norms})
    rules = {
        "none": (),
        "softmax": (lite.Rule(("SOFTMAX",), "static"),),
        "GELU": (lite.Rule(("GELU",), "static"),),
        "layer normalisation": (lite.Rule(tuple(of_norms), "static", exactly),),
        "residual additions": (lite.Rule(("ADD",), "static"), lite.Rule(("ADD",), "keep", exactly)),
    }
    rows = []
    for title, more in rules.items():
        recipe = replace(base, name="int8_experiment", one_partition=False, rules=(*base.rules, *more))
        rows.append({"in_int8_too": title, **_facts(lite.convert(model, recipe, calibration=images))})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _layers(model: Any) -> Any:
    from keras_effvit.lite.graph import layer_names

    return layer_names(model)


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    record: dict[str, Any] = {"operators": by_operator()}
    record["islands"] = {"model": ISLANDS_OF, "files": by_island(ISLANDS_OF)}
    record["models"] = [by_model(name) for name in MODELS]
    options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
