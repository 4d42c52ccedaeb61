"""Files of ours that come out the same on every machine, and what ARM once answered.

What a conversion measures on this machine, the ranges of activations, is part of the golden file: other processors add
up in another order, and a range that differs in its last bit would make another file.
"""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from keras_effvit import create_model
from keras_effvit.lite.calibration import Calibration
from keras_effvit.lite.exporting import export_float, output_names
from keras_effvit.lite.flatfile import pack, unpack
from keras_effvit.lite.graph import layer_names
from keras_effvit.lite.inspection import Inspection, inspect
from keras_effvit.lite.number_types import set_number_types
from keras_effvit.lite.quantization import quantize
from keras_effvit.lite.recipe import load_recipe
from tests.lite.conftest import alive
from tests.parity import draw

DATA = Path(__file__).parents[1] / "data" / "arm"
#: One of each family.
NAMES = ("efficientvit_b0", "lightvit_tiny", "lvt", "sepvit_lite")
#: All layers are there on small images too, and a test of all is over in two minutes.
SIDE = 64
IMAGES = 3


@dataclass(frozen=True)
class Golden:
    """What is known of a model.

    Args:
        ranges: of its activations, by tensor.
        output_range: of its logits.
        sha256: of the int8 file made with these, by `fingerprint`.
        integers: what the int8 file answers on ARM, a row for every image.
        floats: what the float32 file answers.
    """

    ranges: dict[str, tuple[float, float]]
    output_range: tuple[float, float]
    sha256: str
    integers: np.ndarray
    floats: np.ndarray

    @classmethod
    def read(cls, name: str) -> "Golden":
        """Of a model.

        Args:
            name: of the model.
        """
        with np.load(DATA / f"{name}.npz") as stored:
            pairs = zip(stored["tensors"].tolist(), stored["ranges"].tolist(), strict=True)
            ranges = {tensor: (low, high) for tensor, (low, high) in pairs}
            low, high = stored["output_range"].tolist()
            return cls(ranges, (low, high), str(stored["sha256"]), stored["integers"], stored["floats"])

    def write(self, name: str) -> Path:
        """Into its file.

        Args:
            name: of the model.
        """
        path = DATA / f"{name}.npz"
        np.savez_compressed(
            path,
            tensors=np.array(list(self.ranges)),
            ranges=np.array(list(self.ranges.values()), np.float32),
            output_range=np.array(self.output_range, np.float32),
            sha256=np.array(self.sha256),
            integers=self.integers,
            floats=self.floats,
        )
        return path


def images() -> list[np.ndarray]:
    """That the files are asked about."""
    return [draw(f"arm {number}", (1, SIDE, SIDE, 3)) for number in range(IMAGES)]


@functools.cache
def float_file(name: str) -> tuple[bytes, Inspection, str]:
    """The float32 file, what is in it, and its output's name.

    Args:
        name: of the model.
    """
    keras.backend.clear_session()  # names count up, and tensors are called after layers
    model = alive(create_model(name, input_shape=(SIDE, SIDE, 3), classifier_activation=None))
    content = export_float(model, hard_swish=load_recipe("float32").hard_swish)
    return content, inspect(content, layers=layer_names(model)), output_names(model)[0]


@functools.cache
def integer_file(name: str) -> bytes:
    """The int8 file, with int8 scores, made with the golden ranges.

    Args:
        name: of the model.
    """
    golden = Golden.read(name)
    return quantized(name, golden.ranges, golden.output_range)


def quantized(name: str, ranges: dict[str, tuple[float, float]], output_range: tuple[float, float]) -> bytes:
    """The int8 file that `lite.convert` makes when it measures these ranges.

    Args:
        name: of the model.
        ranges: of its activations.
        output_range: of its logits.
    """
    content, found, output = float_file(name)
    known = Calibration(ranges, method="min_max", images=0, fingerprint="", outliers=())
    return set_number_types(
        quantize(content, found, load_recipe("int8"), known),
        input_type="float32",
        output_type="int8",
        input_range=(0.0, 0.0),
        output_ranges={output: output_range},
    )


def fingerprint(content: bytes) -> str:
    """SHA-256 of what a file calculates: operators, shapes, scales and constants, without its names.

    Args:
        content: the file.
    """
    model = unpack(content)
    model.metadata = model.metadataBuffer = model.description = None
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b""
    return hashlib.sha256(pack(model)).hexdigest()
