"""A run that is killed, at whatever moment, comes to the weights of one left alone."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_effvit.training import TrainingError, read_run
from keras_effvit.training.callbacks import Checkpoint
from keras_effvit.training.fitting import make_learner
from keras_effvit.training.job import Job, Settings
from keras_effvit.training.learner import draws_of
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


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was killed while it wrote, or soon after."""
    folder = tmp_path_factory.mktemp("killed")
    kill_after(folder, 2)
    assert epochs_of(folder) < EPOCHS
    return folder


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, killed, alone):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    (tmp_path / ".last.keras.killed").mkdir()  # as `replacing` leaves behind when it is killed
    model, history = train(tmp_path, tiny.model(seed=5))  # other initial weights: all that counts is in the folder
    assert tiny.same(tiny.weights(model), alone[0])
    assert history.history == alone[1]
    assert history.epoch == list(range(EPOCHS))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["best.keras", "classes.txt", "last.keras", "run.json"]
    assert tiny.same(tiny.weights(keras.models.load_model(tmp_path / "last.keras")), alone[0])


def test_a_run_that_is_over_is_not_trained_again(tmp_path, alone):
    trained, _ = train(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    model, history = train(tmp_path, tiny.model(seed=5))
    assert tiny.same(tiny.weights(model), tiny.weights(trained))
    assert tiny.same(tiny.weights(model), alone[0])
    assert history.history == alone[1]
    assert (tmp_path / "run.json").read_bytes() == before
    with pytest.raises(TrainingError, match=r"to go on with: settings's seed 0\. Received: 1\."):
        train(tmp_path, seed=1)
    with pytest.raises(TrainingError, match=r"settings's epochs 4\. Received: 5\."):
        train(tmp_path, epochs=5)
    train(tmp_path, epochs=1, seed=1, resume=False)
    assert len(read_run(tmp_path / "run.json").epochs) == 1


def test_all_that_has_a_state_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    learners = []
    for seed in (0, 1):
        settings = Settings(epochs=EPOCHS, batch_size=16)
        job = Job(tiny.FULL, tiny.model(seed), tiny.images(96), None, settings)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")  # for the state of the loss' scale
        try:
            learners.append(make_learner(replace(job, model=tiny.model(seed))))
        finally:
            keras.config.set_dtype_policy(before)
    states = [[*learner.variables, *learner.optimizer.variables] for learner in learners]
    assert len(draws_of(learners[0])) == 2
    for variable in states[0]:
        whole = "int" in str(variable.dtype)
        variable.assign(rng.integers(1, 99, variable.shape) if whole else rng.normal(size=variable.shape))
    checkpoint = Checkpoint(tmp_path, learners[0], chief=True)
    checkpoint.on_epoch_end(2)
    assert Checkpoint(tmp_path, learners[1], chief=True).restore() == 3
    for first, second in zip(*states, strict=True):
        np.testing.assert_array_equal(first, second, err_msg=first.path)


def test_a_damaged_checkpoint_is_named(tmp_path, killed):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoint" / "latest.weights.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TrainingError, match=r"Expected a checkpoint of this run\. Received: .*latest\.weights\.h5"):
        train(tmp_path)
    (tmp_path / "run.json").write_text('{"version": 1}')
    with pytest.raises(TrainingError, match=r"Expected a training run\. Received: .*run\.json"):
        train(tmp_path)


@pytest.fixture
def disk(tmp_path):
    """A folder, and what fills its disk for a while: all but some bytes."""
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], stderr=subprocess.DEVNULL
    )

    @contextmanager
    def only(left):
        if mounted:
            room = os.statvfs(tmp_path)
            ballast = tmp_path / "ballast"
            ballast.write_bytes(bytes(max(0, room.f_bavail * room.f_bsize - left)))
            yield
            ballast.unlink()
        else:  # a user may not mount, but may forbid himself to write much
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

    yield tmp_path, only
    if mounted:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_costs_no_epoch_that_was_kept(disk, killed, alone):
    folder, only = disk
    shutil.copytree(killed, folder, dirs_exist_ok=True)
    checkpoint = folder / "checkpoint" / "latest.weights.h5"
    before = checkpoint.read_bytes()
    with (
        only(16_384),
        pytest.raises(TrainingError, match=r"Could not write .*\. What was written before is still there"),
    ):
        train(folder)
    assert checkpoint.read_bytes() == before
    assert not list(folder.rglob(".*")), "nothing half written is left"
    model, history = train(folder)
    assert tiny.same(tiny.weights(model), alone[0])
    assert history.history == alone[1]
