"""A run that is killed, at whatever moment, comes to the weights of one left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest

from keras_effvit.training import TrainingError, read_run
from tests.training import tiny

ROOT = Path(__file__).parents[2]
EPOCHS = 4


def train(folder, model=None, **options):
    model = tiny.model() if model is None else model
    options = {"epochs": EPOCHS, "batch_size": 16, "verbose": 0, **options}
    history = tiny.FULL.fit(model, tiny.images(96), tiny.images(30, 1), folder=folder, **options)
    return model, history


def child(folder):
    """A process that trains."""
    program = f"from tests.training.test_resume import train; train({str(folder)!r})"
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def epochs_of(folder):
    path = folder / "run.json"
    return len(json.loads(path.read_text())["epochs"]) if path.exists() else 0


def kill_after(folder, epochs):
    process = child(folder)
    while epochs_of(folder) < epochs:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run that nothing disturbed: its weights and its history."""
    model, history = train(tmp_path_factory.mktemp("alone"))
    return tiny.weights(model), history.history


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, alone):
    kill_after(tmp_path, 2)
    before = epochs_of(tmp_path)
    assert before < EPOCHS
    model, history = train(tmp_path, tiny.model(seed=5))  # other initial weights: all that counts is in the folder
    assert tiny.same(tiny.weights(model), alone[0])
    assert history.history == alone[1]
    assert history.epoch == list(range(EPOCHS))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["best.keras", "classes.txt", "last.keras", "run.json"]
    assert tiny.same(tiny.weights(keras.models.load_model(tmp_path / "last.keras")), alone[0])
