"""Makes the network that every benchmark measures first and last: python tflite/reference.py

Plain float32 convolutions with drawn weights: some milliseconds of work from a few kilobytes, which no recipe of ours
changes.
"""

from pathlib import Path

import keras

from keras_effvit.device.benchmark import REFERENCE
from keras_effvit.lite.exporting import export_float


def network() -> keras.Model:
    """Four convolutions, 66 million multiply-accumulates."""
    keras.utils.set_random_seed(0)
    image = x = keras.Input((128, 128, 3), name="image")
    for stride in (2, 1, 1, 1):
        x = keras.layers.Conv2D(24, 3, stride, padding="same", activation="relu")(x)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="reference")


if __name__ == "__main__":
    content = export_float(network())
    Path(REFERENCE).write_bytes(content)
    print(f"{REFERENCE}: {len(content):,} bytes")
