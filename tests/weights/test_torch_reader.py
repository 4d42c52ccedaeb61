"""Files that PyTorch wrote, and files that nobody should open."""

import contextlib
import os
import pickle
import struct
import subprocess
import sys
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
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "bytes in one piece. Received: 2147483647"),
        (b"\x80\x02X\xff\xff\x00\x00abc.", "pickle. Received: ValueError"),
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
    with pytest.raises(CheckpointError, match=r"entries as they are.*compressed"):
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
    deep = b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 40_000 + b"a" * 39_999 + b"s."
    content = read_torch(write(tmp_path / "deep.pth", deep, "zip"))
    assert isinstance(content["a"], list)
    key = b"\x80\x02}" + b")" + b"\x85" * 40_000 + b"K\x01s."
    with pytest.raises(CheckpointError, match="as key"):
        read_torch(write(tmp_path / "deep.pth", key, "zip"))


def test_keys_made_to_collide(tmp_path):
    """Multiples of 2**61 - 1 have one hash in Python: a dict of many would take hours to fill."""
    keys = b"".join(b"\x8a\x0b" + (k * (2**61 - 1)).to_bytes(11, "little") + b"N" for k in range(1, 30_000))
    with pytest.raises(CheckpointError, match="number as key"):
        read_torch(write(tmp_path / "collide.pth", b"\x80\x02}(" + keys + b"u.", "zip"))


def test_a_long_tuple_is_not_copied_again_and_again(tmp_path):
    """A call with 50,000 arguments, made 5,000 times."""
    tuple_ = b"(" + b"K\x01" * 50_000 + b"tq\x00"
    calls = b"ctorch\nSize\nq\x01" + b"h\x01h\x00R0" * 5_000
    with pytest.raises(CheckpointError, match=r"call of torch.Size. Received: 50000 arguments"):
        read_torch(write(tmp_path / "calls.pth", b"\x80\x02" + tuple_ + calls + b"}.", "zip"))


def test_truth_values_are_not_copied_for_every_tensor(tmp_path):
    """A thousand views of one storage of a million truth values are a file of a megabyte, and stay one."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nBoolStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ@B\x0f\x00tQ"
    data = b"\x80\x02}"
    for number in range(1000):
        call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00J@B\x0f\x00\x85K\x01\x85\x89}tR"
        data += b"X\x04\x00\x00\x00" + f"{number:04}".encode() + call + b"s"
    path = tmp_path / "bools.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data + b".")
        archive.writestr("archive/data/0", b"\x01" * 1_000_000)
    tensors = read_torch(path)
    assert len(tensors) == 1000
    assert all(np.shares_memory(tensors["0000"], tensor) for tensor in tensors.values())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", b"\x02" * 1_000_000)
    with pytest.raises(CheckpointError, match=r"Expected truth values. Received: a byte of value 2"):
        read_torch(path)


def test_a_dict_that_python_2_wrote_is_not_read_as_empty(tmp_path):
    data = b"\x80\x02ccollections\nOrderedDict\n]]X\x01\x00\x00\x00aaK\x01aa\x85R."
    with pytest.raises(CheckpointError, match="Python 2"):
        read_torch(write(tmp_path / "old.pth", data, "zip"))


MEGABYTES = 24
#: Content that would become many times larger in memory, or larger than any memory.
BOMBS = {
    "lists": b"]" * 2**20 * MEGABYTES,
    "dicts": b"}" * 2**20 * MEGABYTES,
    "filled-dicts": b"}K\x01Ns" * (2**20 * MEGABYTES // 5),
    "numbers": b"M\x10\x27" * (2**20 * MEGABYTES // 3),
    "marks": b"(" * 2**20 * MEGABYTES,
    "memo": b"]" + b"\x94" * 2**20 * MEGABYTES,
    "long-text": b"X"
    + struct.pack("<I", 2**20 * (MEGABYTES - 1))
    + b"a" * 2**20 * (MEGABYTES - 1)
    + b"\xf0\x9f\x98\x80.",
    "long-line": b"V" + b"a" * 2**20 * MEGABYTES,
    "long-number": b"\x8b" + struct.pack("<i", 2**20 * (MEGABYTES - 1)) + b"a" * 2**20 * (MEGABYTES - 1) + b".",
    "claims": b"\x8e" + struct.pack("<Q", 2**50) + b"a" * 2**20 * MEGABYTES,
}
#: Prints how many times as long as Python's own loop over a file's bytes the reading took, and how many times the
#: file's size the process grew by meanwhile. Processor time beside a yardstick in one process: neighbours slow down
#: both. The collector is off, as it walks over all that TensorFlow holds. What was freed before is given back to the
#: kernel, which forgets the peak so far (`clear_refs`); `ru_maxrss` would hold that of the process that began this one.
MEASURE = """
import ctypes, gc, re, sys, time
from pathlib import Path
from keras_effvit.weights import CheckpointError, read_checkpoint

