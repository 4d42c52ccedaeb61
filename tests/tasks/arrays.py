"""Arrays of the types that scenes are made of, short enough to write down by hand."""

from typing import Any

import numpy as np


def ints(values: Any) -> np.ndarray:
    return np.array(values, np.int32)


def floats(values: Any) -> np.ndarray:
    return np.array(values, np.float32)
