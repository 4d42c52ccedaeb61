"""A model as a list of steps that can be cut at any map: what comes before it, and what is made of it after.

Grad-CAM asks how the logits change with a map. tf-keras-vis finds maps only among the layers of one flat model. Here
nested models are laid open, shared layers told apart and a closing softmax left out, without touching the model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from keras_effvit.lite.graph import nodes_before

#: Tensors by the id of the symbol they stand for.
Values = dict[int, Any]
CLOSING = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Step:
    """One operation of a model.

    Attributes:
        name: of the layer, with the models it is nested in before it; empty where a tensor only changes its symbol.
        reads: symbols it needs.
        writes: symbols it gives.
        run: from tensors by symbol to the tensors it gives.
        operation: a layer, or something of `keras.ops`; `None` where a tensor only changes its symbol.
    """

    name: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    run: Callable[[Values], Sequence[Any]]
    operation: keras.Operation | None = None


@dataclass(frozen=True)
class Program:
    """The steps from an image to the logits.

    Attributes:
        steps: in order.
        image: the symbol of the input.
        logits: the symbol of what is explained.
    """

    steps: tuple[Step, ...]
    image: int
    logits: int

    def run(self, values: Values, steps: slice = slice(None)) -> Iterator[Step]:
        """Runs steps, each time one is asked for; what it gave is then among the values.

        Args:
            values: what is known, which is added to.
            steps: which.
        """
        for step in self.steps[steps]:
            values.update(zip(step.writes, step.run(values), strict=True))
            yield step

    def crossing(self, cut: int) -> list[int]:
        """Symbols that are written before a cut, and read after it.

        Args:
            cut: the number of the first step after it.
        """
        known = {self.image, *(symbol for step in self.steps[:cut] for symbol in step.writes)}
        needed: dict[int, None] = {}
        for step in self.steps[cut:]:
            needed |= dict.fromkeys(symbol for symbol in step.reads if symbol in known)
            known -= set(step.writes)
        if self.logits in known:
            needed[self.logits] = None
        return list(needed)


def program_of(model: keras.Model) -> Program:
    """The steps of a classifier, from its image to its logits.

    Args:
        model: functional or sequential, with one input and one output (batch, classes), or a dict with "logits".

    Raises:
        ValueError: for any other model.
    """
    if not _is_open(model):
        raise ValueError(
            f"Expected a functional or sequential model. Received: {model.name}, a {type(model).__name__}, "
            "which does not tell what it is made of"
        )
    steps = list(_steps(model.inputs, [_output(model)], ""))
    return _without_closing(steps, id(model.inputs[0]), id(_output(model)))


def _output(model: keras.Model) -> keras.KerasTensor:
    struct = getattr(model, "_outputs_struct", None)
    found = struct["logits"] if isinstance(struct, dict) and "logits" in struct else None
    if found is None and len(model.outputs) == 1:
        found = model.outputs[0]
    if found is None or len(found.shape) != 2:
        raise ValueError(
            f'Expected a model with one output (batch, classes), or one named "logits". Received: {model.name} with '
            f"{[tuple(x.shape) for x in model.outputs]}"
        )
    return found


def _is_open(operation: Any) -> bool:
    known = hasattr(operation, "_outputs_struct") or isinstance(operation, keras.Sequential)
    return isinstance(operation, keras.Model) and known and bool(operation.inputs)


def _steps(inputs: Sequence[keras.KerasTensor], outputs: Sequence[keras.KerasTensor], prefix: str) -> Iterator[Step]:
    for node in nodes_before(list(outputs), {id(x): x for x in inputs}):
        operation = node.operation
        if _is_open(operation):
            yield _renaming(node.input_tensors, operation.inputs)
            yield from _steps(operation.inputs, operation.outputs, f"{prefix}{operation.name}/")
            yield _renaming(operation.outputs, node.outputs)
        else:
            reads, writes = (tuple(map(id, tensors)) for tensors in (node.input_tensors, node.outputs))
            yield Step(prefix + operation.name, reads, writes, _running(node), operation)


def _running(node: Any) -> Callable[[Values], Sequence[Any]]:
    def run(values: Values) -> Sequence[Any]:
        args, kwargs = node.arguments.fill_in(values)
        if "training" in getattr(node.operation, "_call_context_args", {}):
            kwargs = {**kwargs, "training": False}
        return tree.flatten(node.operation(*args, **kwargs))

    return run


def _renaming(old: Sequence[keras.KerasTensor], new: Sequence[keras.KerasTensor]) -> Step:
    reads, writes = tuple(map(id, old)), tuple(map(id, new))
    return Step("", reads, writes, lambda values: [values[symbol] for symbol in reads])


def _without_closing(steps: list[Step], image: int, output: int) -> Program:
    """Leaves out a softmax at the end: it makes the gradients of a certain answer vanish."""
    while True:
        number = max((n for n, step in enumerate(steps) if output in step.writes), default=None)
        if number is None:
            return Program(tuple(steps), image, output)
        step = steps[number]
        if step.operation is None:
            output = step.reads[step.writes.index(output)]
            steps = steps[:number]
            continue
        if _closes(step.operation):
            return Program(tuple(steps[:number]), image, step.reads[0])
        if isinstance(step.operation, keras.layers.Dense) and _named(step.operation.activation) in CLOSING:
            steps[number] = Step(step.name, step.reads, step.writes, _linear(step), step.operation)
        return Program(tuple(steps[: number + 1]), image, output)


def _closes(operation: keras.Operation) -> bool:
    own = type(operation).__name__.lower()
    return own in CLOSING or (_named(getattr(operation, "activation", None)) in CLOSING and own == "activation")


def _named(activation: Any) -> str:
    return getattr(activation, "__name__", "")


def _linear(step: Step) -> Callable[[Values], Sequence[Any]]:
    """A dense layer without its activation."""
    dense: Any = step.operation

    def run(values: Values) -> Sequence[Any]:
        logits = keras.ops.matmul(values[step.reads[0]], dense.kernel)
        return [logits if dense.bias is None else logits + dense.bias]

    return run
