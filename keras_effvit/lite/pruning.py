"""Pruning by magnitude while training: a graph whose weights lose their smallest values step by step.

The schedules and the masks are tensorflow-model-optimization's; only its wrappers know Keras 2 alone.
"""

import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.graph import Graph, Parameter, constants, flatten, nodes_before, replay
from keras_effvit.lite.tfmot import tfmot

#: Operations whose weights are pruned, and which operand those are. Depthwise weights are few, and each is missed.
PRUNED = {"Conv": 1, "GroupedProduct": 1, "Matmul": 1}


def polynomial_decay(
    final_sparsity: float,
    begin_step: int,
    end_step: int,
    *,
    initial_sparsity: float = 0.0,
    power: float = 3,
    frequency: int = 100,
) -> Any:
    """A schedule that prunes quickly first and slowly towards its end (Zhu and Gupta 2017).

    Args:
        final_sparsity: share of the weights that are 0 from `end_step` on.
        begin_step: first step of training that prunes.
        end_step: last step that prunes; the zeros stay.
        initial_sparsity: share at `begin_step`.
        power: of the polynomial.
        frequency: steps from one pruning to the next.
    """
    schedule = tfmot().schedules.PolynomialDecay
    return schedule(initial_sparsity, final_sparsity, begin_step, end_step, power, frequency)


def constant_sparsity(target_sparsity: float, begin_step: int = 0, *, end_step: int = -1, frequency: int = 100) -> Any:
    """A schedule that prunes to the same share every time.

    Args:
        target_sparsity: share of the weights that are 0.
        begin_step: first step of training that prunes.
        end_step: last step that prunes; -1 for never.
        frequency: steps from one pruning to the next.
    """
    return tfmot().schedules.ConstantSparsity(target_sparsity, begin_step, end_step, frequency)


@keras.saving.register_keras_serializable("keras_effvit")
class PrunedParameter(Parameter):
    """A weight that loses its smallest values as training goes on.

    Args:
        weight_shape: of the weight.
        weight_name: such as `"kernel"`.
        schedule: plain data, of a schedule's `get_config`.
        pattern: (zeros, of how many neighbours), or `None` for anywhere.
    """

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        weight_name: str,
        schedule: Mapping[str, Any],
        pattern: tuple[int, int] | None = None,
        **kwargs,
    ):
        super().__init__(weight_shape, weight_name, **kwargs)
        self.schedule = dict(schedule)
        self.pattern = None if pattern is None else tuple(pattern)

    def build(self, input_shape):
        super().build(input_shape)
        self.mask = self.add_weight(name="mask", shape=self.weight_shape, initializer="ones", trainable=False)
        self.threshold = self.add_weight(name="threshold", shape=(), initializer="zeros", trainable=False)
        minus_one = keras.initializers.Constant(-1)
        self.step = self.add_weight(name="step", shape=(), dtype="int32", initializer=minus_one, trainable=False)

    def call(self, inputs, training=False):
        if training:
            self.step.assign_add(1)
            self._update_mask()
        return self.weight * self.mask

    def learnt(self):
        return [self.weight * self.mask]

    def _update_mask(self) -> None:
        tools = tfmot()
        schedule = getattr(tools.schedules, self.schedule["class_name"])(**self.schedule["config"])
        variables = [(self.weight.value, self.mask.value, self.threshold.value)]
        rule = tools.Pruning(lambda: self.step.value, variables, schedule, (1, 1), "AVG", self.pattern)
        rule.conditional_mask_update()

    def get_config(self):
        return {**super().get_config(), "schedule": self.schedule, "pattern": self.pattern}


def prune(model: keras.Model, schedule: Any, *, pattern: str | None = None, layers: str = "") -> Graph:
    """The model, losing the smallest weights of its convolutions and linear layers while it trains.

    `convert` and `quantize_aware` take the result, whose zeros stay zeros; `restore_weights` brings what is left back
    into the model.

    Args:
        model: a functional model.
        schedule: of `polynomial_decay` or `constant_sparsity`, or tensorflow-model-optimization's own.
        pattern: such as `"2:4"`: two zeros in every four neighbours along the input channels, which some processors
            run faster; by default the smallest weights go wherever they are.
        layers: a regular expression that is searched for in the layers' paths, such as `"stage4.*/qkv"`.

    Returns:
        A model that trains and saves like any other.

    Raises:
        LiteError: for another pattern or schedule, or if no layer fits.

    Example:
        >>> pruned = prune(model, polynomial_decay(0.5, begin_step=0, end_step=1000))
        >>> pruned.compile("adam", "sparse_categorical_crossentropy")
        >>> pruned.fit(images, labels)
        >>> sparsity(pruned)
        0.5
    """
    zeros = _pattern(pattern)
    graph = flatten(model, keep=("BatchNorm", "BatchNormalization"))
    chosen = _weights_of(graph, re.compile(layers))
    if not chosen:
        raise LiteError(f"Expected `layers` to fit convolutions or linear layers. Received: {layers!r}")
    if not hasattr(schedule, "get_config"):
        raise LiteError(f"Expected a schedule, such as of `polynomial_decay`. Received: {schedule!r}")
    settings = schedule.get_config()
    _check_schedule(settings)

    def call(operation, args, kwargs):
        if operation.name not in chosen:
            return operation(*args, **kwargs)
        pruned = PrunedParameter(
            operation.weight_shape, operation.weight_name, settings, zeros, name=operation.name, dtype=operation.dtype
        )
        result = pruned(*args)
        pruned.weight.assign(operation.weight)
        return result

    outputs = replay(graph, graph.inputs, call)
    return Graph(graph._inputs_struct, outputs, name=graph.name, notes=graph.notes)


def sparsity(graph: keras.Model) -> float:
    """The share of zeros among the weights that a graph prunes.

    Args:
        graph: of `prune`.
    """
    masks = [keras.ops.convert_to_numpy(x.mask) for x in graph.layers if isinstance(x, PrunedParameter)]
    if not masks:
        raise LiteError("Expected a model of `prune`. Received: one that prunes nothing")
    return 1 - sum(float(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)


def _pattern(pattern: str | None) -> tuple[int, int] | None:
    if pattern is None:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    zeros, neighbours = (int(number) for number in found.groups()) if found else (0, 0)
    if not 0 < zeros < neighbours:
        raise LiteError(f"`pattern` must be zeros and neighbours, such as '2:4'. Received: pattern={pattern!r}")
    return zeros, neighbours


def _check_schedule(settings: Mapping[str, Any]) -> None:
    """Whether a saved model will find the schedule again."""
    name = settings.get("class_name")
    if not isinstance(getattr(tfmot().schedules, str(name), None), type):
        raise LiteError(f"Expected a schedule of tensorflow-model-optimization. Received: {name}")


def _weights_of(graph: Graph, layers: re.Pattern[str]) -> set[str]:
    """Names of the parameters that convolutions and linear layers of some paths multiply by."""
    chosen: set[str] = set()
    constant, inputs = constants(graph), {id(x): x for x in graph.inputs}
    for operation in graph.operations:
        operand = PRUNED.get(type(operation).__name__)
        if operand is None or not layers.search("/".join(operation.name.split(".")[:-1])):
            continue
        weights = operation._inbound_nodes[-1].arguments.args[operand]
        if weights._keras_history.operation.name in constant:
            sources = [node.operation for node in nodes_before([weights], inputs)]
            chosen.update(x.name for x in sources if isinstance(x, Parameter) and len(x.weight_shape) > 1)
    return chosen
