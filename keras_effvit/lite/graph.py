"""A model taken apart into single operations, so that others can be put between them.

Layers hide where an attention's matmul gets its operands from; training for integers has to stand between the two. A
`Graph` is the same function made of bare operations, each under the path of the layer it comes from, with every weight
a node of its own. It works for any functional model whose layers call `keras.ops`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_effvit.lite.child import LiteError

#: Stands between the layers of a path: Keras keeps the slash for itself.
_PATH = "."
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: What an operation of a graph may be: a layer, or something of `keras.ops`.
Call = Callable[[keras.Operation, tuple[Any, ...], dict[str, Any]], Any]


@keras.saving.register_keras_serializable("keras_effvit")
class Parameter(keras.layers.Layer):
    """A weight as a node of a graph: it gives its value, whatever it is called on.

    Args:
        weight_shape: of the weight.
        weight_name: such as `"kernel"`; optimizers choose by it what to decay.
    """

    def __init__(self, weight_shape: tuple[int, ...], weight_name: str, **kwargs):
        super().__init__(**kwargs)
        self.weight_shape = tuple(weight_shape)
        self.weight_name = weight_name

    def build(self, input_shape):
        self.weight = self.add_weight(
            name=self.weight_name, shape=self.weight_shape, initializer="zeros", trainable=self.trainable
        )

    def call(self, inputs):
        return keras.ops.convert_to_tensor(self.weight)

    def compute_output_shape(self, input_shape):
        return self.weight_shape

    def learnt(self) -> list[Any]:
        """What the weight of the original should be now."""
        return [self.weight]

    def get_config(self):
        return {**super().get_config(), "weight_shape": self.weight_shape, "weight_name": self.weight_name}


@keras.saving.register_keras_serializable("keras_effvit")
class Graph(keras.Model):
    """A functional model of bare operations, named by the layers they come from.

    Every operation runs in a scope of its name, so that a `.tflite` file made of the graph tells its layers as one made
    of the model does.

    Args:
        inputs: as of `keras.Model`.
        outputs: as of `keras.Model`.
        name: as of `keras.Model`.
        **kwargs: `notes`, plain data that is saved with the model: how it came about; the rest as of `keras.Model`.
    """

    def __init__(self, inputs, outputs, name=None, **kwargs):
        self.notes: dict[str, Any] = kwargs.pop("notes", None) or {}
        super().__init__(inputs, outputs, name=name, **kwargs)

    def call(self, inputs, training=None, mask=None):
        def scoped(operation, args, kwargs):
            if training is not None and "training" in getattr(operation, "_call_context_args", {}):
                kwargs = {**kwargs, "training": training}
            with ExitStack() as scopes:
                for scope in operation.name.split(_PATH)[:-1]:
                    scopes.enter_context(keras.name_scope(scope))
                return operation(*args, **kwargs)

        return replay(self, tree.flatten(inputs), scoped)

    def get_config(self):
        return {**super().get_config(), "notes": self.notes}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        # JSON has made lists of the tuples in operations' options, and not every operation takes those.
        layers = [
            layer if "build_config" in layer else {**layer, "config": _with_tuples(layer["config"])}
            for layer in config["layers"]
        ]
        return super().from_config({**config, "layers": layers}, custom_objects)


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, (list, tuple)) else value


def flatten(model: keras.Model, keep: tuple[str, ...] = ()) -> Graph:
    """The same model as single operations.

    Args:
        model: a functional model.
        keep: names of classes of layers to leave whole; layers that draw random numbers always are, and layers whose
            `call` needs real numbers.

    Example:
        >>> graph = flatten(model)
        >>> numpy.abs(graph(image) - model(image)).max()
        0.0
    """
    return _Flattener(model, keep).graph


def restore_weights(graph: Graph, model: keras.Model) -> None:
    """Brings what a graph has learnt back into the model it was made of.

    Args:
        graph: of `flatten`, or made from one.
        model: the original, or one built alike.

    Raises:
        LiteError: if the graph was made of another model.
    """
    learnt = {x.name: x.learnt() if isinstance(x, Parameter) else x.weights for x in graph.layers}
    pairs = list(_Flattener(model, tuple(graph.notes.get("keep", ()))).pairs())
    for copy, weights in pairs:
        if [tuple(weight.shape) for weight in weights] != [tuple(w.shape) for w in learnt.get(copy.name, ())]:
            raise LiteError(f"Expected a graph made of a model like {model.name}. Received: one without {copy.name}")
    for copy, weights in pairs:
        for weight, value in zip(weights, learnt[copy.name], strict=True):
            weight.assign(value)


def layer_names(model: keras.Model) -> set[str]:
    """Names of a model's layers, as scopes of a file's tensors spell them; of a graph, those it was made of.

    Args:
        model: a model, or a graph.
    """
    if isinstance(model, Graph):
        return {scope for operation in model.operations for scope in operation.name.split(_PATH)[:-1]}
    return {layer.name for layer in model._flatten_layers(include_self=False)}


def scales_pixels(model: keras.Model) -> bool:
    """Whether a model, or the one a graph was made of, takes pixels and scales them itself.

    Args:
        model: a model, or a graph.
    """
    return "preprocessing" in layer_names(model)


class _Flattener:
    """Runs layers on stand-ins for tensors, and does what they did to the real ones."""

    def __init__(self, model: keras.Model, keep: tuple[str, ...]):
        self.keep = keep
        self.kept: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}
        self.parameters: dict[int, tuple[keras.Variable, Parameter, Any]] = {}
        self.names: Counter[str] = Counter()
        inputs = [
            keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x._keras_history.operation.name) for x in model.inputs
        ]
        self.anchor = inputs[0]
        given = tree.pack_sequence_as(model._inputs_struct, inputs)
        self.graph = Graph(given, self.open(model, (given,), {}, ()), name=model.name, notes={"keep": list(keep)})
        for copy, weights in self.pairs():
            copy.set_weights(weights)

    def pairs(self) -> Iterator[tuple[keras.layers.Layer, list[keras.Variable]]]:
        """The graph's layers that hold weights, and the weights they stand for."""
        yield from ((layer, [variable]) for variable, layer, _ in self.parameters.values())
        yield from ((copy, layer.weights) for layer, copy in self.kept.values())

    def open(self, layer: keras.layers.Layer, args: tuple, kwargs: dict, path: tuple[str, ...]) -> Any:
        """The outputs of a layer, from the operations inside."""
        real: dict[int, Any] = {}

        def stand_in(value, make=lambda value: value):
            if not isinstance(value, (keras.KerasTensor, keras.Variable)):
                return value
            double = keras.KerasTensor(value.shape, value.dtype)
            real[id(double)] = make(value)
            doubles.append(double)
            return double

        def resolve(value):
            return real[id(value)] if isinstance(value, keras.KerasTensor) else value

        doubles: list[keras.KerasTensor] = []  # held, so that no other object gets an id of theirs
        weights = {name: value for name, value in vars(layer).items() if isinstance(value, keras.Variable)}
        with _swapped(layer, {n: stand_in(v, lambda v: self._parameter(v, path)) for n, v in weights.items()}):
            given, named = tree.map_structure(stand_in, (args, kwargs))
            results = _call_of(layer)(*given, **named)
        for node in nodes_before(tree.flatten(results), real):
            given, named = tree.map_structure(resolve, (node.arguments.args, node.arguments.kwargs))
            outputs = tree.flatten(self._apply(node.operation, given, named, path))
            real.update(zip(map(id, node.outputs), outputs, strict=True))
        return tree.map_structure(resolve, results)

    def _apply(self, operation: keras.Operation, args: tuple, kwargs: dict, path: tuple[str, ...]) -> Any:
        if isinstance(operation, keras.layers.Layer):
            path = (*path, operation.name)
            if not self._stays_whole(operation):
                try:
                    return self.open(operation, args, kwargs, path)
                except (TypeError, ValueError, AttributeError, NotImplementedError):
                    pass  # Its `call` wants real tensors.
            return self._whole(operation, path)(*args, **kwargs)
        if type(operation).__name__ in ("Cast", "ConvertToTensor") and operation.dtype in (None, args[0].dtype):
            return args[0]
        # Keras numbers its operations through; one of a graph has a name that says more.
        own = operation.name if _PATH in operation.name else _WORD.sub("_", type(operation).__name__).lower()
        return renamed(operation, self._name((*path, own)))(*args, **kwargs)

    def _stays_whole(self, layer: keras.layers.Layer) -> bool:
        own = (*layer._trainable_variables, *layer._non_trainable_variables)
        hidden = {id(weight) for weight in own} - {id(value) for value in vars(layer).values()}  # in lists, say
        return bool(is_random(layer) or hidden or type(layer).__name__ in self.keep)

    def _whole(self, layer: keras.layers.Layer, path: tuple[str, ...]) -> keras.layers.Layer:
        if id(layer) not in self.kept:
            copy = renamed(layer, self._name(path))
            self.kept[id(layer)] = layer, copy
        return self.kept[id(layer)][1]

    def _parameter(self, variable: keras.Variable, path: tuple[str, ...]) -> keras.KerasTensor:
        """A weight's node."""
        if id(variable) not in self.parameters:
            layer = Parameter(
                variable.shape,
                variable.name,
                name=self._name((*path, variable.name)),
                trainable=variable.trainable,
                dtype=variable.dtype,
            )
            self.parameters[id(variable)] = variable, layer, layer(self.anchor)
        return self.parameters[id(variable)][2]

    def _name(self, path: tuple[str, ...]) -> str:
        name = _PATH.join(path)
        self.names[name] += 1
        return name if self.names[name] == 1 else f"{name}_{self.names[name]}"


