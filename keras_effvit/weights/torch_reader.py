"""Reads PyTorch's checkpoint files, in both of their formats, to numpy without PyTorch and without trust.

A file is mapped, not read: the arrays are read-only views of it, as large as their storages really are. What the
pickle inside may name is the table below; see `pickle_machine` for why nothing in it can run.

The zip format (`torch.save` since 1.6) holds `<name>/data.pkl` and a file for every storage, not compressed. The legacy
format is five pickles (magic number, protocol, system, object, storage keys) and then the storages one after another.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_effvit.weights.archive import Archive, Window, map_file
from keras_effvit.weights.pickle_machine import CheckpointError, Named, PickleMachine

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

#: No file holds more; what is below fits numpy's sizes and the legacy format's eight bytes.
LARGEST = 2**62

#: Storage classes, which name the type of their values.
STORAGES = {
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.BoolStorage": np.dtype(np.bool_),
}
#: What may be named but is never made: types of values, and what training scripts keep beside the weights.
INERT = {
    *(f"torch.{name}" for name in ("float64", "double", "float32", "float", "float16", "half", "bfloat16")),
    *(f"torch.{name}" for name in ("int64", "long", "int32", "int", "int16", "short", "int8", "uint8", "bool")),
    *("torch.Tensor", "torch.device", "torch.nn.parameter.Parameter", "torch.serialization._get_layout"),
    *("argparse.Namespace", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "datetime.datetime"),
    *("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "_codecs.encode"),
    *("collections.Counter", "collections.deque", "builtins.set", "builtins.frozenset", "builtins.slice"),
    *("__builtin__.set", "__builtin__.frozenset", "easydict.EasyDict", "yacs.config.CfgNode"),
}
#: Packages of training code, whose classes no table could list.
INERT_PACKAGES = ("torch.optim.", "torch.cuda.amp.", "torch.amp.", "timm.", "mmcv.", "mmengine.", "omegaconf.")


@dataclass(frozen=True, slots=True)
class Storage:
    """Values of one type, one after another; tensors are windows on them."""

    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A window on a storage: `offset` and `stride` are counted in values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def extent(self) -> int:
        """How many values of the storage the window needs, from its start."""
        if 0 in self.shape:
            return self.offset
        return self.offset + 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))


def read_torch(path: str | Path) -> Any:
    """Reads a file that `torch.save` wrote.

    Args:
        path: of a `.pth`, `.pt`, `.ckpt` or `.bin` file in either format.

    Returns:
        What was saved: dicts, lists, tuples, strings, numbers, and read-only numpy arrays for the tensors. Objects of
        other classes are `Inert`.

    Raises:
        CheckpointError: if it is no such file, is damaged, big-endian, or refers to anything outside the tables.
        OSError: if it cannot be opened.

    Example:
        >>> sorted(read_torch("lightvit_tiny_78.7.ckpt")["state_dict"])[0]
        'global_token'
    """
    path = Path(path)
    content = map_file(path)
    zipped = bytes(content[:4]) == b"PK\x03\x04"
    tree, storages = _read_zip(path, content) if zipped else _read_legacy(path, content)
    return _materialise(tree, storages)


class _Reader:
    """Reads the pickles of one file and keeps account of the storages they mention."""

    def __init__(self, size: int):
        self.storages: dict[str, Storage] = {}
        # A step makes some hundred bytes at most: what this allows stays below the file's size and 10 MB.
        self._steps = min(100_000 + size // 64, 1_000_000)

    def read(self, file: Window) -> Any:
        return PickleMachine(_BUILDERS, _stands_for_itself, self._storage, self._steps).run(file)

    def _storage(self, identifier: Any) -> Storage:
        match identifier:
            # The last is the legacy format's view on another storage, long out of use.
            case ("storage", Named(name), str(key), str(), int(count), *view) if (
                name in STORAGES and 0 <= count < LARGEST and view in ([], [None])
            ):
                return self.storages.setdefault(key, Storage(key, STORAGES[name], count))
        raise CheckpointError(f"Expected a storage of a known type. Received: {_describe(identifier)}")


def _stands_for_itself(name: str) -> bool:
    return name in INERT or name in STORAGES or name.startswith(INERT_PACKAGES)


def _describe(value: Any) -> str:
    """A few words about a value from a file: writing out one that holds itself many times would never end."""
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of " + ", ".join(type(item).__name__ for item in value[:8])
    if isinstance(value, (str, bytes, int, float, type(None))):
        return repr(value[:80] if isinstance(value, (str, bytes)) else value)[:100]
    return getattr(value, "name", type(value).__name__)[:100]


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(n, int) and 0 <= n < LARGEST for n in numbers):
        raise CheckpointError(f"Expected a tensor on a storage. Received: {_describe((storage, *numbers))}")
    tensor = Tensor(storage, offset, tuple(shape), tuple(stride))
    if len(shape) != len(stride) or len(shape) > 32 or tensor.extent() > storage.count:
        raise CheckpointError(
            f"Expected a tensor inside its storage of {storage.count} values. "
            f"Received: shape {tuple(shape)[:8]}, stride {tuple(stride)[:8]} from {offset}"
        )
    return tensor


def _first(value: Any, *_: Any) -> Any:
    return value


def _subclass(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    # One of the plain functions, not this one again: a file could nest it deeper than Python recurs.
    if not isinstance(rebuild, Named) or _BUILDERS.get(rebuild.name) not in (_tensor, _first):
        raise CheckpointError(f"Expected a function that rebuilds a tensor. Received: {_describe(rebuild)}")
    return _BUILDERS[rebuild.name](*arguments)


def _empty_dict(*arguments: Any) -> dict:
    if any(isinstance(argument, (list, tuple, dict)) and argument for argument in arguments):
        raise CheckpointError("Expected a dict that is filled key by key. Received: one that Python 2 wrote")
    return {}


_BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _subclass,
    "torch.Size": _first,
    "collections.OrderedDict": _empty_dict,
    "collections.defaultdict": _empty_dict,
}


def _read_zip(path: Path, content: np.ndarray) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    archive = Archive(path, content)
    pickles = [name for name in archive.names if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise CheckpointError(f"Expected one data.pkl inside {path.name}. Received: {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    if root + "byteorder" in archive.names:
        order = bytes(archive.stored(root + "byteorder")[:20])
        if order != b"little":
            raise CheckpointError(f"Expected little-endian values. Received: {order!r}")
    reader = _Reader(content.size)
    tree = reader.read(Window(archive.stored(root + "data.pkl")))
    return tree, lambda storage: archive.stored(f"{root}data/{storage.key}")


def _read_legacy(path: Path, content: np.ndarray) -> tuple[Any, Callable[[Storage], np.ndarray]]:
    reader, file = _Reader(content.size), Window(content)
    if reader.read(file) != LEGACY_MAGIC or reader.read(file) != LEGACY_PROTOCOL:
        raise CheckpointError(f"Expected a file that torch.save wrote. Received: {path.name}, another one")
    system = reader.read(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointError(f"Expected little-endian values. Received: {_describe(system)}")
    tree, keys = reader.read(file), reader.read(file)
    position = file.tell()
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in reader.storages for key in keys):
        raise CheckpointError(f"Expected the keys of the storages. Received: {_describe(keys)}")
    places = {}
    for key in keys:
        storage = reader.storages[key]
        size = storage.count * storage.dtype.itemsize
        count = bytes(content[position : position + 8])  # each storage repeats how many values it holds
        position += 8
        if count != storage.count.to_bytes(8, "little") or position + size > content.size:
            raise CheckpointError(f"Expected {storage.count} values of storage {key[:40]}. Received: a damaged file")
        places[key] = content[position : position + size]
        position += size

    def place(storage: Storage) -> np.ndarray:
        if storage.key not in places:
            raise CheckpointError(f"Expected storage {storage.key[:40]}. Received: no such storage")
        return places[storage.key]

    return tree, place


def _materialise(tree: Any, bytes_of: Callable[[Storage], np.ndarray]) -> dict[Any, Any]:
    """Puts arrays in the place of tensors in a dict and the dicts below it, which may be shared or hold themselves."""
    if not isinstance(tree, dict):
        raise CheckpointError(f"Expected a dict of tensors. Received: {_describe(tree)}")
    values_of = functools.cache(lambda storage: _values(storage, bytes_of(storage)))
    seen, todo = set(), [tree]
    while todo:
        branch = todo.pop()
        if id(branch) in seen:
            continue
        seen.add(id(branch))
        for key, value in branch.items():
            if isinstance(value, Tensor):
                branch[key] = _array(value, values_of(value.storage))
            elif isinstance(value, dict):
                todo.append(value)
    return tree


def _values(storage: Storage, content: np.ndarray) -> np.ndarray:
    """All values of a storage, as a view of its bytes."""
    size = storage.count * storage.dtype.itemsize
    if content.size < size:
        raise CheckpointError(
            f"Expected {storage.count} values of {storage.dtype}. Received: {content.size} bytes of them"
        )
    content = content[:size]
    if storage.dtype == np.bool_ and size and content.max() > 1:
        raise CheckpointError(f"Expected truth values. Received: a byte of value {content.max()}")
    return content.view(storage.dtype)


def _array(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """A read-only window on a storage."""
    strides = [stride * values.itemsize for stride in tensor.stride]
    try:
        return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
    except (ValueError, OverflowError) as error:
        raise CheckpointError(f"Expected a tensor that fits into memory. Received: shape {tensor.shape[:8]}") from error
