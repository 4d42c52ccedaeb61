"""Classifies a drawn landscape with SepViT-Lite and prints the five most probable classes.

Without a checkpoint the model holds initial values and its answer means nothing; what you see is that the whole way
from pixels to probabilities works. Give a `.weights.h5` or `.keras` file of your own to get a real answer.

    python examples/01_classify.py [WEIGHTS]
"""

import sys
import time

import numpy as np

import keras_effvit
from keras_effvit.samples import sample_image


def main(weights: str | None = None) -> None:
    model = keras_effvit.SepViTLite(weights=weights, include_preprocessing=True)
    image = sample_image()
    model(image[None])  # the first call traces
    start = time.perf_counter()
    [probabilities] = np.asarray(model(image[None]))
    milliseconds = 1000 * (time.perf_counter() - start)
    print(f"{model.name}: {model.count_params():,} parameters, {milliseconds:.0f} ms in eager Keras on this host")
    print("top-5" + ("" if weights else " (initial weights: the order means nothing)"))
    for rank, index in enumerate(np.argsort(probabilities)[:-6:-1], start=1):
        print(f"  {rank}. class {index:4d}  {probabilities[index]:.4%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