def _call_of(layer: keras.layers.Layer) -> Callable:
    """What a layer does, in `keras.ops`: Keras' own scaling of pixels is made for other pipelines too."""
    if not isinstance(layer, keras.layers.Rescaling):
        return layer.call
    scale, offset = (np.asarray(value, "float32") for value in (layer.scale, layer.offset))
    return lambda inputs: keras.ops.cast(inputs, "float32") * scale + offset


@contextmanager
def _swapped(layer: keras.layers.Layer, attributes: dict[str, Any]) -> Iterator[None]:
    """A layer with other attributes, for a while."""
    before = {name: vars(layer)[name] for name in attributes}
    vars(layer).update(attributes)
    try:
        yield
    finally:
        vars(layer).update(before)


def renamed(operation: Any, name: str) -> Any:
    """A copy of an operation or a layer under another name, unbuilt.

    Args:
        operation: the original.
        name: of the copy.
    """
    return type(operation).from_config({**operation.get_config(), "name": name})


def nodes_before(tensors: list[Any], known: dict[int, Any]) -> Iterator[Any]:
    """The calls that made some tensors, each after those it needs.

    Args:
        tensors: what was made.
        known: tensors by id that need no making.
    """
    made = set(known)
    waiting = [tensor for tensor in reversed(tensors) if isinstance(tensor, keras.KerasTensor)]
    while waiting:
        tensor = waiting[-1]
        if id(tensor) in made:
            waiting.pop()
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        missing = [x for x in node.input_tensors if id(x) not in made]
        if missing:
            waiting += reversed(missing)
            continue
        made.update(map(id, node.outputs))
        yield node


