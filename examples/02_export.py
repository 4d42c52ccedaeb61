"""Converts two models to LiteRT files, in float32 and in int8, and says what they are. Nothing is downloaded.

python examples/02_export.py [--models sepvit_lite efficientvit_b0] [--side 224] [--folder artifacts]
"""

import argparse
from pathlib import Path

import keras
import numpy as np

import keras_effvit
from keras_effvit import lite


def calibration_images(side: int, count: int = 16) -> np.ndarray:
    """Noise as a model takes it; an app gives a few hundred images like those it will see."""
    return np.random.default_rng(0).standard_normal((count, side, side, 3)).astype("float32")


def liven(model: keras.Model) -> None:
    """Stands in for training: initial weights are so small that EfficientViT's signal would die away to nothing."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "kernel":
            depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1
            fan_in = np.prod(weight.shape[:2] if depthwise else weight.shape[:-1])
            weight.assign(rng.normal(0, (1.5 / fan_in) ** 0.5, weight.shape))
        elif weight.name == "gamma":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["sepvit_lite", "efficientvit_b0"])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--folder", type=Path, default=Path("artifacts"))
    options = parser.parse_args()
    images = calibration_images(options.side)
    print("model            precision  partitions  outside       bytes   against Keras  agreement  file")
    for name in options.models:
        model = keras_effvit.create_model(name, input_shape=(options.side, options.side, 3), classifier_activation=None)
        liven(model)
        for precision in ("float32", "int8"):
            converted = lite.convert(model, precision, calibration=images)
            path = converted.save_artifacts(options.folder)
            found = converted.inspection
            print(
                f"{name:16} {precision:9}  {found.partitions:10}  {len(found.outside):7}  "
                f"{len(converted.content):10,}  {converted.parity.snr_db:10.1f} dB  "
                f"{converted.parity.agreement:9.0%}  {path}"
            )


if __name__ == "__main__":
    main()
