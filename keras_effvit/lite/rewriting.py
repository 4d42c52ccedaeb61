"""The same float file with other operators, where integers would lose more than they must."""

import math
from typing import Any

import numpy as np

from keras_effvit.lite.flatfile import builtin_name, drop_unused, opcode, pack, unpack


def spread_scales(content: bytes, ranges: dict[str, tuple[float, float]] | None = None) -> bytes:
    """A file that calculates the same, with numbers of different sizes in tensors of their own.

    Integers have one scale per tensor. In linear attention, numerator and denominator are rows of one product and are
    cut apart afterwards; cut before, each gets a scale that fits. A variance is the mean of squares, which eight bits
    round to nothing wherever they are small; as a product of rows it is added up before it is rounded.

    Args:
        content: a float file.
        ranges: lowest and highest value by tensor, where they are known; those of new tensors are added.
    """
    graph = _Graph(unpack(content), {} if ranges is None else ranges)
    while graph.slice_before_product():
        pass
    graph.variances_as_products()
    graph.graph.operators = graph.operators
    drop_unused(graph.model)
    return pack(graph.model)


class _Graph:
    """The operators of a file, and who makes what."""

    def __init__(self, model: Any, ranges: dict[str, tuple[float, float]]):
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        self.operators = list(self.graph.operators)
        self.ranges = ranges

    def slice_before_product(self) -> bool:
        """Moves one slice of rows from behind a matmul to before it; says whether there was one."""
        makers = {int(index): operator for operator in self.operators for index in operator.outputs}
        for place, operator in enumerate(self.operators):
            maker = makers.get(int(operator.inputs[0]))
            if self._is(operator, "STRIDED_SLICE") and maker is not None and self._rows(operator) is not None:
                if self._is(maker, "BATCH_MATMUL") and not maker.builtinOptions.adjX:
                    self._swap(place, operator, maker)
                    return True
                part = self._part(operator, maker) if self._is(maker, "CONCATENATION") else None
                if part is not None:
                    self._replace(int(operator.outputs[0]), part)
                    del self.operators[place]
                    return True
        return False

    def variances_as_products(self) -> None:
        """`mean(d * d)` over the channels -> `d @ d / channels`, row by row."""
        makers = {int(index): operator for operator in self.operators for index in operator.outputs}
        for operator in list(self.operators):
            square = makers.get(int(operator.inputs[0]))
            if not self._is(operator, "MEAN") or square is None or not self._is(square, "MUL"):
                continue
            centred, shape = int(square.inputs[0]), self._shape(int(square.inputs[0]))
            axes = self._numbers(int(operator.inputs[1])).reshape(-1) % len(shape)
            if square.inputs[0] != square.inputs[1] or axes.tolist() != [len(shape) - 1]:
                continue
            self._variance(operator, centred, shape)

    # --- The steps.

    def _swap(self, place: int, cut: Any, product: Any) -> None:
        """`(a @ b)[rows]` -> `a[rows] @ b`."""
        first, last = self._rows(cut) or (0, 0)
        left, result = int(product.inputs[0]), int(cut.outputs[0])
        shape = self._shape(left)
        rows = self._tensor(result, [*shape[:-2], last - first, shape[-1]], b"_rows")
        self._know(rows, left)
        ends = [[0] * len(shape), list(shape), [1] * len(shape)]
        ends[0][-2], ends[1][-2] = first, last
        constants = [self._constant(result, np.array(end, np.int32)) for end in ends]
        self.operators[place : place + 1] = [
            self._operator("STRIDED_SLICE", [left, *constants], rows, self.schema.StridedSliceOptionsT()),
            self._operator("BATCH_MATMUL", [rows, int(product.inputs[1])], result, product.builtinOptions),
        ]

    def _variance(self, mean: Any, centred: int, shape: list[int]) -> None:
        result, channels = int(mean.outputs[0]), shape[-1]
        rows = math.prod(shape[:-1])
        row = self._tensor(centred, [rows, 1, channels], b"_row")
        column = self._tensor(centred, [rows, channels, 1], b"_column")
        total = self._tensor(result, [rows, 1, 1], b"_product")
        shaped = self._tensor(result, self._shape(result), b"_total")
        share = self._constant(result, np.array(1 / channels, np.float32))
        for tensor, origin, factor in ((row, centred, 1), (column, centred, 1), (total, result, channels)):
            self._know(tensor, origin, factor)
        self._know(shaped, total)
        multiplication = self.schema.MulOptionsT()
        at = self.operators.index(mean)
        self.operators[at : at + 1] = [
            self._reshape(centred, row),
            self._reshape(centred, column),
            self._operator("BATCH_MATMUL", [row, column], total, self.schema.BatchMatMulOptionsT()),
            self._reshape(total, shaped),
            self._operator("MUL", [shaped, share], result, multiplication),
        ]

    def _rows(self, cut: Any) -> tuple[int, int] | None:
        """First and last row, if it cuts out rows and nothing else."""
        source, target = self._shape(int(cut.inputs[0])), self._shape(int(cut.outputs[0]))
        options = cut.builtinOptions
        if len(source) < 2 or len(target) != len(source) or options.newAxisMask or options.ellipsisMask:
            return None
        begin, strides = self._numbers(int(cut.inputs[1])), self._numbers(int(cut.inputs[3]))
        axis = len(source) - 2
        others = [place for place in range(len(source)) if place != axis]
        if any(source[place] != target[place] for place in others) or any(strides != 1):
            return None
        first = 0 if options.beginMask >> axis & 1 else int(begin[axis]) % source[axis]
        return first, first + target[axis]

    def _part(self, cut: Any, joined: Any) -> int | None:
        """What went into a concatenation and is cut out of it again, whole."""
        first, last = self._rows(cut) or (0, 0)
        rank = len(self._shape(int(cut.inputs[0])))
        if joined.builtinOptions.axis % rank != rank - 2:
            return None
        start = 0
        for index in joined.inputs:
            end = start + self._shape(int(index))[-2]
            if (start, end) == (first, last):
                return int(index)
            start = end
        return None

    def _replace(self, old: int, new: int) -> None:
        for operator in self.operators:
            operator.inputs = [new if index == old else int(index) for index in operator.inputs]

    def _know(self, new: int, origin: int, factor: float = 1) -> None:
        """Where another tensor's range is known, the range of one that holds `factor` times its numbers."""
        known = self.ranges.get(self._name(origin))
        if known is not None:
            self.ranges[self._name(new)] = (known[0] * factor, known[1] * factor)

    # --- Parts of the file.

    def _name(self, index: int) -> str:
        name = self.graph.tensors[index].name
        return name.decode() if isinstance(name, bytes) else name

    def _is(self, operator: Any, name: str) -> bool:
        return builtin_name(self.model, operator) == name

    def _shape(self, index: int) -> list[int]:
        shape = self.graph.tensors[index].shape
        return [] if shape is None else [int(side) for side in shape]

    def _numbers(self, index: int) -> np.ndarray:
        return np.frombuffer(bytes(self.model.buffers[self.graph.tensors[index].buffer].data), np.int32)

    def _reshape(self, source: int, target: int) -> Any:
        options = self.schema.ReshapeOptionsT()
        options.newShape = self._shape(target)
        shape = self._constant(target, np.array(options.newShape, np.int32))
        return self._operator("RESHAPE", [source, shape], target, options)

    def _operator(self, name: str, inputs: list[int], output: int, options: Any) -> Any:
        operator = self.schema.OperatorT()
        operator.opcodeIndex = opcode(self.model, name)
        operator.inputs, operator.outputs, operator.builtinOptions = inputs, [output], options
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return operator

    def _constant(self, like: int, values: np.ndarray) -> int:
        index = self._tensor(like, list(values.shape), b"_constant")
        tensor = self.graph.tensors[index]
        tensor.type = getattr(self.schema.TensorType, values.dtype.name.upper())
        self.model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        return index

    def _tensor(self, like: int, shape: list[int], suffix: bytes) -> int:
        name = self.graph.tensors[like].name
        tensor = self.schema.TensorT()
        # Ranges are looked up by names, so no two may be alike.
        count = str(len(self.graph.tensors)).encode()
        tensor.name = (name if isinstance(name, bytes) else name.encode()) + suffix + count
        tensor.shape, tensor.type = shape, self.schema.TensorType.FLOAT32
        tensor.buffer = len(self.model.buffers)
        self.model.buffers.append(self.schema.BufferT())
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1
