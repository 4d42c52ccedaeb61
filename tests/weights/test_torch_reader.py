"""Files that PyTorch wrote, and files that nobody should open."""

import contextlib
import os
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.weights.pickle_machine import CheckpointError, Inert
from keras_effvit.weights.torch_reader import read_torch

TORCH = Path(__file__).parents[1] / "data" / "torch"
FILES = sorted(TORCH.glob("*.pth"))
FORMATS = ("zip", "legacy")

every_format = pytest.mark.parametrize("kind", FORMATS)


def read(name, kind):
    return read_torch(TORCH / f"{name}.{kind}.pth")


@every_format
@pytest.mark.parametrize(
    "dtype",
    [
        *("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"),
        pytest.param(ml_dtypes.bfloat16, id="bfloat16"),
    ],
)
def test_every_type(kind, dtype):
    name = np.dtype(dtype).name
    array = read("every_kind", kind)[f"dtype.{name}"]
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(array, np.arange(24).reshape(2, 3, 4).astype(dtype))


@every_format
def test_every_way_to_lie_on_a_storage(kind):
    tensors, base = read("every_kind", kind), np.arange(100, dtype="float32")
    square = base.reshape(10, 10)
    expected = {
        "shared.a": base[:50],
        "shared.b": base[25:75],
        "strided": square[1::2, ::3],
        "transposed": square.T,
        "expanded": np.full((3, 4), 7),
        "scalar": np.float32(3.5),
        "empty": np.zeros((0, 4)),
        "parameter": base[:6].reshape(2, 3),
    }
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value, strict=False, err_msg=name)


@every_format
def test_a_training_checkpoint(kind):
    content = read("training", kind)
    assert (content["epoch"], content["best"], content["shape"]) == (300, 78.7, (3, 224, 224))
    assert content["args"] == Inert("argparse.Namespace")
    assert content["optimizer"]["param_groups"][0]["lr"] == 1e-3
    np.testing.assert_array_equal(content["model"]["module.0.weight"], np.full((4, 3, 3, 3), 0.5, "float32"))
    np.testing.assert_array_equal(content["ema"][0.9998]["0.weight"], np.full((4, 3, 3, 3), 1.5, "float32"))


@every_format
def test_arrays_are_read_only_views_of_the_file(kind):
    array = read("every_kind", kind)["shared.a"]
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


# --- Files made to do harm. Each names a global that must never be imported, let alone called.


