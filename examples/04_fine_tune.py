"""From a folder of images to an int8 file: trained by the paper's recipe, rounded while it learns, measured.

Without a folder of yours, ten classes of shapes are drawn into one. The small setting shows that the whole way works;
`--images 6000 --epochs 10` takes some minutes and learns the shapes.

    python examples/04_fine_tune.py [FOLDER] [--model efficientvit_b0] [--weights FILE] [--size 56] [--epochs 2]
"""

import argparse
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

import keras_effvit
from keras_effvit import lite, training
from keras_effvit.models import evaluation_of


def draw_folder(folder: Path, count: int, size: int) -> Path:
    """Drawn images as PNG files, a folder for every class, as a user's lie on a disk."""
    images = training.drawn(count, size, clutter=0)
    for number, label in enumerate(images.labels):
        path = folder / images.classes[label] / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(path, images.read(number), scale=False)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", default="efficientvit_b0")
    parser.add_argument("--weights", help="official, or a checkpoint; initial values by default")
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--images", type=int, default=200, help="to draw")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("artifacts/fine-tune"))
    options = parser.parse_args()

    folder = options.folder or draw_folder(options.output / "drawn", options.images, options.size)
    train, val = training.image_folder(folder).split(0.2)
    shape = (options.size, options.size, 3)
    model = keras_effvit.create_model(
        options.model,
        weights=options.weights,
        input_shape=shape,
        classes=len(train.classes),
        classifier_activation=None,
    )
    recipe = training.recipe_for(options.model).fine_tune()
    if options.weights is None:  # from nothing, a model takes larger steps
        recipe = replace(recipe, learning_rate=2e-3)
    recipe.fit(model, train, val, epochs=options.epochs, batch_size=32, folder=options.output / "run", verbose=2)
    rounded = recipe.finetune_quantized(model, train, epochs=1, batch_size=32, verbose=2)

    evaluation = evaluation_of(options.model, options.size)
    batches = training.evaluation_batches(val, evaluation=evaluation, batch_size=32)
    pairs = [(x, int(y.argmax())) for xs, ys in batches.as_numpy_iterator() for x, y in zip(xs, ys, strict=True)]
    calibration = np.stack([image for image, _ in pairs[:32]])
    files = {
        "float32": lite.convert(model, "float32", calibration=calibration),
        "int8": lite.convert(model, "int8", calibration=calibration),
        "int8, trained": lite.convert(rounded, labels=train.classes),
    }
    print(f"file           accuracy on {len(pairs)} images   bytes")
    for name, file in files.items():
        found = lite.evaluate(file.content, pairs, verbose=False)
        print(f"{name:13}  {found.top1:8.1%}                {len(file.content):10,}")
    print(f"written to {files['int8, trained'].save(options.output / f'{options.model}.tflite')}")


if __name__ == "__main__":
    main()
