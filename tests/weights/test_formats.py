"""Files that are not PyTorch's: numpy's, safetensors, Keras' own; honest ones in test_load_weights, others here."""

import contextlib
import io
import json
import math
import struct
import zipfile
from typing import Any

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from keras_effvit.weights import CheckpointError, read_checkpoint


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "any"


def test_a_web_page(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("\n<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(CheckpointError, match=r"weights\.pth, a web page; was it downloaded from behind a login\?"):
        read_checkpoint(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        read_checkpoint(tmp_path / "nothing.pth")


# --- numpy.


def npz(path, **entries):
    """An archive of hand-made `.npy` files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(header, content=b"", magic=b"\x93NUMPY\x01\x00"):
    return magic + struct.pack("<H", len(header)) + header.encode() + content


HEADER = "{{'descr': {!r}, 'fortran_order': False, 'shape': {}}}\n"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_every_kind(save, tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.float32(3),
        "empty": np.zeros((0, 3)),
        "half": np.arange(4, dtype=np.float16),
        "big": np.arange(4, dtype=">f4"),
        "a/b": np.arange(3),
    }
    save(tmp_path / "w.npz", **arrays)
    content = read_checkpoint(tmp_path / "w.npz").content
    assert list(content) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(content[name], value, strict=True)


def test_bfloat16_through_numpy(tmp_path):
    np.savez(tmp_path / "w.npz", x=np.arange(4).astype(ml_dtypes.bfloat16))
    array = read_checkpoint(tmp_path / "w.npz").content["x"]
    assert array.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(array, np.arange(4).astype(ml_dtypes.bfloat16))


class Harm:
    def __reduce__(self):
        return open, ("harm", "w")


def test_objects_are_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "w.npz", x=np.array([Harm()], object))
    with pytest.raises(CheckpointError, match=r"Expected numbers. Received: object in x.npy"):
        read_checkpoint(tmp_path / "w.npz")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(HEADER.format("<f4", (2**62,))), r"Expected \d+ bytes of x.npy. Received: 0"),
        (npy(HEADER.format("<f4", (2**62, 2**62))), r"Expected \d+ bytes"),
        (npy(HEADER.format("<f4", (-1,))), "Expected -4 bytes|Expected an array"),
        (npy(HEADER.format("<f4", (3,)), bytes(8)), "Expected 12 bytes of x.npy. Received: 8"),
        (npy(HEADER.format("<U4", (1,)), bytes(16)), "Expected numbers. Received: <U4"),
        (npy("{'descr': __import__('os').system('touch harm')}"), "Expected an array of numpy"),
        (npy("(" * 5000), "Expected an array of numpy"),
        (
            npy(HEADER.format("<f4", (1,)), bytes(4), magic=b"\x93NUMPY\x09\x00"),
            r"format 1.0 or 2.0. Received: \(9, 0\)",
        ),
        (b"", "Expected an array of numpy"),
        (b"nonsense" * 10, "Expected an array of numpy"),
    ],
)
def test_arrays_that_lie(content, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(npz(tmp_path / "w.npz", x=content))


def test_a_compressed_bomb(tmp_path):
    path = tmp_path / "w.npz"
    arrays: dict[str, Any] = {f"x{i}": np.zeros(1_000_000, np.float32) for i in range(20)}
    np.savez_compressed(path, **arrays)
    assert path.stat().st_size < 100_000
    with pytest.raises(
        CheckpointError, match=r"at most 4 times the file's \d+ bytes. Received: x0.npy, which claims 4000128"
    ):
        read_checkpoint(path)


def test_a_damaged_compressed_entry(tmp_path):
    path = tmp_path / "w.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).standard_normal(1000))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged|whole zip|claims"):
        read_checkpoint(path)


# --- safetensors.


def safetensors(path, header, content=b""):
    data = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(struct.pack("<Q", len(data)) + data + content)
    return path


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ({"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 8]}}, bytes(8)),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**40]}}, bytes(8)),
        ({"x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)),
        ({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
        ({"x": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        (b"{" * 20_000, b""),
        (b"{not json}", b""),
    ],
)
def test_safetensors_that_lie(header, content, tmp_path):
    with pytest.raises(CheckpointError, match="Expected a safetensors file"):
        read_checkpoint(safetensors(tmp_path / "w.safetensors", header, content))


def test_a_header_longer_than_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(CheckpointError, match="with a header of 1099511627776 bytes"):
        read_checkpoint(path)


# --- Keras.


def h5(path, build):
    path.unlink(missing_ok=True)  # an earlier one may still be mapped
    with h5py.File(path, "w") as file:
        build(file)
    return path


def external_storage(file):
    file.create_dataset("x", (4,), "f4", external=[("/etc/hostname", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("x", layout)


def hard_cycle(file):
    group = file.create_group("layers/a")
    group["again"] = file["layers"]
    group["x"] = np.arange(3.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/hostname", "/")),
            "a link, which may lead elsewhere",
        ),
        (lambda file: file.__setitem__("x", h5py.SoftLink("/y")), "a link, which may lead elsewhere"),
        (
            lambda file: file.create_group("a").__setitem__("vars", h5py.ExternalLink("/etc/x", "/")),
            "a link, which may lead elsewhere",
        ),
        (external_storage, "x, stored in another way"),
        (virtual, "x, stored in another way"),
        (
            lambda file: file.create_dataset("x", (2**40,), "f4", compression="gzip"),
            "x, stored in another way",
        ),
        (lambda file: file.create_dataset("x", (2**40,), "f4"), "x, stored in another way"),
        (lambda file: file.create_dataset("x", data=["text"]), "Expected numbers"),
        (lambda file: file.create_dataset("x", dtype="f4"), "x, which has none"),
    ],
    ids=[
        "external link",
        "soft link",
        "vars elsewhere",
        "external",
        "virtual",
        "bomb",
        "not there",
        "text",
        "no shape",
    ],
)
def test_hdf5_that_points_elsewhere(build, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(h5(tmp_path / "w.weights.h5", build))


def test_a_group_that_holds_itself(tmp_path):
    with pytest.raises(CheckpointError, match="a file without an end"):
        read_checkpoint(h5(tmp_path / "w.weights.h5", hard_cycle))


NUMBERS = st.sampled_from(["<f2", "<f4", "<f8", ">f4", "|i1", "<i4", ">i8", "|u1", "<u2"])
TREES = st.recursive(
    st.tuples(NUMBERS, st.lists(st.integers(0, 3), max_size=3)),
    lambda below: st.dictionaries(st.text("abcdef0123", min_size=1, max_size=9), below, max_size=12),
    max_leaves=40,
)


@settings(deadline=None)
@given(tree=st.dictionaries(st.text("xyz", min_size=1, max_size=4), TREES, max_size=4))
def test_whatever_h5py_writes_is_read_as_h5py_reads_it(scratch, tree):
    expected = {}

    def build(group, tree, prefix):
        for name, item in tree.items():
            if isinstance(item, dict):
                build(group.create_group(name), item, f"{prefix}{name}/")
            else:
                dtype, shape = item
                expected[prefix + name] = (np.arange(math.prod(shape)) % 100).reshape(shape).astype(dtype)
                group[name] = expected[prefix + name]

    content = read_checkpoint(h5(scratch, lambda file: build(file, tree, ""))).content
    assert set(content) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(content[name], value, strict=True)


def dense_model(path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="mine")]).save(path)
    return path


def test_a_keras_file_is_read_without_building_what_it_names(tmp_path, monkeypatch):
    """The configuration names functions that Keras would import and layers it would build; nobody does."""
    monkeypatch.chdir(tmp_path)
    path, evil = dense_model(tmp_path / "w.keras"), tmp_path / "evil.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                content = b'{"module": "os", "class_name": "system", "config": {"command": "touch harm"}}'
            target.writestr(name, content)
    checkpoint = read_checkpoint(evil)
    assert checkpoint.format == "keras"
    assert {name: value.shape for name, value in checkpoint.content.items()} == {
        "mine/vars/0": (3, 2),
        "mine/vars/1": (2,),
    }
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("config", [b"[" * 100_000, b"not json", b"[]," * 2**22])
def test_a_configuration_that_is_none(config, tmp_path):
    path, evil = dense_model(tmp_path / "w.keras"), tmp_path / "evil.keras"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(evil, "w") as target:
        target.writestr("model.weights.h5", source.read("model.weights.h5"))
        target.writestr("config.json", config)
    with pytest.raises(CheckpointError, match="Expected a model's configuration"):
        read_checkpoint(evil)


def test_shards_are_not_mistaken_for_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("model.weights.json", "{}")
    with pytest.raises(CheckpointError, match="in shards; load and save it with Keras first"):
        read_checkpoint(tmp_path / "w.keras")


# --- Mutants of all of them.


def example(kind, path):
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {f"layer{i}.weight": rng.standard_normal((4, 3)).astype(np.float32) for i in range(3)}
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "compressed npz":
        np.savez_compressed(path, **arrays)
    elif kind == "safetensors":
        save_file(arrays, path)
    elif kind == "keras":
        dense_model(path)
    else:
        h5(path, lambda file: [file.create_dataset(name.replace(".", "/"), data=x) for name, x in arrays.items()])
    return path.read_bytes()


SUFFIXES = {"npz": "npz", "compressed npz": "npz", "safetensors": "safetensors", "keras": "keras", "h5": "weights.h5"}
every_kind = pytest.mark.parametrize("kind", SUFFIXES)


def mutants(kind, folder, count, seed):
    """Reads copies with one to eight bytes changed, or cut short; returns how many could be read."""
    rng, path, readable = np.random.default_rng(seed), folder / f"mutant.{SUFFIXES[kind]}", 0
    original = np.frombuffer(example(kind, path), np.uint8)
    for number in range(count):
        content = original.copy()
        places = rng.integers(0, content.size, rng.integers(1, 9))
        content[places] = rng.integers(0, 256, places.size)
        end = rng.integers(0, content.size) if number % 10 == 0 else content.size
        path.unlink()  # an earlier mutant may still be mapped
        path.write_bytes(content[:end].tobytes())
        with contextlib.suppress(CheckpointError):
            for value in read_checkpoint(path).content.values():
                if isinstance(value, np.ndarray):
                    np.array(value)
            readable += 1
    return readable


@every_kind
def test_mutants_are_read_or_refused(kind, tmp_path):
    assert 0 < mutants(kind, tmp_path, 200, seed=0) < 200


@pytest.mark.slow
@every_kind
def test_many_mutants_are_read_or_refused(kind, tmp_path):
    assert 0 < mutants(kind, tmp_path, 2500, seed=1) < 2500


@settings(max_examples=300, deadline=2000)
@given(
    start=st.sampled_from([b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", struct.pack("<Q", 40) + b"{", b""]), rest=st.binary()
)
def test_any_bytes_are_read_or_refused(scratch, start, rest):
    scratch.unlink(missing_ok=True)  # an earlier one may still be mapped
    scratch.write_bytes(start + rest)
    with contextlib.suppress(CheckpointError):
        read_checkpoint(scratch)


# --- Windows on bytes behave as files do.


@given(
    content=st.binary(min_size=1, max_size=600), steps=st.lists(st.tuples(st.sampled_from("rlis"), st.integers(0, 700)))
)
def test_a_window_is_a_file(content, steps):
    from keras_effvit.weights.archive import Window

    ours, theirs = Window(np.frombuffer(content, np.uint8)), io.BytesIO(content)
    for step, number in steps:
        if step == "r":
            assert ours.read(number) == theirs.read(number)
        elif step == "l":
            assert ours.readline() == theirs.readline()
        elif step == "i":
            mine, other = bytearray(number), bytearray(number)
            assert ours.readinto(mine) == theirs.readinto(other)
            assert mine == other
        else:
            assert ours.seek(number) == theirs.seek(number)
        assert ours.tell() == theirs.tell()
