"""A float file and a recipe -> a quantised file: by ai-edge-quantizer, or by `integers` where no float may be left."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from keras_effvit.lite.calibration import Calibration
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.flatfile import pack, unpack
from keras_effvit.lite.inspection import MOVES, Inspection, Operator
from keras_effvit.lite.integers import quantize_integers
from keras_effvit.lite.large_kernels import two_dimensional_kernels
from keras_effvit.lite.recipe import Recipe, Rule

#: What numerators and denominators are made by.
_OF_QUOTIENTS = frozenset({"ADD", "SUB", "MUL", "BATCH_MATMUL", "STRIDED_SLICE", "SLICE"})
#: What hands the scale of its numbers on.
_MOVERS = MOVES | {"CONCATENATION"}


def quantize(content: bytes, found: Inspection, recipe: Recipe, calibration: Calibration | None = None) -> bytes:
    """Applies a recipe.

    Args:
        content: the float file.
        found: of `inspect`, with the layers' names.
        recipe: which operators become what.
        calibration: the ranges, where the recipe needs them.

    Raises:
        LiteError: if the quantizer refuses, with its reason.
    """
    chosen = assign(found, recipe)
    if not chosen:
        return content
    if recipe.in_integers:
        return quantize_integers(content, _bits(found, chosen), calibration.ranges if calibration else {})
    from ai_edge_quantizer import quantizer

    tool = quantizer.Quantizer(content)
    for rule, operators in chosen.items():
        for name, tensors in _by_name(operators, found).items():
            # One expression for all operators of a kind: the names of their outputs, as they are.
            scope = "^(" + "|".join(re.escape(tensor) for tensor in tensors) + ")"
            _add(tool, rule, scope, name)
    # Of the rank of their tensors, as the quantizer writes them itself: constants beside them take theirs over.
    ranks = {tensor.name: (1,) * len(tensor.shape) for tensor in found.tensors}
    ranges = calibration and {
        name: {"min": np.full(ranks[name], low, np.float32), "max": np.full(ranks[name], high, np.float32)}
        for name, (low, high) in _with_symmetric(calibration.ranges, found, chosen).items()
    }
    try:
        with two_dimensional_kernels(), _silence(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the runtime, about the tensors the quantizer lets it keep
            quantized = bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)
        return _restore_outputs(quantized)
    except (ValueError, RuntimeError, KeyError) as error:
        raise LiteError(f"The recipe {recipe.name} cannot be applied: {error}") from error


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def _with_symmetric(
    ranges: Mapping[str, tuple[float, float]], found: Inspection, chosen: dict[Rule, list[Operator]]
) -> dict[str, tuple[float, float]]:
    """Ranges that give the right operands of matmuls the zero point 0; XNNPACK takes no other in integers.

    What only moves numbers hands its scale on, so the tensors that those come from are symmetric with them.
    """
    static = {operator.index: rule for rule, operators in chosen.items() for operator in operators}
    makers = {index: operator for operator in found.operators for index in operator.outputs}
    waiting = [
        operator.inputs[1]
        for operator in found.operators
        if operator.name == "BATCH_MATMUL" and operator.index in static and static[operator.index].mode == "static"
    ]
    symmetric: set[int] = set()
    while waiting:
        index = waiting.pop()
        if index in symmetric:
            continue
        symmetric.add(index)
        maker = makers.get(index)
        if maker and maker.name in _MOVERS and maker.index in static:
            waiting += [*maker.inputs, *maker.outputs]
    result = dict(ranges)
    for name in {found.tensors[index].name for index in symmetric} & ranges.keys():
        step = max(-ranges[name][0], ranges[name][1]) / 127
        result[name] = (-128 * step, 127 * step)
    return result


def _restore_outputs(content: bytes) -> bytes:
    """Gives the outputs back their names and floats.

    Where an output also goes on inside the model, as a pyramid's maps do, the quantizer hands out the quantised copy
    and leaves the signature pointing at a tensor that the runtime does not count among the outputs.
    """
    model = unpack(content)
    graph, named = model.subgraphs[0], model.signatureDefs[0].outputs
    if {int(index) for index in graph.outputs} == {entry.tensorIndex for entry in named}:
        return content
    produced = {int(index) for operator in graph.operators for index in operator.outputs}
    lost = [entry.name for entry in named if entry.tensorIndex not in produced]
    if lost:
        raise LiteError(f"The quantizer lost the outputs {lost}; `islands` leaves the layers before them in float")
    graph.outputs = [entry.tensorIndex for entry in named]
    return pack(model)


def assign(found: Inspection, recipe: Recipe) -> dict[Rule, list[Operator]]:
    """The operators that every rule gets; the last rule that fits an operator has it.

    Args:
        found: of `inspect`.
        recipe: the rules.
    """
    rules = {operator.index: recipe.rule_for(operator.name, operator.layer) for operator in found.operators}
    static = {index for index, rule in rules.items() if rule and rule.mode == "static"}
    static |= _followers({index for index, rule in rules.items() if rule and rule.mode == "follow"}, static, found)
    chosen: dict[Rule, list[Operator]] = {}
    for operator in found.operators:
        rule = rules[operator.index]
        if rule is not None and (rule.mode != "follow" or operator.index in static):
            chosen.setdefault(rule, []).append(operator)
    return chosen


def _followers(movers: set[int], static: set[int], found: Inspection) -> set[int]:
    """Of the operators that only move numbers, those that can move integers at no cost.

    They come behind a static operator, or go to static operators only; chains of them follow together.
    """
    makers = {index: operator.index for operator in found.operators for index in operator.outputs}
    takers: dict[int, list[int]] = {}
    for operator in found.operators:
        for index in operator.inputs:
            takers.setdefault(index, []).append(operator.index)
    # XNNPACK takes no SPLIT of integers with a part that nothing takes.
    movers -= {makers[index] for index in found.idle}
    following: set[int] = set()
    for operator in found.operators:
        sources = [makers[index] for index in operator.inputs if index in makers]
        if operator.index in movers and sources and all(source in static | following for source in sources):
            following.add(operator.index)
    for operator in reversed(found.operators):
        targets = [taker for index in operator.outputs for taker in takers.get(index, [])]
        if operator.index in movers and targets and all(target in static | following for target in targets):
            following.add(operator.index)
    return following


def _bits(found: Inspection, chosen: dict[Rule, list[Operator]]) -> dict[int, int]:
    """Bits of every operator's activations.

    Rounding a numerator and a denominator to eight bits costs small quotients everything, whatever the division does
    then; so what a quotient is made of has as many bits as itself.
    """
    bits = {operator.index: rule.activation_bits for rule, operators in chosen.items() for operator in operators}
    makers = {index: operator for operator in found.operators for index in operator.outputs}
    waiting = [operator for operator in found.operators if operator.name == "DIV" and bits.get(operator.index) == 16]
    while waiting:
        for maker in (makers.get(index) for index in waiting.pop().inputs):
            if maker and maker.name in _OF_QUOTIENTS and bits.get(maker.index) == 8:
                bits[maker.index] = 16
                waiting.append(maker)
    return bits


def _by_name(operators: list[Operator], found: Inspection) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for operator in operators:
        names.setdefault(operator.name, []).append(found.tensors[operator.outputs[0]].name)
    return names


def _add(tool: Any, rule: Rule, scope: str, name: str) -> None:
    from ai_edge_quantizer import qtyping, recipe_manager

    if rule.mode in ("static", "follow"):
        tool.add_static_config(scope, name, activation_num_bits=rule.activation_bits, weight_num_bits=rule.weight_bits)
    elif rule.mode == "dynamic":
        tool.add_dynamic_config(scope, name, num_bits=rule.weight_bits)
    elif rule.mode == "weights":
        tool.add_weight_only_config(scope, name, num_bits=rule.weight_bits)
    else:
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        tool.update_quantization_recipe(
            scope,
            name,
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=half,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=recipe_manager.AlgorithmName.FLOAT_CASTING,
        )
