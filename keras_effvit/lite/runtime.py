"""Running `.tflite` files in this process: the one place that knows the runtime's Python interface."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_effvit.lite.child import LiteError

#: What the runtime raises for a file it does not like.
_ERRORS = (ValueError, RuntimeError, TypeError)


class Runner:
    """A file that is loaded and ready to run.

    Args:
        content: the file.
        threads: of XNNPACK.
        delegate: whether XNNPACK runs it; otherwise the builtin kernels.
        keep_all: whether the values of all tensors can be read after a run.

    Raises:
        LiteError: if the runtime refuses the file.
    """

    def __init__(self, content: bytes, *, threads: int = 1, delegate: bool = True, keep_all: bool = False):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with warnings.catch_warnings():
                # That keeping all tensors takes memory is known to whoever asks for it.
                warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
                self._interpreter = Interpreter(
                    model_content=content,
                    num_threads=threads,
                    experimental_op_resolver_type=resolver,
                    experimental_preserve_all_tensors=keep_all,
                )
            self._interpreter.allocate_tensors()
        except _ERRORS as error:
            raise LiteError(f"Expected a .tflite file that this runtime can run. Received: {error}") from error
        self.inputs = self._interpreter.get_input_details()
        self.outputs = self._interpreter.get_output_details()
        keys = self._interpreter.get_signature_list()
        #: Names of the signature's outputs in the order of `outputs`.
        self.output_names = _output_names(self._interpreter, keys, self.outputs)

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Runs one batch.

        Args:
            image: floating-point values; they are quantised here where the file takes integers.

        Returns:
            By name, floating-point outputs.
        """
        details = self.inputs[0]
        self._interpreter.set_tensor(details["index"], quantized(image, details))
        try:
            self._interpreter.invoke()
        except _ERRORS as error:
            raise LiteError(f"The file does not run: {error}") from error
        return {
            name: dequantized(self._interpreter.get_tensor(details["index"]), details)
            for name, details in zip(self.output_names, self.outputs, strict=True)
        }

    def invoke(self) -> None:
        """Runs again on the same input, which is what a clock wants."""
        self._interpreter.invoke()

    def tensor(self, index: int) -> np.ndarray:
        """The value of a tensor after the last run, of a runner that keeps all.

        Args:
            index: of the tensor.
        """
        return self._interpreter.get_tensor(index)


def quantized(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    """`values` as the type of a tensor.

    Args:
        values: floating-point numbers.
        details: the runtime's, of the tensor.
    """
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return np.ascontiguousarray(values, dtype)
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / (scale or 1)) + zero_point, limits.min, limits.max).astype(dtype)


def dequantized(values: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    """The numbers that a tensor's integers stand for.

    Args:
        values: of the tensor.
        details: the runtime's, of the tensor.
    """
    if values.dtype.kind == "f":
        return values.copy()
    scale, zero_point = details["quantization"]
    return ((values.astype(np.float32) - zero_point) * (scale or 1)).astype(np.float32)


def _output_names(interpreter: Any, keys: Mapping[str, Any], outputs: list[dict]) -> list[str]:
    """Names by the signature, whose tensors the runtime lists in another order."""
    if not keys:
        return [details["name"] for details in outputs]
    names = {
        details["index"]: name
        for name, details in interpreter.get_signature_runner(next(iter(keys))).get_output_details().items()
    }
    return [names.get(details["index"], details["name"]) for details in outputs]