def held(what):
    return 1024 * int(re.search(rf"{what}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

gc.disable()
for path in map(Path, sys.argv[1:]):
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before, start = held("VmRSS"), time.process_time()
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        print(repr(str(error)[:200]))
    taken, grown = time.process_time() - start, held("VmHWM") - before
    start = time.process_time()
    for _ in path.read_bytes():
        pass
    print("measured", path.stem, taken / (time.process_time() - start), grown / path.stat().st_size)
"""
#: What a reader in Python may take where it looks at every byte: between 1 and 3 were seen. What does not end with the
#: file, or goes over it again for every entry, takes thousands.
MOST_LOOPS = 20
#: What the content may take in memory, of the file's size.
MOST_SIZES = 4


def measure(*paths):
    """What reading files takes, in a process of its own: by name (loops over its bytes, sizes of it in memory)."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], check=True, capture_output=True, text=True)
    rows = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("measured")]
    return {name: (float(loops), float(sizes)) for name, loops, sizes in rows}


@every_format
@pytest.mark.slow
def test_memory_and_time_are_bounded_by_the_files_size(kind, tmp_path):
    paths = [write(tmp_path / f"{name}.pth", b"\x80\x04" + content, kind) for name, content in BOMBS.items()]
    measured = measure(*paths)
    assert list(measured) == list(BOMBS)
    assert {n: m for n, m in measured.items() if m[0] > MOST_LOOPS or m[1] > MOST_SIZES} == {}


@pytest.mark.slow
def test_a_directory_of_nothing_but_names(tmp_path):
    """Six hundred thousand empty entries: the zip directory alone is the file."""
    path = tmp_path / "directory.pth"
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    size = len(entry) * 600_000
    path.write_bytes(
        b"PK\x03\x04" + entry * 600_000 + b"PK\x05\x06" + bytes(8) + struct.pack("<II", size, 4) + bytes(2)
    )
    loops, sizes = measure(path)["directory"]
    assert loops < MOST_LOOPS
    assert sizes < MOST_SIZES


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


def short(value):
    return b"X" + struct.pack("<I", len(value)) + value


#: Words of the language that a checkpoint's pickle is written in: a stack machine takes them in any order.
WORDS = st.one_of(
    st.sampled_from(
        [
            *(bytes([code]) for code in b"(0N12]})ltdaesub\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94\x81\x92RQo"),
            *(b"h" + bytes([index]) for index in range(4)),
            *(b"q" + bytes([index]) for index in range(4)),
            *(b"ctorch\n" + name + b"\n" for name in (b"FloatStorage", b"BoolStorage", b"Size", b"Tensor", b"load")),
            *(b"ctorch._utils\n" + name + b"\n" for name in (b"_rebuild_tensor_v2", b"_rebuild_parameter")),
            b"ctorch._tensor\n_rebuild_from_type_v2\n",
            b"ccollections\nOrderedDict\n",
            b"cargparse\nNamespace\n",
            b"cos\nsystem\n",
            b"(ios\nsystem\n",
            *(short(word) for word in (b"storage", b"0", b"cpu", b"torch", b"FloatStorage", b"w")),
            # A storage, a shape and a stride; a whole tensor.
            b"(" + short(b"storage") + b"ctorch\nFloatStorage\n" + short(b"0") + short(b"cpu") + b"K\x0atQ",
            b"K\x02K\x03\x86",
            b"K\x03K\x01\x86",
        ]
    ),
    st.integers(-(2**80), 2**80).map(lambda n: b"\x8a\x0b" + n.to_bytes(11, "little", signed=True)),
    st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
    st.floats().map(lambda x: b"G" + struct.pack(">d", x)),
)


def check_sentence(scratch, words):
    for kind in FORMATS:
        path = write(scratch, b"\x80\x02" + b"".join(words) + b".", kind)
        if kind == "zip":
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr("archive/data/0", bytes(40))
        with contextlib.suppress(CheckpointError):
            read_all(path)


@settings(max_examples=500, deadline=2000)
@given(words=st.lists(WORDS, max_size=30))
def test_any_sentence_is_read_or_refused(scratch, words):
    check_sentence(scratch, words)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=2000)
@given(words=st.lists(WORDS, max_size=40))
def test_many_sentences_are_read_or_refused(scratch, words):
    check_sentence(scratch, words)


@settings(max_examples=300, deadline=2000)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(scratch, data):
    for kind in FORMATS:
        with contextlib.suppress(CheckpointError):
            read_all(write(scratch, data + b".", kind))
