"""Where a graph has to round so that it does what a recipe's file does.

Which operations round is the recipe's to say, the same that quantises after training. Operators are those that the
converter makes, and what it fuses into one is rounded once.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.fake_quant import FakeQuant, FakeQuantWeights, Kind
from keras_effvit.lite.graph import Graph, constants, is_random, nodes_before, replay
from keras_effvit.lite.recipe import Recipe, Rule

#: The operator that an operation of `keras.ops` becomes in a file.
OPERATORS = {
    "Add": "ADD",
    "AveragePool": "AVERAGE_POOL_2D",
    "Concatenate": "CONCATENATION",
    "Conv": "CONV_2D",
    "DepthwiseConv": "DEPTHWISE_CONV_2D",
    "Divide": "DIV",
    "Gelu": "GELU",
    "GroupedProduct": "CONV_2D",
    "HardSilu": "HARD_SWISH",
    "Matmul": "BATCH_MATMUL",
    "Max": "REDUCE_MAX",
    "Mean": "MEAN",
    "Multiply": "MUL",
    "Relu": "RELU",
    "Relu6": "RELU6",
    "Rsqrt": "RSQRT",
    "Sigmoid": "LOGISTIC",
    "Softmax": "SOFTMAX",
    "Subtract": "SUB",
    "TrueDivide": "DIV",
}
#: Operations that move numbers about: what lay on the steps of a range still does.
MOVES = frozenset({"ExpandDims", "GetItem", "MaxPool", "Pad", "Reshape", "Split", "Squeeze", "Transpose"})
#: Operations that calculate, yet in integers have the steps of what they take.
SHARED = frozenset({"AveragePool", "Concatenate", "Max"})
#: What the converter fuses into the convolution or linear layer before it, the last two at its end only.
FUSED = frozenset({"Add", "BatchNorm", "Relu", "Relu6"})
CLOSING = frozenset({"Relu", "Relu6"})
#: Sums and products, into which it fuses those two as well.
CLOSED = frozenset({"Add", "Subtract", "Multiply"})
#: Per operation with weights: the axes of the weights along which every index has a scale.
CHANNEL_AXES = {"Conv": (3,), "DepthwiseConv": (2, 3), "GroupedProduct": (3,), "Matmul": (1,)}
#: What numerators and denominators are made by; they have as many bits as the quotient.
OF_QUOTIENTS = frozenset({"Add", "Subtract", "Multiply", "Matmul", "GetItem"})
#: Operands that must not be rounded to 0.
DIVISORS = {"Divide": 1, "TrueDivide": 1, "Rsqrt": 0}
#: Results whose range is not learnt like others.
KINDS: dict[str, Kind] = {"Softmax": "shares", "Sigmoid": "unit"}


@dataclass(frozen=True)
class _Rounding:
    """What an operation of the graph rounds.

    Attributes:
        rule: of the recipe.
        weights: which of its operands are weights; `None` without.
        bits: of its operands and its result.
    """

    rule: Rule
    weights: int | None
    bits: int

    @property
    def activations(self) -> bool:
        """Whether it rounds more than weights."""
        return self.rule.mode in ("static", "integer")


class Placement:
    """Puts quantizers between the operations of a graph.

    Args:
        graph: of `flatten`.
        recipe: what is to round.
        momentum: of the ranges' moving average.
    """

    def __init__(self, graph: Graph, recipe: Recipe, momentum: float):
        self.graph = graph
        self.recipe = recipe
        self.momentum = momentum
        inputs = {id(x): x for x in graph.inputs}
        self.nodes = {node.operation.name: node for node in nodes_before(graph.outputs, inputs)}
        self.constant = constants(graph)
        self.takers = defaultdict(list)
        for node in self.nodes.values():
            for tensor in node.input_tensors:
                self.takers[id(tensor)].append(node.operation.name)
        self.roundings: dict[str, _Rounding] = {}
        self._choose()
        #: The last operations of what becomes one operator, and the first.
        self.ends = self._fuse()
        self._widen_quotients()
        #: Of the new graph: tensors that lie on the steps of a range of so many bits, and what was made to.
        self.rounded: dict[int, int] = {}
        self.results: dict[tuple[int, int], keras.KerasTensor] = {}
        self.names = set(self.nodes)

    def place(self) -> Graph:
        """The graph with its quantizers.

        Raises:
            LiteError: if there would be none.
        """
        if not self.roundings:
            raise LiteError(f"Expected a recipe that quantises something. Received: {self.recipe.name}")
        outputs = replay(self.graph, self.graph.inputs, self._call)
        notes = {**self.graph.notes, "recipe": self.recipe.to_json()}
        return Graph(self.graph._inputs_struct, outputs, name=self.graph.name, notes=notes)

    # --- What rounds.

    def _choose(self) -> None:
        for name, node in self.nodes.items():
            kind = type(node.operation).__name__
            if name in self.constant or self._moves(name):
                continue
            self._check_whole(node.operation)
            args = node.arguments.args
            weights = 1 if kind in CHANNEL_AXES and self._is_constant(args[1]) else None
            operator = OPERATORS.get(kind, kind)
            if kind == "Matmul" and weights and len(args[1].shape) == 2:
                operator = "FULLY_CONNECTED"
            rule = self.recipe.rule_for(operator, "/".join(name.split(".")[:-1]))
            if rule is not None:
                self.roundings[name] = _Rounding(rule, weights, rule.activation_bits)

    def _fuse(self) -> dict[str, str]:
        """The last operation of every operator, with its first; those between round nothing of their own."""
        ends: dict[str, str] = {}
        for name in list(self.nodes):
            rounding = self.roundings.get(name)
            if rounding is None:
                continue
            self._check(name, rounding)
            end = self._end(name, rounding)
            if rounding.activations:
                ends[end] = name
        return ends

    def _end(self, name: str, rounding: _Rounding) -> str:
        fused = FUSED if rounding.weights is not None else CLOSING
        if rounding.weights is None and self._kind(name) not in CLOSED:
            return name
        while True:
            takers = self.takers[id(self.nodes[name].outputs[0])]
            if len(takers) != 1 or self._kind(takers[0]) not in fused or not self._changes_alone(takers[0]):
                return name
            name = takers[0]
            self.roundings.pop(name, None)
            if self._kind(name) in CLOSING:
                return name

    def _check(self, name: str, rounding: _Rounding) -> None:
        rule, kind = rounding.rule, self._kind(name)
        wide = rule.activation_bits == 16 and rule.mode == "integer" and kind in ("Divide", "TrueDivide")
        if (
            rule.mode == "float16"
            or rule.weight_bits != 8
            or (rounding.activations and rounding.bits != 8 and not wide)
        ):
            raise LiteError(f"Expected rules of 8 bits to train for. Received: {rule} of {self.recipe.name}")
        if kind not in OPERATORS:
            raise LiteError(f"Expected operations that can be trained for integers. Received: {kind} in {name!r}")

    def _check_whole(self, operation: keras.Operation) -> None:
        """Refuses layers with weights that nobody can look into, unless they are to stay in float."""
        hidden = isinstance(operation, keras.layers.Layer) and operation.weights
        if hidden and self.recipe.rule_for("FULLY_CONNECTED", operation.name.replace(".", "/")):
            raise LiteError(
                f"Expected layers of `keras.ops` on maps of a known size. Received: {type(operation).__name__} "
                f"{operation.name!r}, which stays whole; build the model for one size, or leave the layer in float"
            )

    def _widen_quotients(self) -> None:
        """Gives what a wide quotient is made of its bits."""
        waiting = [name for name, rounding in self.roundings.items() if rounding.bits == 16]
        while waiting:
            for tensor in self.nodes[waiting.pop()].input_tensors:
                maker = tensor._keras_history.operation.name
                first = str(self.ends.get(maker, maker))
                if self._kind(first) not in OF_QUOTIENTS or maker in self.constant:
                    continue
                before = self.roundings.get(first)
                if before is not None and before.bits != 16 and before.weights is None:
                    self.roundings[first] = _Rounding(before.rule, None, 16)
                    waiting.append(first)
                elif before is None and self._kind(first) == "GetItem":
                    waiting.append(first)

    def _kind(self, name: str) -> str:
        return type(self.nodes[name].operation).__name__ if name in self.nodes else ""

    def _moves(self, name: str) -> bool:
        """Whether an operation leaves numbers as they are, at least where nothing is trained."""
        return self._kind(name) in MOVES or is_random(self.nodes[name].operation)

    def _is_constant(self, value: Any) -> bool:
        return not isinstance(value, keras.KerasTensor) or value._keras_history.operation.name in self.constant

    def _changes_alone(self, name: str) -> bool:
        """Whether all operands but one are constants, of one number for every channel."""
        node = self.nodes[name]
        channels = node.outputs[0].shape[-1]
        fixed = [tensor for tensor in node.input_tensors if self._is_constant(tensor)]
        per_channel = all(None not in tensor.shape and math.prod(tensor.shape) == channels for tensor in fixed)
        return per_channel and len(node.input_tensors) - len(fixed) == 1

    # --- The new graph.

    def _call(self, operation: keras.Operation, args: tuple, kwargs: dict) -> Any:
        name, kind = operation.name, type(operation).__name__
        rounding = self.roundings.get(name)
        if rounding is not None:
            args = self._round_operands(name, rounding, args)
        outputs = operation(*args, **kwargs)
        first = self.ends.get(name)
        if first is not None and not self._adds_up_squares(name):
            bits = self.roundings[first].bits
            symmetric = self._is_right_operand(name)
            outputs = self._quantize(outputs, f"{name}.result", bits, KINDS.get(kind, "any"), symmetric=symmetric)
        elif self._moves(name) and id(args[0]) in self.rounded:
            bits = self.rounded[id(args[0])]
            self.rounded.update((id(tensor), bits) for tensor in tree.flatten(outputs))
        return outputs

    def _adds_up_squares(self, name: str) -> bool:
        """Whether integers add squares up before they are rounded, as for a variance."""
        operands, takers = self.nodes[name].input_tensors, self._takers_of(name)
        squares = self._kind(name) == "Multiply" and len(operands) == 2 and operands[0] is operands[1]
        return self.recipe.in_integers and squares and [self._kind(taker) for taker in takers] == ["Mean"]

    def _round_operands(self, name: str, rounding: _Rounding, args: tuple) -> tuple:
        kind, operands = self._kind(name), list(args)
        if rounding.weights is not None:
            quantizer = FakeQuantWeights(CHANNEL_AXES[kind], rounding.rule.weight_bits, name=f"{name}.weights")
            operands[rounding.weights] = quantizer(operands[rounding.weights])
        if not rounding.activations:
            return tuple(operands)
        squares = kind == "Mean" and any(self._adds_up_squares(maker) for maker in self._makers_of(name))
        for place, value in enumerate(operands):
            if place != rounding.weights and not squares:
                what = "any"
                if DIVISORS.get(kind) == place and self.recipe.in_integers:
                    what = "divisor"
                elif kind == "Matmul" and place == 1:
                    what = "right"
                label = f"{name}.operand_{place}"
                operands[place] = tree.map_structure(
                    lambda x, label=label, what=what: self._operand(x, label, rounding.bits, what), value
                )
        return tuple(operands)

    def _operand(self, value: Any, name: str, bits: int, what: str) -> Any:
        if self._is_constant(value):
            return value
        if what == "divisor":
            return self._quantize(value, name, bits, "divisor")
        if self.rounded.get(id(value)) == bits:
            return value
        if (id(value), bits) not in self.results:
            self.results[id(value), bits] = self._quantize(value, name, bits, symmetric=what == "right")
        return self.results[id(value), bits]

    def _quantize(
        self, tensor: keras.KerasTensor, name: str, bits: int, kind: Kind = "any", *, symmetric: bool = False
    ) -> keras.KerasTensor:
        while name in self.names:
            name += "_again"
        self.names.add(name)
        result = FakeQuant(bits=bits, kind=kind, symmetric=symmetric, momentum=self.momentum, name=name)(tensor)
        self.rounded[id(result)] = bits
        self.results[id(result), bits] = result  # held, so that no other tensor gets its id
        return result

    def _is_right_operand(self, name: str) -> bool:
        """Whether an integer matmul multiplies by an operation's result, or by what shares its steps."""
        waiting = [name]
        while waiting:
            current = waiting.pop()
            for taker in self._takers_of(current):
                product = self._kind(taker) == "Matmul" and taker in self.roundings and self._makes(current, taker, 1)
                if product or self._adds_up_squares(taker):
                    return True
                if self._moves(taker) or (self.recipe.in_integers and self._kind(taker) in SHARED):
                    waiting.append(taker)
        return False

    def _takers_of(self, name: str) -> list[str]:
        return [taker for tensor in self.nodes[name].outputs for taker in self.takers[id(tensor)]]

    def _makers_of(self, name: str) -> list[str]:
        return [tensor._keras_history.operation.name for tensor in self.nodes[name].input_tensors]

    def _makes(self, name: str, taker: str, operand: int) -> bool:
        wanted = self.nodes[taker].arguments.args[operand]
        return any(tensor is wanted for tensor in self.nodes[name].outputs)
