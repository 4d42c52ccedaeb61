"""A head of one's own on a feature pyramid: tells drawn shapes apart, pixel by pixel.

The small setting shows that the whole way works; `--images 1200 --epochs 10` takes some minutes, and finds most shapes.

    python examples/07_feature_pyramid.py [--backbone efficientvit_b0] [--images 64] [--epochs 1] [--size 64]
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_effvit
from keras_effvit import explain
from keras_effvit.explain.plots import Panel, Row, figure_of
from keras_effvit.training.drawing import SHAPES

LEVELS = ("P2", "P3", "P4", "P5")
CLASSES = ("background", "cross", "disc", "ring", "triangle")
COLOURS = np.array([[0.93, 0.93, 0.93], [0.9, 0.6, 0], [0.34, 0.71, 0.91], [0, 0.62, 0.45], [0.8, 0.47, 0.65]])


def scene(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One to four shapes, some over others: floats as models take them, and the class of every pixel."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = rng.uniform(-2, 2, 3) + rng.uniform(-1, 1, 3) * x[..., None] + rng.uniform(-1, 1, 3) * y[..., None]
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 5)):
        number, radius, angle = rng.integers(1, len(CLASSES)), rng.uniform(0.2, 0.5), rng.uniform(0, 2 * np.pi)
        left, top = rng.uniform(-0.8, 0.8, 2)
        turned = ((x - left) + 1j * (y - top)) * np.exp(1j * angle) / radius
        inside = SHAPES[CLASSES[number]](turned.real, turned.imag) < 0
        image[inside], mask[inside] = rng.uniform(-2, 2, 3), number
    return (image + rng.normal(0, 0.1, image.shape)).astype("float32"), mask


def segmenter(backbone: str, size: int, width: int = 48) -> keras.Model:
    """All levels as wide as each other and as fine as the finest, added up; a class for every pixel of the image."""
    pyramid = keras_effvit.create_backbone(backbone, (size, size, 3), levels=LEVELS, dense=True)
    maps = [layers.Conv2D(width, 1, name=f"lateral_{level}")(pyramid.output[level]) for level in LEVELS]
    maps[1:] = [layers.UpSampling2D(2**n, interpolation="bilinear")(x) for n, x in enumerate(maps[1:], start=1)]
    x = layers.Conv2D(width, 3, padding="same", use_bias=False)(layers.add(maps))
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.UpSampling2D(4, interpolation="bilinear")(layers.Conv2D(len(CLASSES), 1)(x))
    return keras.Model(pyramid.input, x, name=f"{backbone}_segmenter")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="efficientvit_b0")
    parser.add_argument("--images", type=int, default=64, help="to draw and train on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("artifacts/pyramid.png"))
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images, masks = map(np.stack, zip(*(scene(rng, options.size) for _ in range(options.images + 50)), strict=True))

    model = segmenter(options.backbone, options.size)
    steps = options.epochs * -(-options.images // 16)
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps, warmup_target=2e-3, warmup_steps=steps // 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0)
    model.compile(optimizer, loss, jit_compile=False)  # compiling would take longer than all steps
    model.fit(images[50:], masks[50:], batch_size=16, epochs=options.epochs, verbose=2)

    found = model.predict(images[:50], verbose=0).argmax(-1)
    measure = keras.metrics.IoU(len(CLASSES), range(len(CLASSES)))
    measure.update_state(masks[:50], found)
    print(f"mIoU of {len(CLASSES)} classes on 50 unseen images: {float(measure.result()):.1%}")
    columns = {"image": images / 8 + 0.5, "truth": COLOURS[masks], "found": COLOURS[found]}
    rows = [Row("", tuple(Panel(of[n].clip(0, 1), name) for name, of in columns.items()), 3) for n in range(4)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    print(f"written to {explain.save(figure_of(rows), options.output)}")


if __name__ == "__main__":
    main()
