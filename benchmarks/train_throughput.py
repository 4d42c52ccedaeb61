"""Images per second that a training step takes in, for every family beside two mobile classics, in one process.

    python benchmarks/train_throughput.py [--models NAME ...] [--rounds 7] [--json results.json]

With a GPU: images of 224 x 224 in mixed precision, batch 128. Without one it says so, and trains on the processor in
float32 at a small size: that compares nothing but that processor. A batch is made once and stays where the model is, so
that what is measured is the training step (forward, backward, AdamW), not the reading of images. Rounds are
interleaved, and a ratio is the median over the rounds of the ratio inside a round.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_effvit

REFERENCES: dict[str, Callable[..., keras.Model]] = {
    "EfficientNetB0": keras.applications.EfficientNetB0,
    "MobileNetV3Large": keras.applications.MobileNetV3Large,
}
MODELS = ("sepvit_lite", "lvt", "lightvit_tiny", "efficientvit_base", "efficientvit_b0", "efficientvit_b1")


def create(name: str, size: int) -> keras.Model:
    """A classifier of a thousand classes that gives logits, ours or Keras'."""
    shape = (size, size, 3)
    if name in REFERENCES:
        return REFERENCES[name](weights=None, classifier_activation=None, input_shape=shape)
    return keras_effvit.create_model(name, classifier_activation=None, input_shape=shape)


def training_step(model: keras.Model, size: int, batch: int) -> Callable[[int], None]:
    """A function that trains for so many steps and returns when the last is done."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss)
    random_numbers = np.random.default_rng(0)
    x = tf.constant(random_numbers.standard_normal((batch, size, size, 3)).astype("float32"))
    y = tf.constant(random_numbers.integers(0, 1000, batch))
    function = model.make_train_function() or model.train_function

    def train(steps: int) -> None:
        data = iter(tf.data.Dataset.from_tensors((x, y)).repeat(steps))
        for _ in range(steps):
            logs = function(data)
        float(logs["loss"])  # waits for the device

    return train


def measure(names: list[str], size: int, batch: int, rounds: int, steps: int) -> dict[str, list[float]]:
    """Images per second by model, a value for every round."""
    trains = {}
    for name in names:
        start = time.perf_counter()
        trains[name] = training_step(create(name, size), size, batch)
        trains[name](2)  # traces, and compiles where there is XLA
        print(f"{name}: built and traced in {time.perf_counter() - start:.0f} s", flush=True)
    speeds: dict[str, list[float]] = {name: [] for name in names}
    shuffle = random.Random(0).shuffle
    for _ in range(rounds):
        order = list(names)
        shuffle(order)
        for name in order:
            trains[name](1)  # the caches are another model's
            start = time.perf_counter()
            trains[name](steps)
            speeds[name].append(steps * batch / (time.perf_counter() - start))
    return speeds


def table(speeds: dict[str, list[float]]) -> str:
    """Medians, and medians of the ratios to the references inside a round."""
    lines = [("model", "images/s", *(f"of {name}" for name in REFERENCES))]
    for name, own in speeds.items():
        ratios = (
            statistics.median(mine / theirs for mine, theirs in zip(own, speeds[other], strict=True))
            for other in REFERENCES
        )
        lines.append((name, f"{statistics.median(own):.1f}", *(f"{ratio:.2f}x" for ratio in ratios)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="of a turn; 20 on a GPU, 2 without")
    parser.add_argument("--size", type=int, help="of the images; 224 on a GPU, 64 without")
    parser.add_argument("--batch", type=int, help="128 on a GPU, 16 without")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        keras.config.set_dtype_policy("mixed_float16")
        device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "a GPU")
    else:
        device = "this machine's processor"
        print("No GPU: float32 on the processor at a small size, which says nothing of a GPU.")
    size, batch = options.size or (224 if gpus else 64), options.batch or (128 if gpus else 16)
    steps, policy = options.steps or (20 if gpus else 2), keras.config.dtype_policy().name
    print(f"{device}, {policy}, {size} x {size}, batch {batch}, {options.rounds} rounds of {steps} steps")
    speeds = measure([*REFERENCES, *options.models], size, batch, options.rounds, steps)
    print(table(speeds))
    if options.json:
        facts = {"device": device, "policy": policy, "size": size, "batch": batch, "images_per_second": speeds}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
