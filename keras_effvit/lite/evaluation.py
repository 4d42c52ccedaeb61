"""Accuracy of any `.tflite` file over a data set: several processes, resumable, with a progress bar."""

import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from keras_effvit.atomic import write_json
from keras_effvit.lite.child import LiteError
from keras_effvit.lite.runtime import Runner

#: Images that a process gets at a time, and after which progress is kept.
CHUNK = 64


@dataclass(frozen=True)
class Accuracy:
    """How often a file is right.

    Attributes:
        images: how many it saw.
        top1: share of images whose most probable class was the label.
        top5: share of images whose label was among the five most probable classes.
    """

    images: int
    top1: float
    top5: float


def evaluate(
    file: bytes | str | Path,
    data: Iterable[tuple[np.ndarray, int]],
    *,
    processes: int = 1,
    progress: str | Path | None = None,
    verbose: bool = True,
) -> Accuracy:
    """Runs a file over labelled images.

    Args:
        file: a file's content or path, with float or quantised input and output.
        data: pairs of an image as it goes into the model (float), and its class; the same ones in the same order
            every time.
        processes: how many to share the work between.
        progress: a JSON file in which to keep what is done, so that an interrupted run goes on where it was.
        verbose: whether to show a progress bar.

    Raises:
        LiteError: if there are no images, or the progress belongs to another file.
    """
    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    kept = _Progress(content, Path(progress) if progress else None)
    chunks = _chunks(islice(iter(data), kept.images, None))
    bar = keras.utils.Progbar(None, verbose=int(verbose), unit_name="image")
    for images, top1, top5 in _counts(content, chunks, processes):
        kept.add(images, top1, top5)
        bar.update(kept.images, [("top1", kept.top1 / kept.images)])
    if kept.images == 0:
        raise LiteError("Expected images to evaluate on. Received: none")
    return Accuracy(kept.images, kept.top1 / kept.images, kept.top5 / kept.images)


class _Progress:
    """What is done so far, in memory and in a file."""

    def __init__(self, content: bytes, path: Path | None):
        self.images = self.top1 = self.top5 = 0
        self._path, self._file = path, hashlib.sha256(content).hexdigest()
        if path is not None and path.exists():
            try:
                kept = json.loads(path.read_text())
                if kept.pop("file") != self._file:
                    raise LiteError(f"Expected progress of this file. Received: {path}, of another one")
                self.images, self.top1, self.top5 = (int(kept[key]) for key in ("images", "top1", "top5"))
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise LiteError(f"Expected the progress of an evaluation. Received: {path}: {error}") from error

    def add(self, images: int, top1: int, top5: int) -> None:
        self.images, self.top1, self.top5 = self.images + images, self.top1 + top1, self.top5 + top5
        if self._path is not None:
            facts = {"file": self._file, "images": self.images, "top1": self.top1, "top5": self.top5}
            write_json(self._path, facts)


def _chunks(data: Iterator[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while pairs := list(islice(data, CHUNK)):
        images, labels = zip(*pairs, strict=True)
        yield np.stack([np.asarray(image, np.float32) for image in images]), np.array(labels).reshape(-1)


def _counts(content: bytes, chunks: Iterator, processes: int) -> Iterator[tuple[int, int, int]]:
    """(images, right at once, right among five) for every chunk, in order."""
    if processes <= 1:
        _start(content)
        yield from map(_count, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (content,)) as pool:
        waiting = []
        for chunk in chunks:  # no more in flight than there are hands, or all images would be in memory
            waiting.append(pool.submit(_count, chunk))
            if len(waiting) > 2 * processes:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


_runner: Runner | None = None


def _start(content: bytes) -> None:
    global _runner
    _runner = Runner(content)


def _count(chunk: tuple[np.ndarray, np.ndarray]) -> tuple[int, int, int]:
    images, labels = chunk
    assert _runner is not None
    scores = np.stack([next(iter(_runner(image[None]).values()))[0] for image in images])
    best = np.argsort(-scores, axis=-1, kind="stable")[:, :5]
    return len(labels), int((best[:, 0] == labels).sum()), int((best == labels[:, None]).any(axis=1).sum())