def replay(graph: keras.Model, inputs: list[Any], call: Call) -> Any:
    """Goes through a graph once more.

    Args:
        graph: a functional model.
        inputs: what to start from, in the order of its inputs.
        call: gets every operation with its arguments, in order, and gives its outputs.

    Returns:
        The outputs, in the graph's structure.
    """
    values = dict(zip(map(id, graph.inputs), inputs, strict=True))
    for node in nodes_before(graph.outputs, values):
        args, kwargs = node.arguments.fill_in(values)
        outputs = tree.flatten(call(node.operation, args, kwargs))
        values.update(zip(map(id, node.outputs), outputs, strict=True))
    return tree.pack_sequence_as(graph._outputs_struct, [values[id(x)] for x in graph.outputs])


def is_random(operation: keras.Operation) -> bool:
    """Whether an operation draws random numbers, as layers do that let everything pass outside of training.

    Args:
        operation: a layer, or anything else of a graph.
    """
    return any(isinstance(value, keras.random.SeedGenerator) for value in vars(operation).values())


def constants(graph: keras.Model) -> set[str]:
    """Names of the operations whose results no image changes.

    Args:
        graph: of `flatten`, or made from one.
    """
    constant: set[str] = set()
    for node in nodes_before(graph.outputs, {id(x): x for x in graph.inputs}):
        sources = [tensor._keras_history.operation for tensor in node.input_tensors]
        fixed = isinstance(node.operation, Parameter) or type(node.operation).__name__ in ("OnesLike", "ZerosLike")
        if fixed or all(source.name in constant for source in sources):
            constant.add(node.operation.name)
    return constant
