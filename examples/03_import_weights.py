"""Imports a checkpoint as a training script leaves it, and shows that two models then give the same answers.

The file is made here: a model's weights under the names of its authors' code, in PyTorch's order of axes, behind what
data-parallel training puts before every name, with the counters of batch normalisation among them.

    python examples/03_import_weights.py [--model lightvit_tiny] [--file FILE.safetensors]
    python examples/03_import_weights.py --official     # the authors' own file, downloaded once
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

import keras_effvit
from keras_effvit import weights
from keras_effvit.samples import sample_image
from keras_effvit.weights.naming import namings

SIDE = 64
SHAPE = (SIDE, SIDE, 3)


def someone_elses_model(name: str) -> keras.Model:
    """No two of its weights are alike, so that none can be in another's place without being noticed."""
    model = keras_effvit.create_model(name, input_shape=SHAPE, classifier_activation=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.asarray(weight) + rng.normal(0, 0.02, weight.shape))
    return model


def write_checkpoint(model: keras.Model, path: Path) -> Path:
    """What the authors' script would have written; a `.pth` of yours is read as well."""
    arrays = {}
    for name, target in namings(model)[0].targets.items():
        values, axes = np.asarray(target.variable), target.torch_axes
        values = np.ascontiguousarray(values.transpose(np.argsort(axes)) if axes else values)
        arrays[f"module.{name}"] = values
        if name.endswith("running_mean"):
            arrays[f"module.{name.replace('running_mean', 'num_batches_tracked')}"] = np.array(1000)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path)
    return path


def show_official(name: str) -> None:
    model = keras_effvit.create_model(name, weights="official", include_preprocessing=True)
    print(f"{name} with its authors' weights, about a drawn landscape:")
    for _, label, probability in keras_effvit.decode_predictions(np.asarray(model(sample_image()[None])))[0]:
        print(f"  {probability:6.2%}  {label}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="lightvit_tiny")
    parser.add_argument("--file", type=Path, default=Path("artifacts/import/last.safetensors"))
    parser.add_argument("--official", action="store_true", help="download; LightViT and EfficientViT B0 to B3 are free")
    options = parser.parse_args()
    if options.official:
        show_official(options.model)
        return
    theirs = someone_elses_model(options.model)
    path = write_checkpoint(theirs, options.file)
    image = np.random.default_rng(1).standard_normal((1, *SHAPE), np.float32)
    ours = keras_effvit.create_model(options.model, input_shape=SHAPE, classifier_activation=None)
    expected, before = np.asarray(theirs(image)), np.asarray(ours(image))
    print(weights.load_weights(ours, path))
    apart = [np.abs(answer - expected).max() for answer in (before, np.asarray(ours(image)))]
    print(f"logits up to {np.abs(expected).max():.2f}; apart by {apart[0]:.2f} before and by {apart[1]:.1g} after\n")

    print("into a model of ten classes:")
    few = keras_effvit.create_model(options.model, input_shape=SHAPE, classes=10)
    print(weights.load_weights(few, path))


if __name__ == "__main__":
    main()
