"""A file against its Keras model: agreement, noise, and where in the file they part."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_effvit.lite.child import LiteError
from keras_effvit.lite.graph import Graph, layer_names
from keras_effvit.lite.inspection import Inspection, inspect
from keras_effvit.lite.runtime import Runner


@dataclass(frozen=True)
class Parity:
    """How close a file is to its Keras model.

    Attributes:
        images: how many were compared.
        snr_db: signal to noise of the outputs, in decibels.
        relative_error: largest difference, over the largest output.
        agreement: share of images with the same most probable class; of maps, pixels with the same strongest channel.
    """

    images: int
    snr_db: float
    relative_error: float
    agreement: float


@dataclass(frozen=True)
class LayerError:
    """How close a layer's output in the file is to that in Keras.

    Attributes:
        layer: the Keras layer.
        operator: the last operator in the file that bears its name.
        snr_db: signal to noise, in decibels.
        relative_error: largest difference, over the largest value.
    """

    layer: str
    operator: str
    snr_db: float
    relative_error: float


def snr_db(signal: np.ndarray, noisy: np.ndarray) -> float:
    """Signal to noise ratio in decibels; infinite when nothing differs.

    Args:
        signal: what it should be.
        noisy: what it is.
    """
    signal, noisy = np.asarray(signal, np.float64), np.asarray(noisy, np.float64)
    noise = np.square(signal - noisy).sum()
    power = np.square(signal).sum()
    if not np.isfinite(noise):
        return float("-inf")
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(power / noise)) if power > 0 else float("-inf")


def relative_error(expected: np.ndarray, received: np.ndarray) -> float:
    """Largest difference over the largest expected magnitude."""
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-30)
    difference = np.abs(np.asarray(received, np.float64) - expected).max(initial=0.0)
    return float(difference / scale) if np.isfinite(difference) else float("inf")


def keras_outputs(model: keras.Model, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What a model gives, under the names its file uses.

    Args:
        model: the model.
        images: its input.
        names: of `exporting.output_names`.
    """
    batches = [
        keras.tree.flatten(model(images[start : start + 8], training=False)) for start in range(0, len(images), 8)
    ]
    columns = [np.concatenate([keras.ops.convert_to_numpy(x) for x in column]) for column in zip(*batches, strict=True)]
    return dict(zip(names, columns, strict=True))


def file_outputs(content: bytes, images: np.ndarray, *, threads: int = 2) -> dict[str, np.ndarray]:
    """What a file gives.

    Args:
        content: the file.
        images: its input, any number of them.
        threads: of XNNPACK.
    """
    runner = Runner(content, threads=threads)
    size = int(runner.inputs[0]["shape"][0])
    results = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        outputs = runner(np.resize(batch, (size, *images.shape[1:])))
        results.append({name: value[: len(batch)] for name, value in outputs.items()})
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def measure(expected: Mapping[str, np.ndarray], received: Mapping[str, np.ndarray]) -> Parity:
    """Parity of the worst output.

    Args:
        expected: by name, what Keras gives.
        received: by name, what the file gives.
    """
    if set(expected) != set(received):
        raise LiteError(f"Expected outputs {sorted(expected)}. Received: {sorted(received)}")
    return Parity(
        images=len(next(iter(expected.values()))),
        snr_db=min(snr_db(expected[name], received[name]) for name in expected),
        relative_error=max(relative_error(expected[name], received[name]) for name in expected),
        agreement=min(float(np.mean(expected[name].argmax(-1) == received[name].argmax(-1))) for name in expected),
    )


def compare(model: keras.Model, file: bytes, images: np.ndarray) -> Parity:
    """Runs a file and its Keras model on the same images.

    Args:
        model: the Keras model.
        file: the content of a `.tflite` file made of it.
        images: (n, height, width, channels), as they go into the model.

    Example:
        >>> compare(model, converted.content, images).agreement
        1.0
    """
    received = file_outputs(file, images)
    return measure(keras_outputs(model, images, _names(model, received)), received)


def _names(model: keras.Model, received: Mapping[str, np.ndarray]) -> list[str]:
    from keras_effvit.lite.exporting import output_names

    names = output_names(model)
    return names if set(names) == set(received) else list(received)


def walk(model: keras.Model, file: bytes, image: np.ndarray, found: Inspection | None = None) -> list[LayerError]:
    """The error after every layer of a model, in its order.

    Args:
        model: the Keras model.
        file: the content of a `.tflite` file made of it.
        image: one image, or a batch of the file's size.
        found: of `inspect`, if at hand.

    Returns:
        Every layer whose output can be told in the file.
    """
    image = image[None] if image.ndim == len(model.inputs[0].shape) - 1 else image
    found = found or inspect(file, layers=layer_names(model))
    runner = Runner(file, threads=2, keep_all=True, delegate=False)
    runner(image)
    last: dict[str, int] = {}
    for operator in found.operators:
        last[operator.layer] = last[operator.layer.partition("/")[0]] = operator.index
    probed = {path: tensor for path, tensor in _landmarks(model) if path in last}
    outputs = keras.Model(model.inputs, list(probed.values()))([image], training=False)
    errors = []
    for path, output in zip(probed, keras.tree.flatten(outputs), strict=True):
        operator = found.operators[last[path]]
        expected = keras.ops.convert_to_numpy(output)
        received = _value(runner, operator.outputs[0], found)
        if received.size == expected.size:
            received = received.reshape(expected.shape)
            errors.append(
                LayerError(path, operator.name, snr_db(expected, received), relative_error(expected, received))
            )
    return errors


def _landmarks(model: keras.Model) -> Iterator[tuple[str, keras.KerasTensor]]:
    """Layers of which a file shows the result, and that result; of a graph, wherever it rounds a layer's."""
    for layer in model.layers:
        if isinstance(model, Graph):
            path, _, end = layer.name.rpartition(".")
            if end == "result":
                yield path.rpartition(".")[0].replace(".", "/"), layer.output
        elif not isinstance(layer, keras.layers.InputLayer) and not isinstance(layer.output, (list, tuple, dict)):
            yield layer.name, layer.output


def _value(runner: Runner, index: int, found: Inspection) -> np.ndarray:
    """A tensor's numbers, whatever it stores them as."""
    tensor, value = found.tensors[index], runner.tensor(index)
    if value.dtype.kind == "f" or tensor.scale is None:
        return np.asarray(value, np.float32)
    return (value.astype(np.float32) - (tensor.zero_point or 0)) * tensor.scale
