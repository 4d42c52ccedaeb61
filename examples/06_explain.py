"""Draws why a model decides, a row for every image: where heat finds its class, and where attention looks from there.

Without a model of yours a small one is trained on drawn shapes, and kept beside the picture. The heat of a model that
has learnt little means little: with `--images 1500 --epochs 8`, 69 % of unseen images, it still lies beside the shapes.

    python examples/06_explain.py [--images 200] [--epochs 1] [--output artifacts/explain.png]
    python examples/06_explain.py --model runs/flowers/last.keras --labels runs/flowers/classes.txt rose.jpg tulip.jpg
"""

import argparse
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

import keras_effvit
from keras_effvit import explain, training
from keras_effvit.explain.plots import Panel, Row, figure_of, overlay
from keras_effvit.training.drawing import draw

SIZE = 64
CLASSES: list[str] = ["checkerboard", "disc", "star", "stripes"]
METHODS = {"gradcam": "Grad-CAM", "scorecam": "Score-CAM", "saliency": "saliency"}
NOWHERE = ("aggregation", "broadcast", "class")  # attention of tokens, which have no place to look from


def drawn(count: int, seed: int) -> training.Images:
    pixels = [draw(CLASSES[n % 4], SIZE, np.random.default_rng([seed, n]), clutter=0.3) for n in range(count)]
    return training.arrays(np.stack(pixels), np.arange(count) % 4, CLASSES)


def train(options: argparse.Namespace) -> keras.Model:
    model = keras_effvit.EfficientViTB0(input_shape=(SIZE, SIZE, 3), classes=4, classifier_activation=None)
    recipe = training.recipe_for(model.name).fine_tune()
    mild = replace(recipe.augment, crop_scale=(0.6, 1.0))
    recipe = replace(recipe, learning_rate=2e-3, loss="softmax", ema=None, augment=mild)
    images, others = drawn(options.images, seed=0), drawn(100, seed=1)
    recipe.fit(model, images, others, epochs=options.epochs, batch_size=32, verbose=2)
    model.save(options.output.with_suffix(".keras"))
    return model


def row_of(model: keras.Model, image: np.ndarray | Path, labels: list[str], layer: str | None) -> Row:
    found = [explain.heatmap(model, image, each, layer=layer, channels=64) for each in METHODS]
    panels = [Panel(found[0].pixels / 255, "image")]
    panels += [Panel(overlay(each.pixels, each.heat), METHODS[each.method]) for each in found]
    height, width = found[0].heat.shape
    y, x = divmod(int(found[0].heat.argmax()), width)
    maps = explain.last_of_every_kind(explain.attention(model, image))
    for each in (each for each in maps if each.kind not in NOWHERE):
        rows, columns = each.grid if each.kind == "pointwise" else each.map
        seen = each.seen_by(y * rows // height, x * columns // width)
        across, along = (np.arange(n) * m // n for n, m in zip((height, width), seen.shape, strict=True))
        heat = overlay(found[0].pixels, (seen / max(seen.max(), 1e-9))[np.ix_(across, along)])
        panels.append(Panel(heat, f"{each.kind} from +", marks=((y, x),)))
    name = labels[found[0].target] if labels else f"class {found[0].target}"
    return Row(f"taken for {name} ({found[0].probability:.0%})", tuple(panels), len(panels))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", nargs="*", type=Path, help="image files; drawn shapes if none")
    parser.add_argument("--model", help="a .keras file; a small model is trained if not given")
    parser.add_argument("--labels", type=Path, help="a text file with a class on every line")
    parser.add_argument("--layer", help="whose map is asked; the last block's by default")
    parser.add_argument("--images", type=int, default=200, help="to draw and train on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("artifacts/explain.png"))
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    model = keras.models.load_model(options.model, compile=False) if options.model else train(options)
    labels = options.labels.read_text().splitlines() if options.labels else [] if options.model else CLASSES
    images = options.pictures or [np.asarray(each) for each in map(drawn(4, seed=2).read, range(4))]
    figure = figure_of([row_of(model, image, labels, options.layer) for image in images])
    print(f"written to {explain.save(figure, options.output)}")


if __name__ == "__main__":
    main()
