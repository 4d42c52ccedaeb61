"""`run.json`: what a training run is made of, and how it went, written after every epoch."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_effvit.atomic import write_json
from keras_effvit.training.errors import TrainingError
from keras_effvit.training.images import Images

#: Of the JSON; a reader refuses one it does not know.
VERSION = 1


@dataclass(frozen=True)
class Epoch:
    """How an epoch went.

    Attributes:
        seconds: that it took, validation included.
        metrics: loss, accuracy, the learning rate it began with, and with `val_` before their names those on the
            validation images.
    """

    seconds: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        plan: what decides the result: model, recipe, data, settings. A run goes on only under the same one.
        versions: of Python and of the packages.
        started: when, in UTC.
        epochs: those that are over.
        final: metrics of the model as it was kept, once training is over.
        finished: when, in UTC.
        skipped: images that were left out, with path and reason.
        devices: how many workers there are, and devices on all of them.
    """

    plan: Mapping[str, Any]
    versions: Mapping[str, str]
    started: str
    epochs: tuple[Epoch, ...] = ()
    final: Mapping[str, float] = field(default_factory=dict)
    finished: str | None = None
    skipped: tuple[Mapping[str, str], ...] = ()
    devices: Mapping[str, int] = field(default_factory=dict)

    def best(self, metric: str = "val_accuracy") -> float | None:
        """The highest value of a metric so far.

        Args:
            metric: of the epochs.
        """
        return max((epoch.metrics[metric] for epoch in self.epochs if metric in epoch.metrics), default=None)

    def history(self) -> dict[str, list[float]]:
        """The epochs' metrics as Keras' history has them."""
        names = dict.fromkeys(name for epoch in self.epochs for name in epoch.metrics)
        return {name: [epoch.metrics[name] for epoch in self.epochs if name in epoch.metrics] for name in names}

    def save(self, path: Path) -> None:
        """Writes the run, whole or not at all.

        Args:
            path: of the file.
        """
        write_json(path, {"version": VERSION, **dataclasses.asdict(self)})


def read_run(path: str | Path) -> Run:
    """Reads a `run.json`.

    Args:
        path: of the file.

    Raises:
        TrainingError: if it is none.
    """
    try:
        facts = json.loads(Path(path).read_text())
        if facts.pop("version") != VERSION:
            raise TrainingError(f"Expected a run of version {VERSION}. Received: {path}, of another one")
        facts["epochs"] = tuple(Epoch(**epoch) for epoch in facts["epochs"])
        return Run(**{**facts, "skipped": tuple(facts["skipped"])})
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise TrainingError(f"Expected a training run. Received: {path}: {error}") from error


def data_facts(images: Images) -> dict[str, Any]:
    """What a run's plan says about images.

    Args:
        images: for training or validation.
    """
    counts = {name: int((images.labels == label).sum()) for label, name in enumerate(images.classes)}
    return {"images": len(images), "classes": counts, "fingerprint": images.fingerprint}


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide what a run comes to."""
    packages = ("keras_effvit", "keras", "tensorflow", "numpy")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def plain(value: Any) -> Any:
    """A value as JSON gives it back, so that what was written can be compared with what is meant now.

    Args:
        value: of dicts, lists, tuples and plain data.
    """
    return json.loads(json.dumps(value))
