"""Several workers: two processes on loopback come to what one does, and none hangs when another dies."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from keras_effvit.training import TrainingError
from keras_effvit.training.workers import join, run_workers
from tests.training import tiny

ROOT = Path(__file__).parents[2]
#: 12 updates of at most 3e-3 each: Adam's quotient of gradients, sums in another order, which round at 6e-8 of their
#: terms, so that where terms cancel to a thousandth, the quotient is off by 1e-4.
TOLERANCE = 12 * 3e-3 * 1e-4
PROGRAM = """
import sys
import tensorflow as tf
from keras_effvit.training import strategy
from keras_effvit.training.scale import place_in
from keras_effvit.training.workers import end_with_parent
folder, mirrored, epochs = sys.argv[1], sys.argv[2] == "mirrored", int(sys.argv[3])
end_with_parent()
if mirrored:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]) if mirrored else strategy()
from tests.training.test_workers import train
train(folder, strategy, place_in(strategy).worker, epochs)
"""


def train(folder, strategy=None, worker=0, epochs=2):
    """Every worker begins with weights of its own: the chief's are what counts. 31 images do not divide by two."""
    from dataclasses import replace

    model, teacher = tiny.model(seed=worker, drop=False), tiny.model(seed=9, drop=False)
    recipe = replace(tiny.RECIPE, ema=0.99999)
    options = {"epochs": epochs, "batch_size": 16, "teacher": teacher, "strategy": strategy, "verbose": 0}
    history = recipe.fit(model, tiny.images(96), tiny.images(31, 1), folder=folder, **options)
    print(json.dumps(history.history), flush=True)
    np.savez(f"{folder}/weights-{worker}.npz", *tiny.weights(model))
    return model, history


def command(folder, kind, epochs=2):
    return [sys.executable, "-c", PROGRAM, str(folder), kind, str(epochs)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    model, history = train(tmp_path_factory.mktemp("alone"))
    return tiny.weights(model), history.history


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def check(folder, workers, alone):
    weights, history = alone
    for worker in range(workers):
        found = np.load(folder / f"weights-{worker}.npz")
        for expected, name in zip(weights, found.files, strict=True):
            np.testing.assert_allclose(found[name], expected, atol=TOLERANCE)
    epochs = json.loads((folder / "run.json").read_text())["epochs"]
    for name, values in history.items():
        np.testing.assert_allclose([epoch["metrics"][name] for epoch in epochs], values, rtol=1e-5)


@pytest.mark.slow
def test_two_processes_come_to_the_weights_of_one(tmp_path, alone):
    run_workers(command(tmp_path, "workers"), 2, tmp_path)
    check(tmp_path, 2, alone)
    assert json.loads((tmp_path / "run.json").read_text())["devices"] == {"workers": 2, "replicas": 2}


@pytest.mark.slow
def test_two_devices_come_to_the_weights_of_one(tmp_path, alone):
    subprocess.run(command(tmp_path, "mirrored"), check=True, cwd=ROOT)
    check(tmp_path, 1, alone)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_worker_dies_the_others_end_and_training_can_go_on(tmp_path, alone, victim):
    """What is trained for too long is killed, and trained again for as long as one process was."""
    errors = []

    def run():
        try:
            run_workers(command(tmp_path, "workers", 10_000), 2, tmp_path)
        except TrainingError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 120
    path = tmp_path / "run.json"
    checkpoint = tmp_path / "checkpoint" / "latest.weights.h5"
    while time.monotonic() < until and not checkpoint.exists():
        time.sleep(0.01)
    os.kill(worker_of(tmp_path, victim), signal.SIGKILL)
    thread.join(60)
    assert not thread.is_alive()
    assert errors[0].startswith(f"Worker {victim} of 2 was ended by SIGKILL.")
    if victim == 0:
        assert "ends because another one is lost" in (tmp_path / "worker-1.log").read_text()
    assert json.loads(path.read_text())["epochs"], "what was written is kept"
    assert checkpoint.exists()


def worker_of(folder, index):
    """The process of this machine that is a worker of a folder."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode().split("\0")
            config = (path / "environ").read_bytes().decode().split("TF_CONFIG=")
        except OSError:
            continue
        if str(folder) in words and len(config) == 2 and f'"index": {index}' in config[1].split("\0")[0]:
            return int(path.name)
    raise AssertionError("no such worker")


def test_a_worker_that_fails_ends_all_and_tells_why(tmp_path):
    program = """
import json, os, sys, time
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
if index == 1:
    sys.exit("the cat has eaten it")
time.sleep(0.2)
sys.exit(3)
"""
    with pytest.raises(
        TrainingError, match=r"(?s)Worker 1 of 3 failed with status 1\..*worker-1.log ends with:\n  the cat"
    ):
        run_workers([sys.executable, "-c", program.replace("index == 1", "index > 0")], 3, tmp_path)


def test_workers_have_the_same_addresses_and_numbers_of_their_own(tmp_path):
    program = "import os, pathlib; pathlib.Path(f'{os.getpid()}.json').write_text(os.environ['TF_CONFIG'])"
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        run_workers([sys.executable, "-c", program], 3, tmp_path / "logs")
    finally:
        os.chdir(before)
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sorted(config["task"]["index"] for config in configs) == [0, 1, 2]
    addresses = {tuple(config["cluster"]["worker"]) for config in configs}
    assert len(addresses) == 1
    assert len(set(addresses.pop())) == 3


@pytest.mark.parametrize(
    ("addresses", "index", "message"),
    [
        (["a:1", "b"], 0, "Expected workers as host:port. Received: 'b'"),
        (["a:1", "b:70000"], 0, "Received: 'b:70000'"),
        (["a:1", "b:2"], 2, "Expected a worker's index from 0 to 1. Received: 2"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(addresses, index, message):
    with pytest.raises(ValueError, match=message):
        join(addresses, index)


def test_joining_tells_tensorflow(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    join(["a:1", "[::1]:2"], 1)
    config = {"cluster": {"worker": ["a:1", "[::1]:2"]}, "task": {"type": "worker", "index": 1}}
    assert json.loads(os.environ["TF_CONFIG"]) == config
