"""Build time, import cost and forward time of every model beside two mobile classics, in one process.

    python benchmarks/forward.py [--rounds 7] [--models 'sepvit*']

Rounds are interleaved: every round runs every model once in a shuffled order, and a figure is the median over the
rounds of the ratio to the reference *of the same round*, so that a busy moment of the machine hits both sides. Times
are TensorFlow's on this host (float32, XLA off), no phone's.
"""

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import keras_effvit

REFERENCES: dict[str, Callable[..., keras.Model]] = {
    "MobileNetV3Large": keras.applications.MobileNetV3Large,
    "EfficientNetB0": keras.applications.EfficientNetB0,
}
BATCHES = (1, 8)


def import_cost(rounds: int) -> float:
    """Seconds that `import keras_effvit` adds to `import keras`, median of fresh processes."""
    code = "import time, keras; t = time.perf_counter(); import keras_effvit; print(time.perf_counter() - t)"
    runs = (subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(rounds))
    return statistics.median(float(run.stdout) for run in runs)


def build(create: Callable[[], keras.Model]) -> tuple[Callable[[np.ndarray], object], float]:
    """The model as a traced function, and how long its construction took."""
    start = time.perf_counter()
    model = create()
    seconds = time.perf_counter() - start
    return tf.function(lambda image: model(image, training=False)), seconds


def measure(functions: dict[str, Callable], rounds: int, seed: int = 0) -> dict[tuple[str, int], list[float]]:
    """Milliseconds by (model, batch), one value for every round."""
    images = {batch: tf.random.normal((batch, 224, 224, 3), seed=seed) for batch in BATCHES}
    jobs = [(name, batch) for name in functions for batch in BATCHES]
    for name, batch in jobs:
        functions[name](images[batch])  # traces
    times: dict[tuple[str, int], list[float]] = {job: [] for job in jobs}
    shuffle = random.Random(seed).shuffle
    for _ in range(rounds):
        shuffle(jobs)
        for name, batch in jobs:
            functions[name](images[batch])
            start = time.perf_counter()
            functions[name](images[batch])
            times[name, batch].append(1000 * (time.perf_counter() - start))
    return times


def report(times: dict[tuple[str, int], list[float]], seconds: dict[str, float]) -> str:
    """A table: medians, and medians of the ratios to the references of the same round."""
    ratios = [f"/ {reference} (b{batch})" for batch in BATCHES for reference in REFERENCES]
    header = ["model", "build s", *(f"b{batch} ms" for batch in BATCHES), *ratios]
    rows = [header]
    for name, built in seconds.items():
        cells = [name, f"{built:.2f}", *(f"{statistics.median(times[name, batch]):.1f}" for batch in BATCHES)]
        for batch in BATCHES:
            for reference in REFERENCES:
                pairs = zip(times[name, batch], times[reference, batch], strict=True)
                cells.append(f"{statistics.median(ours / theirs for ours, theirs in pairs):.2f}x")
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default="*")
    options = parser.parse_args()

    cost = import_cost(min(options.rounds, 5))
    print(f"import keras_effvit after keras: {cost:.3f} s (at most 0.3 s is the promise)")
    creators: dict[str, Callable[[], keras.Model]] = {
        name: lambda constructor=constructor: constructor(weights=None) for name, constructor in REFERENCES.items()
    }
    for name in keras_effvit.list_models(options.models):
        creators[name] = lambda name=name: keras_effvit.create_model(name)
    functions, seconds = {}, {}
    for name, create in creators.items():
        functions[name], seconds[name] = build(create)
    print(report(measure(functions, options.rounds), seconds))


if __name__ == "__main__":
    main()
