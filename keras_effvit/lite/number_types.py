"""Integers at the doors of a file: images as an app has them in, scores as bytes out."""

from typing import Any, Literal, get_args

import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.flatfile import builtin_name, drop_unused, opcode, pack, unpack

NumberType = Literal["float32", "int8", "uint8"]
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def set_number_types(
    content: bytes,
    *,
    input_type: NumberType,
    output_type: NumberType,
    input_range: tuple[float, float],
    output_ranges: dict[str, tuple[float, float]],
) -> bytes:
    """A file whose input and outputs are of other types; DEQUANTIZE and QUANTIZE, which XNNPACK takes, stand between.

    Args:
        content: a file with float input and outputs.
        input_type: what the app gives.
        output_type: what the app gets.
        input_range: lowest and highest value of an image's numbers.
        output_ranges: the same of every output, by its name in the signature.

    Raises:
        LiteError: for another type.
    """
    for name, value in (("input_type", input_type), ("output_type", output_type)):
        if value not in get_args(NumberType):
            raise LiteError(f"`{name}` must be one of {get_args(NumberType)}. Received: {name}={value!r}")
    if input_type == output_type == "float32":
        return content
    model = unpack(content)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    if input_type != "float32":
        entry = signature.inputs[0]
        door = _tensor(model, entry.tensorIndex, input_type, input_range)
        operator = _operator(model, "DEQUANTIZE", door, entry.tensorIndex)
        graph.operators = [operator, *graph.operators]
        graph.inputs = [door if index == entry.tensorIndex else int(index) for index in graph.inputs]
        entry.tensorIndex = door
    if output_type != "float32":
        for entry in signature.outputs:
            name = entry.name.decode() if isinstance(entry.name, bytes) else entry.name
            door = _tensor(model, entry.tensorIndex, output_type, output_ranges[name])
            operator = _operator(model, "QUANTIZE", entry.tensorIndex, door)
            graph.operators = [*graph.operators, operator]
            graph.outputs = [door if index == entry.tensorIndex else int(index) for index in graph.outputs]
            entry.tensorIndex = door
    return pack(model)


def open_doors(content: bytes) -> bytes:
    """A file without the floats between its doors and the integers inside.

    An int8 output is then the tensor inside itself; other doors are converted to and from integers in one step.

    Args:
        content: of `set_number_types`, of a file that calculates in integers.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    name_of = {id(operator): builtin_name(model, operator) for operator in graph.operators}
    inside = {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in graph.operators
        if name_of[id(operator)] == "DEQUANTIZE"
    }
    same: dict[int, int] = {}
    for operator in graph.operators:
        source, target = inside.get(int(operator.inputs[0])), int(operator.outputs[0])
        if name_of[id(operator)] == "QUANTIZE" and source is not None:
            operator.inputs = [source]
            if target in graph.outputs and graph.tensors[source].type == graph.tensors[target].type:
                same[target] = source
    graph.outputs = [same.get(int(index), int(index)) for index in graph.outputs]
    for entry in model.signatureDefs[0].outputs:
        entry.tensorIndex = same.get(entry.tensorIndex, entry.tensorIndex)
    drop_unused(model)
    return pack(model)


def quantization_of(bounds: tuple[float, float], number_type: str) -> tuple[float, int]:
    """Scale and zero point that cover a range, 0 included, as exactly as the type allows.

    Args:
        bounds: lowest and highest value.
        number_type: `"int8"` or `"uint8"`.

    Example:
        >>> quantization_of((0.0, 255.0), "uint8")
        (1.0, 0)
    """
    least, most = _LIMITS[number_type]
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = (high - low) / (most - least) or 1.0
    return scale, int(np.clip(round(least - low / scale), least, most))


def _tensor(model: Any, like: int, number_type: str, bounds: tuple[float, float]) -> int:
    """Adds a quantised tensor of the shape of another; returns its index."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    original = graph.tensors[like]
    tensor = schema.TensorT()
    tensor.name = _name(original.name) + f"_{number_type}".encode()
    tensor.shape, tensor.shapeSignature = original.shape, original.shapeSignature
    tensor.type = getattr(schema.TensorType, number_type.upper())
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT())
    scale, zero_point = quantization_of(bounds, number_type)
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _name(name: Any) -> bytes:
    return name if isinstance(name, bytes) else str(name).encode()


def _operator(model: Any, name: str, source: int, target: int) -> Any:
    """An operator of one input and one output, and its entry among the file's operators."""
    from ai_edge_litert import schema_py_generated as schema

    operator = schema.OperatorT()
    operator.opcodeIndex = opcode(model, name)
    operator.inputs, operator.outputs = [source], [target]
    return operator
