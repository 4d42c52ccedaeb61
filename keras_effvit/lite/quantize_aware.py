"""Training for integers: a graph that rounds, while it learns, wherever its file will.

Which operations round is the recipe's to say, the same that quantises after training: operators are those the
converter makes, and what it fuses into one is rounded once.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import tree

from keras_effvit.layers.lowerings import lowering
from keras_effvit.lite.calibration import images_of
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.exporting import in_float32
from keras_effvit.lite.fake_quant import FakeQuant, FakeQuantWeights
from keras_effvit.lite.graph import Graph, constants, flatten, nodes_before, replay
from keras_effvit.lite.recipe import Recipe, Rule, load_recipe

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
    "Silu": "LOGISTIC",
    "Softmax": "SOFTMAX",
    "Subtract": "SUB",
    "TrueDivide": "DIV",
}
#: Operations that move numbers about: what lay on the steps of a range still does.
MOVES = frozenset({"ExpandDims", "GetItem", "MaxPool", "Pad", "Reshape", "Split", "Squeeze", "Transpose"})
#: What the converter fuses into the convolution or linear layer before it, the last two at its end only.
FUSED = frozenset({"Add", "BatchNorm", "Relu", "Relu6"})
CLOSING = frozenset({"Relu", "Relu6"})
#: Per operation with weights: the axes of the weights along which every index has a scale.
CHANNEL_AXES = {"Conv": (3,), "DepthwiseConv": (2, 3), "GroupedProduct": (3,), "Matmul": (1,)}


@dataclass(frozen=True)
class _Rounding:
    """What an operation of the graph rounds.

    Attributes:
        rule: of the recipe.
        data: which of its operands.
        weights: which of its operands are weights; `None` without.
    """

    rule: Rule
    data: tuple[int, ...]
    weights: int | None


def quantize_aware(
    model: keras.Model,
    config: str | Path | Recipe = "int8",
    *,
    calibration: Any = None,
    momentum: float = 0.99,
) -> Graph:
    """The model, rounding weights and activations as a recipe's file will, ready for `compile` and `fit`.

    Batch normalisation uses its moving statistics and leaves them as they are. `convert` makes a file of the result
    without any images: the ranges were learnt. `restore_weights` brings the weights back into a model like the one it
    was made of.

    Args:
        model: a functional model with one input.
        config: a precision, the path of a recipe, or a recipe.
        calibration: images to set the ranges by before training, as of `convert`; the first batch does it otherwise.
        momentum: of the ranges' moving average.

    Returns:
        A model that trains and saves like any other.

    Raises:
        LiteError: if the recipe rounds nothing, or what cannot be simulated.

    Example:
        >>> aware = quantize_aware(SepViTLite(classes=10, classifier_activation=None), calibration=images)
        >>> aware.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> aware.fit(images, labels)
        >>> convert(aware).save("sepvit_lite.tflite")
    """
    recipe = load_recipe(config)
    with lowering(hard_swish=recipe.hard_swish):
        graph = flatten(in_float32(model))
    aware = _Placement(graph, recipe, momentum).place()
    if calibration is not None:
        observe(aware, images_of(calibration, aware.inputs[0].shape[1:]))
    return aware


def observe(aware: keras.Model, images: Any, batch: int = 8) -> None:
    """Sets the ranges of a graph by images, without training.

    Args:
        aware: of `quantize_aware`.
        images: (n, height, width, channels), as they go into the model.
        batch: images at a time.
    """
    quantizers = quantizers_of(aware)
    for quantizer in quantizers:
        quantizer.seen.assign(0.0)
        quantizer.observing = True
    try:
        for start in range(0, len(images), batch):
            aware(images[start : start + batch], training=False)
    finally:
        for quantizer in quantizers:
            quantizer.observing = False


def recipe_of(model: keras.Model) -> Recipe | None:
    """What a graph was made to round for; `None` of any other model.

    Args:
        model: any model.

    Raises:
        LiteError: if nothing was learnt yet.
    """
    if not isinstance(model, Graph) or "recipe" not in model.notes:
        return None
    blank = [quantizer.name for quantizer in quantizers_of(model) if not keras.ops.convert_to_numpy(quantizer.seen)]
    if blank:
        raise LiteError(
            f"Expected a model that was trained or calibrated. Received: {model.name} with {len(blank)} ranges that "
            f"nothing has set, such as that of {blank[0]}; `fit` or `observe` sets them"
        )
    return Recipe.from_json(model.notes["recipe"])


def quantizers_of(aware: keras.Model) -> list[FakeQuant]:
    """What learns a range in a graph."""
    return [layer for layer in aware.layers if isinstance(layer, FakeQuant) and layer.fixed is None]


class _Placement:
    """Puts quantizers between the operations of a graph."""

    def __init__(self, graph: Graph, recipe: Recipe, momentum: float):
        self.graph = graph
        self.recipe = recipe
        self.momentum = momentum
        self.nodes = {
            node.operation.name: node for node in nodes_before(graph.outputs, {id(x): x for x in graph.inputs})
        }
        self.constant = constants(graph)
        self.takers = defaultdict(list)
        for node in self.nodes.values():
            for tensor in node.input_tensors:
                self.takers[id(tensor)].append(node.operation.name)
        self.roundings = {name: rounding for name in self.nodes if (rounding := self._rounding(name))}
        self.ends = {self._end(name) for name, rounding in self.roundings.items() if rounding.rule.mode == "static"}
        #: Of the new graph: tensors that lie on the steps of a range, and what was made to.
        self.rounded: set[int] = set()
        self.results: dict[int, keras.KerasTensor] = {}

    def place(self) -> Graph:
        if not self.roundings:
            raise LiteError(f"Expected a recipe that quantises something. Received: {self.recipe.name}")
        outputs = replay(self.graph, self.graph.inputs, self._call)
        return Graph(
            self.graph._inputs_struct,
            outputs,
            name=self.graph.name,
            notes={**self.graph.notes, "recipe": self.recipe.to_json()},
        )

    def _rounding(self, name: str) -> _Rounding | None:
        node = self.nodes[name]
        kind = type(node.operation).__name__
        operator = OPERATORS.get(kind)
        if operator is None or name in self.constant:
            return None
        args = node.arguments.args
        weights = 1 if kind in CHANNEL_AXES and self._is_constant(args[1]) else None
        if kind == "Matmul" and weights and len(args[1].shape) == 2:
            operator = "FULLY_CONNECTED"
        rule = self.recipe.rule_for(operator, "/".join(name.split(".")[:-1]))
        if rule is None:
            return None
        bits = (rule.activation_bits, rule.weight_bits)
        if rule.mode in ("float16", "integer") or (rule.mode == "static" and bits != (8, 8)):
            raise LiteError(f"Expected rules of 8 bits to train for. Received: {rule} of {self.recipe.name}")
        data = [index for index, value in enumerate(args) if isinstance(value, keras.KerasTensor) and index != weights]
        return _Rounding(rule, tuple(data), weights)

    def _is_constant(self, value: Any) -> bool:
        return not isinstance(value, keras.KerasTensor) or value._keras_history.operation.name in self.constant

    def _end(self, name: str) -> str:
        """The last operation that the converter fuses into one."""
        if self.roundings[name].weights is None:
            return name
        while True:
            takers = self.takers[id(self.nodes[name].outputs[0])]
            if len(takers) != 1 or not self._fuses(takers[0]):
                return name
            name = takers[0]
            if type(self.nodes[name].operation).__name__ in CLOSING:
                return name

    def _fuses(self, name: str) -> bool:
        node = self.nodes[name]
        changing = [x for x in node.input_tensors if not self._is_constant(x)]
        return type(node.operation).__name__ in FUSED and len(changing) == 1

    def _call(self, operation: keras.Operation, args: tuple, kwargs: dict) -> Any:
        name = operation.name
        rounding = self.roundings.get(name)
        if rounding is not None:
            args = self._round_operands(name, rounding, list(args))
        outputs = operation(*args, **kwargs)
        if name in self.ends:
            outputs = self._quantize(outputs, f"{name}.result", symmetric=self._is_right_operand(name))
        elif type(operation).__name__ in MOVES and id(args[0]) in self.rounded:
            self.rounded.update(map(id, tree.flatten(outputs)))
        return outputs

    def _round_operands(self, name: str, rounding: _Rounding, args: list) -> tuple:
        if rounding.weights is not None:
            kind = type(self.nodes[name].operation).__name__
            quantizer = FakeQuantWeights(CHANNEL_AXES[kind], rounding.rule.weight_bits, name=f"{name}.weights")
            args[rounding.weights] = quantizer(args[rounding.weights])
        if rounding.rule.mode == "static":
            for index in rounding.data:
                args[index] = self._operand(args[index], f"{name}.operand_{index}")
        return tuple(args)

    def _operand(self, tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if id(tensor) in self.rounded:
            return tensor
        if id(tensor) not in self.results:
            self.results[id(tensor)] = self._quantize(tensor, name)
        return self.results[id(tensor)]

    def _quantize(self, tensor: keras.KerasTensor, name: str, *, symmetric: bool = False) -> keras.KerasTensor:
        result = FakeQuant(symmetric=symmetric, momentum=self.momentum, name=name)(tensor)
        self.rounded.add(id(result))
        self.results[id(result)] = result  # held, so that no other tensor gets its id
        return result

    def _is_right_operand(self, name: str) -> bool:
        """Whether an integer matmul multiplies by an operation's result."""
        waiting = [name]
        while waiting:
            current = waiting.pop()
            for taker in self._takers_of(current):
                kind = type(self.nodes[taker].operation).__name__
                if kind == "Matmul" and taker in self.roundings and self._makes(current, self.nodes[taker], 1):
                    return True
                if kind in MOVES:
                    waiting.append(taker)
        return False

    def _takers_of(self, name: str) -> list[str]:
        return [taker for tensor in self.nodes[name].outputs for taker in self.takers[id(tensor)]]

    def _makes(self, name: str, taker: Any, operand: int) -> bool:
        return any(tensor is taker.arguments.args[operand] for tensor in self.nodes[name].outputs)
