"""Golden outputs: regenerates the deterministic weights and inputs, and compares what our models compute with them.

The rule, and what produced the files, is in `tests/data/parity/README.md`.
"""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

DATA = Path(__file__).parent / "data" / "parity"
LOGITS_TOLERANCE = 2e-5
PROBE_TOLERANCE = 1e-4  # of the probe's standard deviation


def draw(name: str, shape) -> np.ndarray:
    """The float32 normal numbers that belong to a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape)).astype(np.float32)


class Fixture:
    """One golden file: the entries of a checkpoint, the inputs, and what the authors' code computed."""

    def __init__(self, name: str):
        self.meta = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
        self.arrays = np.load(DATA / f"{name}.npz")
        self.cases = {case.get("id") or case.get("case"): case for case in self.meta["cases"]}

    def state_dict(self) -> dict[str, np.ndarray]:
        """The checkpoint."""
        return {entry["name"]: self._tensor(entry) for entry in self.meta["entries"]}

    def image(self, case: str) -> np.ndarray:
        """The case's input, channels last."""
        meta = self.cases[case]
        shape = meta["input_shape"] if "input_shape" in meta else meta["input"]["shape_nchw"]
        return draw("input", shape).transpose(0, 2, 3, 1)

    def taps(self, case: str) -> dict[str, tuple[int, np.ndarray, np.ndarray, float]]:
        """By label: the channels-last array's size, flat indices into it, the values there, and its deviation."""
        return self._split_taps(case) if "taps" in self.cases[case] else self._probe_taps(case)

    def _split_taps(self, case):
        taps = {}
        first, probes = self.arrays[f"{case}/taps_first64"], self.arrays[f"{case}/taps_probe192"]
        for row, tap in enumerate(self.cases[case]["taps"]):
            size = int(np.prod(tap["shape"]))
            known = min(64, size)
            indices = np.concatenate([np.arange(known), np.arange(192) * (size - 1) // 191])
            values = np.concatenate([first[row][:known], probes[row]])
            taps[tap["name"]] = (size, indices, values, tap["std"])
        return taps

    def _probe_taps(self, case):
        taps = {}
        for label in self.cases[case]["probes"]:
            key = f"{case}|{label}|"
            size = int(np.prod(self.arrays[key + "shape"]))
            first, scatter = self.arrays[key + "first64"], self.arrays[key + "scatter64"]
            indices = np.concatenate([np.arange(len(first)), np.arange(len(scatter)) * 104729 % size])
            taps[label] = (size, indices, np.concatenate([first, scatter]), float(self.arrays[key + "std"]))
        return taps

    def logits(self, case: str) -> np.ndarray:
        """The authors' logits."""
        key = f"{case}/logits" if f"{case}/logits" in self.arrays else f"{case}|logits"
        return self.arrays[key]

    @staticmethod
    def _tensor(entry) -> np.ndarray:
        if entry["dtype"] == "int64":
            return np.full(entry["shape"], int(entry["offset"]), np.int64)
        numbers = draw(entry["name"], entry["shape"]).astype(np.float64)
        return (entry["offset"] + entry["scale"] * (np.abs(numbers) if entry["abs"] else numbers)).astype(np.float32)


Calls = dict[str, list[tuple[list[np.ndarray], list[np.ndarray]]]]


@contextmanager
def recorded(model: keras.Model):
    """Collects, by layer path, the inputs and outputs of every layer called eagerly inside the block."""
    paths = {id(layer): path for path, layer in _paths(model, "")}
    calls: Calls = defaultdict(list)
    original = keras.layers.Layer.__call__

    def call(layer, *args, **kwargs):
        result = original(layer, *args, **kwargs)
        if id(layer) in paths:
            calls[paths[id(layer)]].append((_arrays(args), _arrays(result)))
        return result

    keras.layers.Layer.__call__ = call
    try:
        yield calls
    finally:
        keras.layers.Layer.__call__ = original


def _paths(layer, path):
    for child in layer._layers:
        below = f"{path}/{child.name}".lstrip("/")
        yield below, child
        yield from _paths(child, below)


def _arrays(tensors) -> list:
    return [keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(tensors) if t is not None]


def check_taps(fixture: Fixture, case: str, lookup: Callable[[str], np.ndarray | None]) -> list[str]:
    """Compares every tap `lookup` can find; returns the labels it could not."""
    skipped, wrong = [], []
    for label, (size, indices, values, std) in fixture.taps(case).items():
        array = lookup(label)
        if array is None:
            skipped.append(label)
            continue
        if array.size != size:
            wrong.append(f"{label}: {array.shape} holds {array.size} values, expected {size}")
            continue
        error = np.abs(array.reshape(-1)[indices] - values).max() / std
        if not error < PROBE_TOLERANCE:
            wrong.append(f"{label}: {error:.1e} of std")
    assert not wrong, f"{len(wrong)} taps differ, the first: {wrong[:5]}"
    return skipped
