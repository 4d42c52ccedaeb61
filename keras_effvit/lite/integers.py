"""A float file and ranges -> a file that calculates in integers, activation by activation, constant by constant.

ai-edge-quantizer leaves what it does not know in float and takes every range by itself. Here a recipe says which
operators calculate in integers, and the file obeys: what kernels demand of scales and zero points is written down here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.flatfile import builtin_name, drop_unused, opcode, pack, unpack
from keras_effvit.lite.inspection import MOVES

#: Operators whose kernels want one scale for what comes in and goes out.
_MOVERS = MOVES | {
    *("CONCATENATION", "AVERAGE_POOL_2D", "REDUCE_MAX", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "MAXIMUM", "MINIMUM"),
    *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
}
#: Operators with weights, and the axis of their output channels.
_WEIGHTED = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
#: Operators whose kernels know one scale for what comes out: from 0 to 1, as finely as the type allows.
_PROBABILITIES = frozenset({"SOFTMAX", "LOGISTIC"})
_OTHERS = frozenset(
    {"ADD", "SUB", "MUL", "DIV", "MEAN", "BATCH_MATMUL", "RSQRT", "GELU", "HARD_SWISH", "RELU", "RELU6"}
)
#: What can be held in integers. SUM is not among them: in int8, the builtin kernel adds up something else.
KNOWN = _MOVERS | _WEIGHTED.keys() | _PROBABILITIES | _OTHERS
#: Divisors, and what a root is drawn of: the place among the inputs that must not be 0.
_NEVER_ZERO = {"DIV": 1, "RSQRT": 0}
#: A softmax that never gives more than this is calculated in 16 bits, and then rounded to a scale that fits.
SMALL_SHARE = 0.5
#: How many times wider than its result an operand may be; kernels abort, or refuse, not far beyond.
_WIDEST = {"ADD": 4096.0, "SUB": 4096.0, "HARD_SWISH": 64.0}
#: The step of a tensor that is nothing but zeros.
_NOTHING = 1e-12
_MOST = {8: 127, 16: 32767}
_TYPES = {8: np.int8, 16: np.int16}


@dataclass(frozen=True)
class _Grid:
    """The numbers that integers of some bits stand for; the scale is what float32 makes of it."""

    bits: int
    scale: float
    zero_point: int


@dataclass
class _Group:
    """Tensors that have one grid."""

    low: float = 0.0
    high: float = 0.0
    symmetric: bool = False
    fixed: bool = False
    members: set[tuple[int, int]] = field(default_factory=set)

    def grid(self, bits: int) -> _Grid:
        if self.fixed:
            return _Grid(8, 1 / 256, -128) if bits == 8 else _Grid(16, 1 / 32768, 0)
        most = _MOST[bits]
        if self.symmetric or bits == 16:
            return _Grid(bits, float(np.float32(max(-self.low, self.high) / most)) or _NOTHING, 0)
        scale = float(np.float32((self.high - self.low) / (2 * most + 1))) or _NOTHING
        return _Grid(bits, scale, int(np.clip(round(-most - 1 - self.low / scale), -most - 1, most)))


def quantize_integers(content: bytes, bits: Mapping[int, int], ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """A file some operators of which calculate in integers; QUANTIZE and DEQUANTIZE stand where others meet them.

    Divisors and what RSQRT takes are kept one step away from 0. What a BATCH_MATMUL takes on the right has the zero
    point 0.

    Args:
        content: a float file.
        bits: of the activations, 8 or 16, by the operator's place.
        ranges: lowest and highest value, by tensor.

    Raises:
        LiteError: for an operator that integers cannot hold.
    """
    model = unpack(content)
    _Writer(model, bits, ranges).write()
    drop_unused(model)
    return pack(model)


class _Writer:
    """The state of one file that is being rewritten."""

    def __init__(self, model: Any, bits: Mapping[int, int], ranges: Mapping[str, tuple[float, float]]):
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.model, self.graph, self.ranges = schema, model, model.subgraphs[0], ranges
        self.names = [builtin_name(model, operator) for operator in self.graph.operators]
        self.bits = [bits.get(index, 0) for index in range(len(self.names))]
        self.floats = [tensor.type == schema.TensorType.FLOAT32 for tensor in self.graph.tensors]
        self.constants = [self._stored(tensor) for tensor in self.graph.tensors]
        self.groups: dict[tuple[int, int], _Group] = {}
        #: By tensor: the grid it is calculated on, `None` for float.
        self.made: dict[int, _Grid | None] = dict.fromkeys(int(index) for index in self.graph.inputs)
        #: By tensor and grid: where the file has it.
        self.copies: dict[tuple[int, _Grid | None], int] = {}
        self.operators: list[Any] = []

    def write(self) -> None:
        """Groups first, which need to see all operators, then the operators in their order."""
        for name, bits, operator in zip(self.names, self.bits, self.graph.operators, strict=True):
            if bits:
                self._group(name, bits, operator)
        for name, bits, operator in zip(self.names, self.bits, self.graph.operators, strict=True):
            if bits:
                self._fit(name, bits, operator)
        for name, bits, operator in zip(self.names, self.bits, self.graph.operators, strict=True):
            if bits:
                self._in_integers(name, bits, operator)
            else:
                operator.inputs = [self._take(int(index), None) for index in operator.inputs]
                self.made.update(dict.fromkeys(int(index) for index in operator.outputs))
                self.operators.append(operator)
        doors = {int(index): self._take(int(index), None) for index in self.graph.outputs}
        self.graph.outputs = list(doors.values())
        for entry in self.model.signatureDefs[0].outputs:
            entry.tensorIndex = doors[entry.tensorIndex]
        self.graph.operators = self.operators

    # --- Which tensors share a grid, and what the grid must hold.

    def _group(self, name: str, bits: int, operator: Any) -> None:
        if name not in KNOWN:
            raise LiteError(f"Integers cannot hold {name} of {self._name(operator.outputs[0])!r}")
        takes, gives = self._activations(name, operator), [int(index) for index in operator.outputs]
        for index in (*takes, *gives):
            self._of(index, bits)
        if name in _PROBABILITIES:
            self._of(gives[0], bits).fixed = not self._in_small_shares(name, bits, operator)
        if name == "BATCH_MATMUL":
            self._of(takes[1], bits).symmetric = True
        if name in _MOVERS:
            # A kernel's own scale meets others in a concatenation: there it is converted, not imposed on all.
            free = [index for index in takes if len(takes) == 1 or not self._of(index, bits).fixed]
            for index in (*free, *gives[1:]):
                self._join((gives[0], bits), (index, bits))

    def _fit(self, name: str, bits: int, operator: Any) -> None:
        """Makes room where a kernel wants it, and takes none for what cannot come."""
        steps = [self._of(index, bits).grid(bits).scale for index in self._activations(name, operator)]
        result = self._of(int(operator.outputs[0]), bits)
        if name == "RSQRT":
            # Of rows that are all zeros, float files give up to a thousand; here the least is one step.
            result.high = min(result.high, steps[0] ** -0.5)
        elif name in _WIDEST:
            result.high = max(result.high, max(steps) * 2 * _MOST[bits] / _WIDEST[name])

    def _of(self, index: int, bits: int) -> _Group:
        key = (index, bits)
        if key not in self.groups:
            constant, name = self.constants[index], self._name(index)
            if constant is None and name not in self.ranges:
                raise LiteError(f"Expected the range of every activation. Received: none of {name!r}")
            low, high = self.ranges[name] if constant is None else (float(constant.min()), float(constant.max()))
            self.groups[key] = _Group(min(low, 0.0), max(high, 0.0), members={key})
        return self.groups[key]

    def _join(self, first: tuple[int, int], second: tuple[int, int]) -> None:
        one, other = self.groups[first], self.groups[second]
        if one is not other:
            one.low, one.high = min(one.low, other.low), max(one.high, other.high)
            one.symmetric, one.fixed = one.symmetric or other.symmetric, one.fixed or other.fixed
            one.members |= other.members
            self.groups.update(dict.fromkeys(other.members, one))

    def _activations(self, name: str, operator: Any) -> list[int]:
        """The numbers an operator works on, without shapes, weights and biases."""
        indices = [int(index) for index in operator.inputs if index >= 0 and self.floats[index]]
        return indices[:1] if name in _WEIGHTED else indices

    # --- Operators.

    def _in_integers(self, name: str, bits: int, operator: Any) -> None:
        own = self._of(int(operator.outputs[0]), bits).grid(bits)
        for place, index in enumerate(operator.inputs):
            index = int(index)
            if index < 0 or not self.floats[index] or (name in _WEIGHTED and place > 0):
                continue
            constant = self.constants[index]
            # Zeros are the same on any grid; of an own one, XNNPACK may find the step too small beside the others.
            grid = (
                own
                if name in _MOVERS or (constant is not None and not constant.any())
                else self._of(index, bits).grid(bits)
            )
            if name == "BATCH_MATMUL" and place == 1:
                grid = replace(self._of(index, bits), fixed=False).grid(bits)
            operator.inputs[place] = self._take(index, grid)
            if _NEVER_ZERO.get(name) == place:
                operator.inputs[place] = self._above_zero(operator.inputs[place], index, grid)
        if name in _WEIGHTED:
            self._weights(name, bits, operator)
        if bits == 16 and name in ("ADD", "SUB"):
            operator.builtinOptions.potScaleInt16 = False
        finest = _Grid(16, 1 / 32768, 0) if self._in_small_shares(name, bits, operator) else None
        for index in operator.outputs:
            self._give(int(index), finest or self._of(int(index), bits).grid(bits))
        self.operators.append(operator)

    def _in_small_shares(self, name: str, bits: int, operator: Any) -> bool:
        """Whether a softmax is spread over so many that eight bits from 0 to 1 leave nothing of most shares."""
        return name == "SOFTMAX" and bits == 8 and self.ranges[self._name(operator.outputs[0])][1] < SMALL_SHARE

    def _weights(self, name: str, bits: int, operator: Any) -> None:
        """Weights of a scale per output channel, and the bias in steps of what they are multiplied to."""
        weights, axis = self.constants[operator.inputs[1]], _WEIGHTED[name]
        if weights is None:
            raise LiteError(f"Expected constant weights. Received: {self._name(operator.inputs[1])!r}")
        others = tuple(other for other in range(weights.ndim) if other != axis)
        scales = np.maximum(np.abs(weights).max(axis=others), 1e-12).astype(np.float64) / 127
        bias = self.constants[operator.inputs[2]] if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
        if bias is not None:
            # Beside inputs that are next to nothing, the bias would take more bits than it has.
            scales = np.maximum(scales, np.abs(bias) / (self._scale(operator.inputs[0]) * 2.0**30))
        scales = scales.astype(np.float32)
        steps = np.clip(np.round(weights / np.expand_dims(scales, others)), -127, 127).astype(np.int8)
        step = np.float64(self._scale(operator.inputs[0])) * scales
        operator.inputs[1] = self._store(operator.inputs[1], steps, scales, axis)
        if bias is not None:
            values = np.round(bias / step).astype(np.int32 if bits == 8 else np.int64)
            operator.inputs[2] = self._store(operator.inputs[2], values, step.astype(np.float32), 0)

    def _above_zero(self, tensor: int, like: int, grid: _Grid) -> int:
        """The larger of a tensor and one step; kernels abort where a divisor is 0."""
        one = self._store(like, np.array(grid.zero_point + 1, _TYPES[grid.bits]), [grid.scale], 0, grid.zero_point)
        self.graph.tensors[one].name += b"_least"
        result = self._tensor(like, grid, b"_above_zero")
        self._append("MAXIMUM", [tensor, one], result, self.schema.MaximumMinimumOptionsT())
        return result

    def _append(self, name: str, inputs: list[int], output: int, options: Any = None) -> None:
        operator = self.schema.OperatorT()
        operator.opcodeIndex = opcode(self.model, name)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
        self.operators.append(operator)

    # --- Tensors.

    def _take(self, index: int, grid: _Grid | None) -> int:
        """A tensor on a grid, or in float: itself, or what is converted from it."""
        if index < 0 or not self.floats[index]:
            return index
        constant = self.constants[index]
        if (self.made[index] if constant is None else None) == grid:
            return index
        if (index, grid) not in self.copies:
            if constant is None or grid is None:
                self.copies[index, grid] = self._convert(index, grid)
            else:
                low, high = -_MOST[grid.bits] - 1, _MOST[grid.bits]
                steps = np.clip(np.round(constant / grid.scale) + grid.zero_point, low, high).astype(_TYPES[grid.bits])
                self.copies[index, grid] = self._store(index, steps, [grid.scale], 0, grid.zero_point)
        return self.copies[index, grid]

    def _convert(self, index: int, grid: _Grid | None) -> int:
        result = self._tensor(index, grid, b"_float" if grid is None else f"_int{grid.bits}".encode())
        options = self.schema.DequantizeOptionsT() if grid is None else self.schema.QuantizeOptionsT()
        self._append("DEQUANTIZE" if grid is None else "QUANTIZE", [index], result, options)
        return result

    def _give(self, index: int, grid: _Grid) -> None:
        """What an operator calculates, from now on as integers."""
        self.made[index] = grid
        self._mark(self.graph.tensors[index], grid)

    def _tensor(self, like: int, grid: _Grid | None, suffix: bytes) -> int:
        """A new tensor of another's shape."""
        original, tensor = self.graph.tensors[like], self.schema.TensorT()
        tensor.name = self._name(like).encode() + suffix
        tensor.shape, tensor.shapeSignature = original.shape, original.shapeSignature
        tensor.type = self.schema.TensorType.FLOAT32
        tensor.buffer = len(self.model.buffers)
        self.model.buffers.append(self.schema.BufferT())
        if grid is not None:
            self._mark(tensor, grid)
        self.graph.tensors.append(tensor)
        self.floats.append(False)
        self.constants.append(None)
        return len(self.graph.tensors) - 1

    def _store(self, like: int, values: np.ndarray, scales: Any, axis: int, zero_point: int = 0) -> int:
        """A new constant."""
        index = self._tensor(like, None, b"")
        tensor = self.graph.tensors[index]
        tensor.shape, tensor.shapeSignature = list(values.shape), None
        tensor.type = getattr(self.schema.TensorType, values.dtype.name.upper())
        tensor.quantization = self.schema.QuantizationParametersT()
        tensor.quantization.scale = [float(scale) for scale in scales]
        tensor.quantization.zeroPoint = [zero_point] * len(scales)
        tensor.quantization.quantizedDimension = axis
        self.model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        return index

    def _mark(self, tensor: Any, grid: _Grid) -> None:
        tensor.type = getattr(self.schema.TensorType, f"INT{grid.bits}")
        tensor.quantization = self.schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [grid.scale], [grid.zero_point]

    def _scale(self, index: int) -> float:
        return self.graph.tensors[index].quantization.scale[0]

    def _stored(self, tensor: Any) -> np.ndarray | None:
        """The numbers of a float constant."""
        data = self.model.buffers[tensor.buffer].data
        if tensor.type != self.schema.TensorType.FLOAT32 or data is None or not len(data):
            return None
        shape = [] if tensor.shape is None else [int(side) for side in tensor.shape]
        return np.frombuffer(bytes(data), np.float32).reshape(shape)

    def _name(self, index: int) -> str:
        name = self.graph.tensors[index].name
        return name.decode() if isinstance(name, bytes) else name
