"""Trains on two workers, two processes of this machine that talk over loopback, and on one: the same weights.

On several machines it is the same program with their names in TF_CONFIG; a shell has `keras-effvit train --workers`.

    python examples/08_multi_worker.py [--epochs 1]
"""

import argparse
import json
import os
import socket
import subprocess
import sys

WORKERS = 2


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def train(epochs: int) -> None:
    """What every process runs; TensorFlow reads from TF_CONFIG which of how many it is."""
    from keras_effvit import EfficientViTB0, training

    strategy = training.strategy()  # before anything else is done with TensorFlow
    images = training.drawn(128, size=32, clutter=0)
    model = EfficientViTB0(input_shape=(32, 32, 3), classes=10, classifier_activation=None)
    if strategy is None:
        print("alone: ", end="")
    history = (
        training.recipe_for("efficientvit_b0")
        .fine_tune()
        .fit(model, images, epochs=epochs, batch_size=32, strategy=strategy, verbose=0)
    )
    print(f"loss {history.history['loss'][-1]:.4f}, sum of all weights {sum(w.sum() for w in model.get_weights()):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        train(options.epochs)
        return
    cluster = {"worker": [f"127.0.0.1:{free_port()}" for _ in range(WORKERS)]}
    command = [sys.executable, __file__, "--worker", f"--epochs={options.epochs}"]
    workers = [
        subprocess.Popen(
            command,
            env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})},
        )
        for i in range(WORKERS)
    ]
    if any(list(map(subprocess.Popen.wait, workers))):
        sys.exit("a worker failed")


if __name__ == "__main__":
    main()
