"""The operators of a file one by one, each on the same inputs wherever it runs.

A whole network cannot tell how exact its kernels are: where floats are rounded to integers, a difference in the last
bit of a sum can take the next integer, and layers of random weights make more of it from one to the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_effvit.lite.flatfile import builtin_name, drop_unused, pack, unpack
from keras_effvit.lite.runtime import Runner

#: Inputs or outputs of a file that the runner takes.
MOST = 250
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}


@dataclass(frozen=True)
class Part:
    """Operators that stand beside each other in a file, each with inputs and outputs of its own.

    Args:
        content: the file.
        inputs: what went into each, in the file's order.
        operators: for every output, the operator: its place in the whole file, and its name.
        types: of the outputs.
    """

    content: bytes
    inputs: list[bytes]
    operators: list[str]
    types: list[np.dtype]


def split(content: bytes, image: np.ndarray) -> Iterator[Part]:
    """A file taken apart.

    Args:
        content: a file with one input.
        image: for it.
    """
    runner = Runner(content, delegate=False, keep_all=True)
    runner(image)
    whole = unpack(content)
    count = len(whole.subgraphs[0].operators)
    constant = {
        index
        for index, tensor in enumerate(whole.subgraphs[0].tensors)
        if whole.buffers[tensor.buffer].data is not None and len(whole.buffers[tensor.buffer].data)
    }
    start = 0
    while start < count:
        end, taken = start, 0
        while end < count and taken + _width(whole.subgraphs[0].operators[end], constant) <= MOST:
            taken += _width(whole.subgraphs[0].operators[end], constant)
            end += 1
        yield _part(content, range(start, end), constant, runner)
        start = end


def _width(operator, constant: set[int]) -> int:
    inputs = [index for index in operator.inputs if index >= 0 and int(index) not in constant]
    return max(len(inputs), len(operator.outputs))


def _part(content: bytes, places: range, constant: set[int], runner: Runner) -> Part:
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    graph.operators = [graph.operators[place] for place in places]
    names = [
        f"{place} {builtin_name(model, operator)}" for place, operator in zip(places, graph.operators, strict=True)
    ]
    inputs, contents = [], []
    for operator in graph.operators:
        for position, index in enumerate(map(int, operator.inputs)):
            if index < 0 or index in constant:
                continue
            graph.tensors.append(_copy(graph.tensors[index]))
            operator.inputs[position] = len(graph.tensors) - 1
            inputs.append(len(graph.tensors) - 1)
            contents.append(np.ascontiguousarray(runner.tensor(index)).tobytes())
    outputs = [int(index) for operator in graph.operators for index in operator.outputs]
    labels = [name for name, operator in zip(names, graph.operators, strict=True) for _ in operator.outputs]
    graph.inputs, graph.outputs = inputs, outputs
    signature.inputs = [_entry(f"input_{place}", index) for place, index in enumerate(inputs)]
    signature.outputs = [_entry(f"output_{place}", index) for place, index in enumerate(outputs)]
    types = [np.dtype(_TYPES[graph.tensors[index].type].lower()) for index in outputs]
    drop_unused(model)
    return Part(pack(model), contents, labels, types)


def _copy(tensor):
    copy = schema.TensorT()
    copy.__dict__.update(tensor.__dict__)
    copy.buffer = 0
    return copy


def _entry(name: str, index: int):
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
