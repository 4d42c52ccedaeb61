"""What happens after every epoch: the loss is looked at, the record written, the best model and a checkpoint kept."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from keras_effvit.atomic import replacing
from keras_effvit.training.errors import TrainingError
from keras_effvit.training.runs import Epoch, Run

#: So many batches may go by before a loss that is no number is noticed.
WATCHED = 50


class StopOnNaN(keras.callbacks.Callback):
    """Ends training with an error, before anything is written, when the loss is no number."""

    def on_train_batch_end(self, batch, logs=None):
        if batch % WATCHED == 0:
            self._check(f"batch {batch + 1}", logs)

    def on_epoch_end(self, epoch, logs=None):
        self._check(f"the end of epoch {epoch + 1}", logs)

    def _check(self, where: str, logs: Any) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise TrainingError(
                f"Expected a finite loss. Received: {loss} at {where}. "
                "A lower learning rate, a longer warm-up or clipping of gradients may help; in half precision, bfloat16"
            )


class Recorder(keras.callbacks.Callback):
    """Keeps the run, and writes it after every epoch.

    Args:
        run: with the epochs that are over.
        path: of `run.json`, or `None`.
        optimizer: that knows the learning rate.
    """

    def __init__(self, run: Run, path: Path | None, optimizer: keras.optimizers.Optimizer):
        super().__init__()
        self.run = run
        self.path = path
        self.optimizer = optimizer

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()
        self._rate = float(self.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        metrics["learning_rate"] = self._rate
        over = Epoch(round(time.monotonic() - self._began, 3), metrics)
        self.run = replace(self.run, epochs=(*self.run.epochs[:epoch], over))
        self.save()

    def save(self) -> None:
        """Writes `run.json`."""
        if self.path is not None:
            with writing(self.path):
                self.run.save(self.path)


class KeepBest(keras.callbacks.Callback):
    """Saves the model when it was better on the validation images than ever before.

    It stands before `SwapEMAWeights`, so that the moving average is still in the model when a validation ends.

    Args:
        recorder: knows the best so far.
        save: writes the model.
    """

    def __init__(self, recorder: Recorder, save: Callable[[], None]):
        super().__init__()
        self.recorder = recorder
        self.save = save
        self._before: float | None = None

    def on_epoch_begin(self, epoch, logs=None):
        run = self.recorder.run
        self._before = replace(run, epochs=run.epochs[:epoch]).best()

    def on_test_end(self, logs=None):
        accuracy = float((logs or {})["accuracy"])
        if self._before is None or accuracy > self._before:
            self.save()


class Checkpoint(keras.callbacks.BackupAndRestore):
    """Keras' own, with weights and epoch in one file, which is replaced at once.

    Keras writes the weights in place and the epoch beside them: killed in between, a run would train an epoch twice;
    on a full disk it would lose both.

    Args:
        folder: to keep it in.
        learner: whose weights, optimizer and epoch are kept.
        chief: whether this process writes.
    """

    def __init__(self, folder: Path, learner: keras.Model, *, chief: bool):
        super().__init__(str(folder), delete_checkpoint=False)
        self.set_model(learner)
        self.path = Path(self._weights_path)
        self.chief = chief

    def on_train_begin(self, logs=None):
        """Nothing: `restore` was before, because the data begin with the epoch."""

    def restore(self) -> int:
        """Brings back what was kept, and says how many epochs are over."""
        if not self.path.exists():
            return 0
        try:
            self._load_model()
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(
                f"Expected a checkpoint of this run. Received: {self.path}: {error}. "
                "Delete the folder to begin anew, or give another one"
            ) from error
        return int(self.model.epoch.numpy())

    def _save_model(self):
        self.model.epoch.assign(self._current_epoch)
        if self.chief:
            with writing(self.path), replacing(self.path) as temporary:
                self.model.save_weights(temporary)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says plainly what could not be written.

    Args:
        path: of a file that is written with `replacing`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError) as error:
        # HDF5 wraps the system's errors in its own words, and some of them come as RuntimeError when it closes a file.
        raise TrainingError(
            f"Could not write {path}: {error}. What was written before is still there: "
            "make room and start again, and training goes on after the last epoch that was kept"
        ) from error
