"""What is in a `.tflite` file: operators, tensors, partitions. Works on any file, ours or not."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_effvit.lite.child import Child, LiteError

#: What cuts a name of the converter into scopes, and what Keras appends to a layer that is called again.
_SCOPES = re.compile(r"[/;]+")
_AGAIN = re.compile(r"_\d+$")
#: Types of numbers that are quantised.
INTEGERS = frozenset({"INT8", "UINT8", "INT16", "INT4"})
#: Operators that move the numbers of one operand, or choose among them: the result lies on the operand's steps.
MOVES = frozenset(
    {
        *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "PAD"),
        *("SLICE", "STRIDED_SLICE", "SPLIT", "MAX_POOL_2D"),
    }
)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        name: what the converter called it.
        shape: as the runtime allocates it.
        type: such as `"FLOAT32"`.
        bytes: stored in the file; 0 for what is computed.
        dynamic: whether a side is only known when it runs.
        scale: of a tensor with a single one.
        zero_point: of a tensor with a single one.
        channels: how many scales it has.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int
    dynamic: bool
    scale: float | None
    zero_point: int | None
    channels: int


@dataclass(frozen=True)
class Operator:
    """An operator of a file.

    Attributes:
        index: its place in the order of execution.
        name: such as `"CONV_2D"`.
        layer: the Keras layer it comes from, as far as its name says.
        inputs: indices of tensors.
        outputs: indices of tensors.
        custom: whether no runtime knows it by itself (Flex operators are).
        partition: the XNNPACK partition that runs it; `None` outside.
    """

    index: int
    name: str
    layer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom: bool
    partition: int | None


@dataclass(frozen=True)
class Inspection:
    """What is in a file.

    Attributes:
        bytes: its size.
        operators: in the order of execution.
        tensors: all of them.
        partitions: XNNPACK partitions, as the runtime makes them.
        inputs: names and tensors of the signature's inputs.
        outputs: names and tensors of the signature's outputs.
        metadata: names of what is attached, and the buffers that hold it.
    """

    bytes: int
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    partitions: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    metadata: Mapping[str, int]

    @property
    def outside(self) -> tuple[Operator, ...]:
        """Operators that no partition runs."""
        return tuple(operator for operator in self.operators if operator.partition is None)

    @property
    def custom(self) -> tuple[Operator, ...]:
        """Operators that need more than the runtime."""
        return tuple(operator for operator in self.operators if operator.custom)

    @property
    def highest_rank(self) -> int:
        """Of any tensor an operator touches."""
        return max((len(self.tensors[index].shape) for index in self._touched()), default=0)

    @property
    def dynamic(self) -> tuple[Tensor, ...]:
        """Tensors with a side that is only known when it runs."""
        return tuple(self.tensors[index] for index in self._touched() if self.tensors[index].dynamic)

    @property
    def islands(self) -> tuple[Operator, ...]:
        """Operators that calculate in float between quantised ones; none in a file without quantised activations."""
        if not any(operator.name == "QUANTIZE" for operator in self.operators):
            return ()
        return tuple(
            operator
            for operator in self.operators
            if operator.name not in ("QUANTIZE", "DEQUANTIZE") and self.tensors[operator.outputs[0]].type == "FLOAT32"
        )

    @cached_property
    def taken(self) -> frozenset[int]:
        """Tensors that an operator takes, or the caller."""
        inputs = {index for operator in self.operators for index in operator.inputs}
        return frozenset(inputs | set(self.outputs.values()))

    @cached_property
    def idle(self) -> Mapping[int, int]:
        """Parts of a SPLIT that nothing takes, which XNNPACK does not calculate, and the whole they are parts of.

        Of an attention to one single token, whose share is 1, the converter keeps the values and leaves these behind.
        """
        splits = [each for each in self.operators if each.name == "SPLIT" and self.taken & set(each.outputs)]
        return {index: split.inputs[1] for split in splits for index in split.outputs if index not in self.taken}

    def counts(self) -> Counter[str]:
        """How many operators there are of each kind."""
        return Counter(operator.name for operator in self.operators)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain data, with the properties that tests and reports look at."""
        return {
            **asdict(self),
            "summary": {
                "partitions": self.partitions,
                "outside": [f"{operator.name} in {operator.layer}" for operator in self.outside],
                "custom": [operator.name for operator in self.custom],
                "highest_rank": self.highest_rank,
                "dynamic": [tensor.name for tensor in self.dynamic],
                "islands": dict(Counter(operator.name for operator in self.islands)),
                "operators": dict(self.counts()),
            },
        }

    def _touched(self) -> set[int]:
        return {index for operator in self.operators for index in (*operator.inputs, *operator.outputs)}


