"""What other accelerators would make of a file: static rules, with the reason for every operator they refuse.

XNNPACK's answer is measured (`Inspection.partitions`, `.outside`). A GPU or an NNAPI driver needs a phone; until one is
asked, these rules say what their documentation and sources promise. They err on the side of refusing.
"""

from dataclasses import dataclass

from keras_effvit.lite.inspection import INTEGERS, Inspection, Operator

#: Operators of the GPU delegate (OpenGL and OpenCL backends).
GPU = frozenset(
    {
        *("ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE"),
        *("DEPTH_TO_SPACE", "DIV", "ELU", "EXP", "FULLY_CONNECTED", "GATHER", "GELU", "HARD_SWISH", "LEAKY_RELU"),
        *("LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "NEG", "PACK", "PAD", "POW", "PRELU"),
        *("QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RSQRT", "SLICE"),
        *("RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQRT", "SQUARE", "SQUARED_DIFFERENCE"),
        *("STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
    }
)
#: Operators of NNAPI 1.2 (Android 10) and later; the interface is deprecated since Android 15.
NNAPI = frozenset(
    {
        *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE"),
        *("DIV", "EXP", "FULLY_CONNECTED", "GATHER", "HARD_SWISH", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN"),
        *("MINIMUM", "MUL", "NEG", "PACK", "PAD", "POW", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU"),
        *("RELU6", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX"),
        *("SPACE_TO_DEPTH", "SPLIT", "SQRT", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
    }
)
HIGHEST_RANK = 4


@dataclass(frozen=True)
class Refusal:
    """An operator that an accelerator would leave to the processor.

    Attributes:
        operator: which.
        layer: where it comes from.
        reason: why.
    """

    operator: str
    layer: str
    reason: str


def gpu_refusals(found: Inspection) -> list[Refusal]:
    """What the GPU delegate would refuse.

    Args:
        found: of `inspect`.
    """
    return _refusals(found, GPU, "the GPU delegate has no such operator", integers=True)


def nnapi_refusals(found: Inspection) -> list[Refusal]:
    """What NNAPI would refuse.

    Args:
        found: of `inspect`.
    """
    return _refusals(found, NNAPI, "NNAPI has no such operator", integers=False)


def _refusals(found: Inspection, known: frozenset[str], missing: str, *, integers: bool) -> list[Refusal]:
    refusals = []
    for operator in found.operators:
        reason = missing if operator.name not in known else _reason(operator, found, integers=integers)
        if reason:
            refusals.append(Refusal(operator.name, operator.layer, reason))
    return refusals


def _reason(operator: Operator, found: Inspection, *, integers: bool) -> str | None:
    tensors = [found.tensors[index] for index in (*operator.inputs, *operator.outputs)]
    if any(len(tensor.shape) > HIGHEST_RANK for tensor in tensors):
        return f"more than {HIGHEST_RANK} dimensions"
    if any(tensor.dynamic for tensor in tensors):
        return "a size that is only known when it runs"
    types = {tensor.type for tensor in tensors if not tensor.bytes}
    if integers and "INT16" in types:
        return "16-bit activations"
    if not integers and len(types & {"FLOAT32", *INTEGERS}) > 1 and operator.name not in ("QUANTIZE", "DEQUANTIZE"):
        return f"mixed types: {', '.join(sorted(types))}"
    if operator.name == "BATCH_MATMUL" and types & INTEGERS:
        return "a matmul of quantised activations"
    return None
