"""Kernels of more than 32 MiB, which ai-edge-quantizer 0.10 cannot quantise while they have four dimensions.

It makes large constants two-dimensional to go through them in pieces, but spreads their scales, which are of four, over
the two; so it is given two dimensions to begin with. UperNet's widest convolution is that large.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np


@contextmanager
def two_dimensional_kernels() -> Iterator[None]:
    """Lets the quantizer see kernels with a scale for every output as a matrix, a row for every output."""
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor

    quantize = uniform_quantize_tensor.uniform_quantize

    def in_two(data: np.ndarray, params, *args, **kwargs) -> np.ndarray:
        if data.ndim != 4 or params.quantized_dimension != 0:
            return quantize(data, params, *args, **kwargs)
        rows = replace(params, scale=params.scale.reshape(-1, 1), zero_point=params.zero_point.reshape(-1, 1))
        return quantize(data.reshape(len(data), -1), rows, *args, **kwargs).reshape(data.shape)

    uniform_quantize_tensor.uniform_quantize = in_two
    try:
        yield
    finally:
        uniform_quantize_tensor.uniform_quantize = quantize