def inspect(model: bytes | str | Path, *, layers: Iterable[str] = (), invoke: bool = False) -> Inspection:
    """Looks into a file, in a process of its own that it may crash.

    Args:
        model: a file's content or path.
        layers: names of a Keras model's layers, to tell them from other scopes; without them the names in the file
            are taken as they are.
        invoke: also run it once, on zeros.

    Raises:
        LiteError: if it is no file the runtime can run.
        OSError: if it cannot be opened.

    Example:
        >>> inspect("model.tflite").counts()["FULLY_CONNECTED"]
        27
    """
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    if not content:
        raise LiteError("Expected a .tflite file. Received: an empty one")
    with Child() as child:
        found = child.look(content, invoke=invoke)
    return read_probe(found, len(content), layers)


def read_probe(found: Mapping[str, Any], size: int, layers: Iterable[str] = ()) -> Inspection:
    """An inspection from what the probe found.

    Args:
        found: the probe's answer.
        size: of the file.
        layers: as in `inspect`.
    """
    tensors = tuple(
        Tensor(
            name=entry["name"],
            shape=tuple(entry["shape"]),
            type=entry["type"],
            bytes=entry["bytes"],
            dynamic=entry["dynamic"],
            scale=entry["scale"],
            zero_point=entry["zero_point"],
            channels=entry["scales"],
        )
        for entry in found["tensors"]
    )
    signature = found["signatures"][0] if found["signatures"] else {"inputs": {}, "outputs": {}}
    places = _places(found["operators"], tensors, frozenset(layers), signature["outputs"])
    operators = tuple(
        Operator(
            index=index,
            name=entry["name"],
            layer=places[index],
            inputs=tuple(entry["inputs"]),
            outputs=tuple(entry["outputs"]),
            custom=entry["custom"],
            partition=entry["partition"],
        )
        for index, entry in enumerate(found["operators"])
    )
    return Inspection(
        bytes=size,
        operators=operators,
        tensors=tensors,
        partitions=found["partitions"],
        inputs=signature["inputs"],
        outputs=signature["outputs"],
        metadata=found["metadata"],
    )


def _places(
    operators: list[dict], tensors: tuple[Tensor, ...], known: frozenset[str], outputs: Mapping[str, int]
) -> list[str]:
    """The layer of every operator; where the converter lost it, that of the operator that takes the result."""
    results = {index: name for name, index in outputs.items()}
    places: list[str] = [""] * len(operators)
    takers: dict[int, str] = {}
    for index, entry in reversed(list(enumerate(operators))):
        produced = entry["outputs"][:1]
        for tensor in produced:
            name = tensors[tensor].name
            lost = "/" not in name or (known and not known & set(_scopes(name, known)))
            taker = results.get(tensor) or takers.get(tensor) or name
            places[index] = taker if lost else layer_of(name, known)
        takers.update(dict.fromkeys(entry["inputs"], places[index]))
    return places


def _scopes(tensor: str, known: frozenset[str]) -> list[str]:
    """The parts of a tensor's name, without TensorFlow's own and what Keras appends to layers called again."""
    scopes = [scope for scope in _SCOPES.split(tensor.split(";")[0]) if scope and scope != "batchnorm"]
    return [scope if scope in known else _AGAIN.sub("", scope) for scope in scopes]


def layer_of(tensor: str, known: frozenset[str] = frozenset()) -> str:
    """The Keras layer in a tensor's name.

    Args:
        tensor: such as `sepvit_lite_1/stage1_block1_attn_1/dsa_1/qkv_1/Tensordot`.
        known: names of a model's layers.

    Returns:
        Such as `stage1_block1_attn/dsa/qkv`, without the model's name and the operator's.
    """
    plain = _scopes(tensor, known)
    for start, scope in enumerate(plain):
        if scope in known:
            return "/".join(plain[start:-1]) or scope
    return "/".join(plain[1:-1] or plain)
