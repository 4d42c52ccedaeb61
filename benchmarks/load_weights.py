"""How fast a large checkpoint gets into memory and into a model, beside numpy reading the same bytes.

python benchmarks/load_weights.py [--rounds 7] [--megabytes 300]

Every round runs all measurements one after the other, and a ratio is taken inside a round: other work on the machine
then slows both sides. Memory is what a process of its own held at most, beyond what it held before, the mapped file
included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
MODEL = "sepvit_base"
TITLES = {"read": "read_torch, every array copied", "load": f"load_weights into {MODEL}"}


def checkpoint(folder: Path, megabytes: int) -> Path:
    """A zip checkpoint of the layers of a transformer, as wide as it must be."""
    from tests.torch_file import write_zip

    rng, tensors, width = np.random.default_rng(0), {}, 768
    shapes = {"qkv": (3 * width, width), "proj": (width, width), "fc1": (4 * width, width), "fc2": (width, 4 * width)}
    block = 0
    while sum(array.nbytes for array in tensors.values()) < megabytes * 1e6:
        for name, shape in shapes.items():
            tensors[f"blocks.{block}.{name}.weight"] = rng.standard_normal(shape, np.float32)
            tensors[f"blocks.{block}.{name}.bias"] = np.zeros(shape[0], np.float32)
        block += 1
    return write_zip(folder / "checkpoint.pth", {"state_dict": tensors})


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def read_with_numpy(path: Path) -> np.ndarray:
    return np.fromfile(path, np.uint8)


def read_archive_with_numpy(path: Path) -> dict:
    """The same arrays out of numpy's own zip format."""
    with np.load(path.with_suffix(".npz")) as archive:
        return dict(archive)


def read_with_ours(path: Path) -> dict:
    """Every tensor as an array of its own in memory, as numpy's reading gives one."""
    from keras_effvit.weights import read_torch

    return {name: np.array(value) for name, value in read_torch(path)["state_dict"].items()}


def resident() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: int(value.split()[0]) * 1024 for key, value in (line.split(":") for line in lines) if "kB" in value}


def peak_of(task: str, path: Path) -> float:
    """Peak memory of a task, in sizes of the file."""
    output = subprocess.run(
        [sys.executable, __file__, "--task", task, "--path", str(path)], check=True, capture_output=True, text=True
    )
    return json.loads(output.stdout.splitlines()[-1])["peak"] / path.stat().st_size


def run_task(task: str, path: Path) -> None:
    if task == "read":
        import keras_effvit.weights

        assert keras_effvit.weights.read_torch
        before = resident()["VmRSS"]
        kept = read_with_ours(path)
    else:
        import keras_effvit

        model = keras_effvit.create_model(MODEL)
        before = resident()["VmRSS"]
        kept = keras_effvit.weights.load_weights(model, path)
    assert kept
    print(json.dumps({"peak": resident()["VmHWM"] - before}))


def model_checkpoint(folder: Path, model) -> Path:
    """The model's own weights under the authors' names and axes, as a zip checkpoint."""
    from keras_effvit.weights.naming import namings
    from tests.torch_file import write_zip

    tensors = {}
    for name, target in namings(model)[0].targets.items():
        value = np.asarray(target.variable)
        tensors[name] = value if target.torch_axes is None else value.transpose(np.argsort(target.torch_axes))
    return write_zip(folder / f"{MODEL}.pth", {"model": tensors})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--task")
    parser.add_argument("--path", type=Path)
    options = parser.parse_args()
    if options.task:
        run_task(options.task, options.path)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras_effvit
    from keras_effvit.weights import load_weights, read_torch

    with tempfile.TemporaryDirectory() as name:
        path = checkpoint(Path(name), options.megabytes)
        model = keras_effvit.create_model(MODEL)
        whole = model_checkpoint(Path(name), model)
        for file in (path, whole):
            np.savez(file.with_suffix(".npz"), **next(iter(read_torch(file).values())))
        tasks = {
            "read": (path, lambda: read_with_ours(path)),
            "load": (whole, lambda: load_weights(model, whole)),
        }
        for task, (file, ours) in tasks.items():
            raw, archived = [], []
            for _ in range(options.rounds + 1):
                mine = seconds(ours)
                raw.append(seconds(lambda file=file: read_with_numpy(file)) / mine)
                archived.append(seconds(lambda file=file: read_archive_with_numpy(file)) / mine)
            # The first round warms up.
            print(
                f"{TITLES[task]} ({file.stat().st_size / 1e6:.0f} MB): "
                f"{statistics.median(raw[1:]):.2f} x numpy.fromfile of all bytes, "
                f"{statistics.median(archived[1:]):.2f} x numpy.load of the arrays in its own archive, "
                f"peak memory {peak_of(task, file):.2f} x the file"
            )


if __name__ == "__main__":
    main()