class Call:
    """Pickles as a call of a global."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Setstate:
    """Pickles as an object that restores its state with a dangerous attribute."""

    def __reduce__(self):
        return Call, (print,), {"run": Call(os.system, "touch harm")}


def opcodes(module, name, *, protocol_zero=False):
    """A hand-written pickle that calls `module.name("touch harm")`."""
    argument = b"X" + struct.pack("<I", 10) + b"touch harm"
    if protocol_zero:
        return b"(" + argument + b"i" + f"{module}\n{name}\n".encode() + b"."
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + argument + b"\x85R."


GADGETS = {
    "posix.system": pickle.dumps(Call(os.system, "touch harm")),
    "builtins.eval": pickle.dumps(Call(eval, "open('harm', 'w')")),
    "builtins.exec": pickle.dumps({"a": [Call(exec, "open('harm', 'w')")]}),
    "builtins.getattr": pickle.dumps(Call(getattr, "", "upper")),
    "functools.partial": opcodes("functools", "partial"),
    "torch.load": opcodes("torch", "load"),
    "torch.serialization.load": opcodes("torch.serialization", "load"),
    "torch.hub.load": opcodes("torch.hub", "load"),
    "os.system": opcodes("os", "system", protocol_zero=True),
    "subprocess.Popen": opcodes("subprocess", "Popen"),
    "runpy._run_code": opcodes("runpy", "_run_code"),
    "numpy.load": opcodes("numpy", "load"),
    "pickle.loads": opcodes("pickle", "loads"),
}


def write(path, data, kind):
    """A checkpoint of either format whose object is the pickle `data`."""
    if kind == "legacy":
        start = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in start) + data + pickle.dumps([], 2))
        return path
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
    return path


@every_format
@pytest.mark.parametrize("name", GADGETS)
def test_a_dangerous_global_is_named_and_nothing_runs(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "evil.pth", GADGETS[name], kind)
    with pytest.raises(CheckpointError) as caught:
        read_torch(path)
    assert repr(name) in str(caught.value)
    assert not (tmp_path / "harm").exists()


@every_format
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Setstate()), "'tests.weights.test_torch_reader.Call'"),
        (b"\x80\x02}c__builtin__\neval\nX\x01\x00\x00\x00x\x85RK\x01s.", "'__builtin__.eval'"),
        (b"\x80\x02\x82\x05.", "EXT1 5"),
        (b"Ptorch\n.", "PERSID 'torch'"),
        (b"\x80\x02cposix\nsystem\nQ.", "'posix.system'"),
        (b"\x80\x02X\x04\x00\x00\x00evilQ.", "storage of a known type. Received: 'evil'"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "pickle. Received: TypeError"),
        (b"\x80\x02}(]K\x01u.", "string or a number as key"),
        (b"\x80\x02]].", "dict of tensors. Received: list"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "pickle. Received: ValueError"),
        (b"\x80\x02(((((", "pickle. Received: "),
        (b"\x80\x02.", "pickle. Received: IndexError"),
        (b"\x80\x02h\x07.", "pickle. Received: KeyError"),
    ],
)
def test_other_tricks(data, message, kind, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        read_torch(write(tmp_path / "evil.pth", data, kind))
    assert message in str(caught.value)


def hostile_zip(path, count, offset, shape, stride, size=40):
    """Written opcode by opcode, because no honest pickler writes such a thing."""

    def number(n):
        data = n.to_bytes(9, "little", signed=True)
        return b"\x8a\x09" + data

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += number(count) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape) + numbers(stride)
    data = b"\x80\x02}X\x01\x00\x00\x00w" + call + b"\x89}tRs."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/data/0", bytes(size))
    return path


def test_the_hand_written_file_is_readable_when_it_is_honest(tmp_path):
    weights = read_torch(hostile_zip(tmp_path / "w.pth", 10, 2, (2, 3), (3, 1)))
    assert weights["w"].shape == (2, 3)


@pytest.mark.parametrize(
    ("count", "offset", "shape", "stride", "message"),
    [
        (10, 0, (11,), (1,), "inside its storage of 10 values"),
        (10, 8, (2, 3), (3, 1), "inside its storage"),
        (10, 0, (2**63 - 1,), (1,), "tensor on a storage"),
        (10, 0, (2**61, 2**61), (0, 0), "fits into memory"),
        (10, 0, (-1,), (1,), "tensor on a storage"),
        (10, 0, (2,), (-1,), "tensor on a storage"),
        (10, -1, (2,), (1,), "tensor on a storage"),
        (10, 0, (2, 2), (1,), "inside its storage"),
        (2**40, 0, (4,), (1,), "Received: 40 bytes"),
        (-1, 0, (0,), (1,), "storage of a known type"),
    ],
)
def test_shapes_and_storages_that_lie(count, offset, shape, stride, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        read_torch(hostile_zip(tmp_path / "lie.pth", count, offset, shape, stride))


def test_a_compressed_archive_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match=r"as torch\.save writes them.*compressed"):
        read_torch(path)


def test_big_endian_is_refused(tmp_path):
    path = tmp_path / "big.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/byteorder", b"big")
    with pytest.raises(CheckpointError, match=r"little-endian values\. Received: b'big'"):
        read_torch(path)
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}, {}, [])
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))
    with pytest.raises(CheckpointError, match="little-endian"):
        read_torch(path)


def test_a_count_that_no_file_can_hold(tmp_path):
    """In the legacy format the count is written again in eight bytes, which this one does not fit into."""
    count = b"\x8a\x0a" + (2**70).to_bytes(10, "little")
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQ"
    path = write(tmp_path / "huge.pth", b"\x80\x02}X\x01\x00\x00\x00w" + storage + b"s.", "legacy")
    path.write_bytes(path.read_bytes().removesuffix(pickle.dumps([], 2)) + pickle.dumps(["0"], 2) + bytes(8))
    with pytest.raises(CheckpointError, match="storage of a known type"):
        read_torch(path)


def test_a_subclass_of_a_subclass_of_a_subclass(tmp_path):
    """The function that rebuilds a subclass's tensor, told 5,000 times to rebuild by itself."""
    name = b"ctorch._tensor\n_rebuild_from_type_v2\n"
    nested = b"\x80\x02}X\x01\x00\x00\x00w" + (name + b"(") + (name + b"N(") * 5000 + b"t" + b"Nt" * 5000 + b"Rs."
    with pytest.raises(CheckpointError, match="rebuilds a tensor"):
        read_torch(write(tmp_path / "nested.pth", nested, "zip"))


