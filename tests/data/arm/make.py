"""Makes the golden files anew: what our files answer on ARM, and the ranges that they were made with.

PYTHONPATH=. python tests/data/arm/make.py [MODEL ...]

Wanted when a conversion changes on purpose, which `tests/device/test_arm.py` says, or when a newer LiteRT answers
otherwise and is right. Debian's qemu plays the core; see `tests/phones/arm.py`.
"""

import sys

import numpy as np

from keras_effvit.lite.calibration import calibrate
from keras_effvit.lite.comparison import file_outputs
from tests.device import arm_models, places
from tests.parity import draw

CALIBRATION = 8


def make(name: str) -> arm_models.Golden:
    """One model's."""
    content, found, output = arm_models.float_file(name)
    side = arm_models.SIDE
    images = np.stack([draw(f"calibration {number}", (side, side, 3)) for number in range(CALIBRATION)])
    ranges = calibrate(content, found, images).ranges
    logits = file_outputs(content, images)[output]
    bounds = (float(logits.min()), float(logits.max()))
    int8 = arm_models.quantized(name, ranges, bounds)
    integers, floats = answers(int8, np.int8), answers(content, np.float32)
    return arm_models.Golden(ranges, bounds, arm_models.fingerprint(int8), integers, floats)


def answers(content: bytes, dtype: type) -> np.ndarray:
    """A row for every image."""
    return np.stack(
        [np.frombuffer(places.on_arm(content, [image.tobytes()])[0], dtype) for image in arm_models.images()]
    )


for name in sys.argv[1:] or arm_models.NAMES:
    golden = make(name)
    path = golden.write(name)
    print(f"{path}: {path.stat().st_size} bytes, {golden.sha256[:16]}", flush=True)
