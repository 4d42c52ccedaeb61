"""Every kind of file that weights come in, told apart by its first bytes and read to names and arrays.

Nothing is believed: a file's name says nothing, what it claims is held against its size, and where arrays lie in it as
they are, they are read-only views of the mapped file. Keras' own files are read as the HDF5 they hold; their
configuration, which Keras would build layers from, is not looked at.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import ml_dtypes
import numpy as np

from keras_effvit.weights import hdf5
from keras_effvit.weights.archive import Archive, Window, map_file
from keras_effvit.weights.hdf5 import HDF5, Node
from keras_effvit.weights.pickle_machine import CheckpointError
from keras_effvit.weights.torch_reader import read_torch

KERAS_WEIGHTS = "model.weights.h5"
ZIP_MAGIC = b"PK\x03\x04"
#: A safetensors file starts with the length of its header in eight bytes, and the header with a brace.
_SAFETENSORS_START = 9
_LONGEST_HEADER, _LONGEST_CONFIG = 2**27, 2**23
#: Of the names on the way to an array; a group that holds itself would make it endless.
_LONGEST_PATH = 1024


@dataclass(frozen=True)
class Checkpoint:
    """A file's content.

    Attributes:
        path: the file.
        format: `"torch"`, `"safetensors"`, `"npz"`, `"keras"` or `"h5"`.
        content: what was saved: dicts down to the names of arrays.
        config: the model's configuration in a `.keras` file: plain data, from which nothing was built.
    """

    path: Path
    format: str
    content: dict[Any, Any]
    config: Any = None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads any file of weights this package knows.

    Args:
        path: a file of PyTorch, safetensors or numpy (`.npz`), or one that Keras saved (`.keras`, `.weights.h5`).

    Returns:
        Its content, the arrays read-only.

    Raises:
        CheckpointError: if it is none of these, is damaged, or is not to be trusted.
        OSError: if it cannot be opened.

    Example:
        >>> read_checkpoint("efficientvit_b1_r224.pt").format
        'torch'
    """
    path = Path(path)
    start = bytes(map_file(path)[:64])
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"Expected a checkpoint. Received: {path.name}, a web page; was it downloaded from behind a login?"
        )
    if start.startswith(hdf5.MAGIC):
        return Checkpoint(path, "h5", _read_h5(path, map_file(path)))
    if start[8:_SAFETENSORS_START] == b"{":
        return Checkpoint(path, "safetensors", _read_safetensors(path))
    if start.startswith(ZIP_MAGIC):
        return _read_zip(path)
    return Checkpoint(path, "torch", read_torch(path))


def _read_zip(path: Path) -> Checkpoint:
    """The three kinds of file that are zip archives."""
    archive = Archive(path, map_file(path))
    if KERAS_WEIGHTS in archive.names:
        weights = _read_h5(path, archive.stored(KERAS_WEIGHTS))
        return Checkpoint(path, "keras", weights, _read_json(archive.stored("config.json")))
    if "model.weights.json" in archive.names:
        raise CheckpointError(
            f"Expected weights in one piece. Received: {path.name}, in shards; load and save it with Keras first"
        )
    arrays = [name for name in archive.names if name.endswith(".npy")]
    if arrays and len(arrays) == len(archive.names):
        return Checkpoint(
            path, "npz", {name.removesuffix(".npy"): _read_npy(archive.unpacked(name), name) for name in arrays}
        )
    return Checkpoint(path, "torch", read_torch(path))


def _read_json(content: np.ndarray) -> Any:
    if content.size > _LONGEST_CONFIG:
        raise CheckpointError(f"Expected a model's configuration. Received: {content.size} bytes of it")
    try:
        return json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"Expected a model's configuration. Received: {error}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    header = int.from_bytes(bytes(map_file(path)[:8]), "little")
    if header > min(path.stat().st_size, _LONGEST_HEADER):
        raise CheckpointError(f"Expected a safetensors file. Received: {path.name}, with a header of {header} bytes")
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"Expected a safetensors file. Received: {path.name}: {error}") from error


def _read_npy(content: np.ndarray, name: str) -> np.ndarray:
    """The array in an entry of an `.npz` file, as a view."""
    file = Window(content)
    try:
        version = np.lib.format.read_magic(file)  # pyright: ignore[reportArgumentType]
        reader = _NPY_HEADERS.get(version)
        if reader is None:
            raise CheckpointError(f"Expected numpy's format 1.0 or 2.0. Received: {version} in {name}")
        shape, fortran, dtype = reader(file)
        if dtype == np.dtype("V2"):  # what numpy makes of a bfloat16 it was given to save
            dtype = np.dtype(ml_dtypes.bfloat16)
        elif dtype.kind not in "biuf":
            raise CheckpointError(f"Expected numbers. Received: {dtype} in {name}")
        values = np.frombuffer(content[file.tell() :], np.uint8)
        size = dtype.itemsize * int(np.prod(np.array(shape, object)))
        if not 0 <= size <= values.size:
            raise CheckpointError(f"Expected {size} bytes of {name}. Received: {values.size}")
        return values[:size].view(dtype).reshape(shape, order="F" if fortran else "C")
    except CheckpointError:
        raise
    except (
        ValueError,
        TypeError,
        SyntaxError,
        KeyError,
        OverflowError,
        RecursionError,
        MemoryError,
        TokenError,
    ) as error:
        raise CheckpointError(f"Expected an array of numpy. Received: {name}: {error}") from error


_NPY_HEADERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read_h5(path: Path, content: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays that Keras saved, as views, under the names of their layers: `stage1_block1_attn/proj/vars/0`."""
    arrays: dict[str, np.ndarray] = {}
    try:
        file = HDF5(content)
        todo = [("", file.root, False)]
        while todo:
            prefix, group, numbered = todo.pop()
            for key, node in file.members(group):
                if not node.is_group:
                    arrays[prefix + key] = file.array(node, prefix + key)
                elif key == "layers":
                    todo.append((prefix, node, True))
                else:
                    # A model's layers are kept under numbers; what they are called is noted inside.
                    name = _noted_name(file, node, key) if numbered else key
                    todo.append((f"{prefix}{name}/"[-_LONGEST_PATH:], node, False))
    except CheckpointError:
        raise
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise CheckpointError(f"Expected weights that Keras saved. Received: {path.name}: {error}") from error
    return arrays


def _noted_name(file: HDF5, group: Node, key: str) -> str:
    """The name of a layer, which Keras notes beside its variables; the key where a file is older than that."""
    own = next((node for name, node in file.members(group) if name == "vars"), None)
    return (own and file.text_attribute(own, "name")) or key