def test_what_holds_itself_a_thousand_times_costs_nothing(tmp_path):
    """Forty levels of a list that holds the level below twice: small as a file, endless when written out."""
    data = b"\x80\x02]" + b"".join(b"q%c0](h%ch%ce" % (level, level, level) for level in range(40))
    with pytest.raises(CheckpointError, match="Received: list"):
        read_torch(write(tmp_path / "laughs.pth", data + b".", "zip"))
    identifier = data + b"Q."
    with pytest.raises(CheckpointError, match="storage of a known type"):
        read_torch(write(tmp_path / "laughs.pth", identifier, "zip"))


def test_depth_is_no_recursion(tmp_path):
    deep = b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 200_000 + b"a" * 199_999 + b"s."
    content = read_torch(write(tmp_path / "deep.pth", deep, "zip"))
    assert isinstance(content["a"], list)
    key = b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."
    with pytest.raises(CheckpointError, match="as key"):
        read_torch(write(tmp_path / "deep.pth", key, "zip"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint", b"\x80\x02" + b"\x00" * 100])
def test_no_checkpoint_at_all(content, tmp_path):
    path = tmp_path / "what.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="Expected"):
        read_torch(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_cut_off_anywhere(path, tmp_path):
    content, cut = path.read_bytes(), tmp_path / "cut.pth"
    for length in range(0, len(content) - 1, 97):
        cut.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            read_torch(cut)


def read_all(path):
    """Reads a file and touches every value, as loading would."""
    todo = [read_torch(path)]
    for branch in todo:
        for value in branch.values():
            if isinstance(value, dict) and not any(value is known for known in todo):
                todo.append(value)
            elif isinstance(value, np.ndarray) and value.size < 10_000:
                value.astype("float32").sum()


def mutants(path, folder, count, seed):
    """Copies of a file with one to eight bytes changed; returns how many could still be read."""
    rng, original = np.random.default_rng(seed), np.frombuffer(path.read_bytes(), np.uint8)
    mutant, readable = folder / "mutant.pth", 0
    for _ in range(count):
        content = original.copy()
        places = rng.integers(0, content.size, rng.integers(1, 9))
        content[places] = rng.integers(0, 256, places.size)
        mutant.write_bytes(content.tobytes())
        with contextlib.suppress(CheckpointError):
            read_all(mutant)
            readable += 1
    return readable


@pytest.mark.filterwarnings("ignore:invalid value encountered", "ignore:overflow encountered", "ignore:invalid escape")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_mutants_are_read_or_refused(path, tmp_path):
    assert 0 < mutants(path, tmp_path, 300, seed=0) < 300


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid value encountered", "ignore:overflow encountered", "ignore:invalid escape")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_many_mutants_are_read_or_refused(path, tmp_path):
    assert 0 < mutants(path, tmp_path, 4000, seed=1) < 4000


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "any.pth"


@settings(max_examples=300, deadline=2000)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(scratch, data):
    for kind in FORMATS:
        with contextlib.suppress(CheckpointError):
            read_all(write(scratch, data + b".", kind))
