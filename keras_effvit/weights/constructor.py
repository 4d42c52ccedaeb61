"""What `weights=` of a constructor means."""

import os
from pathlib import Path
from typing import Any

import keras

from keras_effvit.models.spec import ModelSpec
from keras_effvit.weights.formats import read_checkpoint
from keras_effvit.weights.load import load_checkpoint
from keras_effvit.weights.official import download, published


def load_into(model: keras.Model, spec: ModelSpec, *, weights: Any, accept_license: bool) -> None:
    """Loads the argument `weights` of a constructor, and says what it did.

    Args:
        model: the model that was just built.
        spec: its row.
        weights: `"official"` or a path.
        accept_license: as `official.download`.

    Raises:
        ValueError: if there is no such file, or it does not fit.
    """
    if weights == "official":
        height, width = model.input_shape[1:3] if isinstance(model.input_shape, tuple) else (None, None)
        path = download(published(spec, height if height == width else None), accept_license=accept_license)
    else:
        path = _existing_file(weights)
    try:
        checkpoint = read_checkpoint(path)
        # A whole model of ours with other classes is a mistake; with the authors' file it is fine-tuning.
        whole = checkpoint.format in ("keras", "h5")
        report = load_checkpoint(model, checkpoint, skip_head=False if whole else None)
    except ValueError as error:
        raise ValueError(
            f"`weights` must hold the weights of this model: {model.name} with output {model.output_shape}. "
            f"Received: weights={str(weights)!r}, which do not fit: {error}"
        ) from error
    if keras.config.is_interactive_logging_enabled():
        print(f"{model.name}: {report}")


def _existing_file(weights: Any) -> Path:
    path = Path(weights) if isinstance(weights, (str, os.PathLike)) else None
    if path is None or not path.is_file():
        raise ValueError(
            f'`weights` must be None or the path of a file of weights, or "official". Received: weights={weights!r}'
        )
    return path
