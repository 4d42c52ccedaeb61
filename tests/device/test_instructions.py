"""The instructions that `benchmarks/arm_instructions.py` counts, held against multiplications that are known."""

import keras
import numpy as np
import pytest

from benchmarks.arm import counting
from keras_effvit import lite
from tests.phones import cache

SIDE, CHANNELS = 24, 64
#: Of a convolution of 1x1. Kernels take 4 or 6 pixels and 8 or 16 channels at a time, which leaves no rest here.
MACS = SIDE * SIDE * CHANNELS * CHANNELS


def counted(file, kind):
    try:
        return counting.instructions(counting.count(file, kind))
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    image = keras.Input((SIDE, SIDE, CHANNELS))
    model = keras.Model(image, keras.layers.Conv2D(CHANNELS, 1)(image))
    images = np.random.default_rng(0).standard_normal((4, SIDE, SIDE, CHANNELS)).astype(np.float32)
    folder = tmp_path_factory.mktemp("files")
    return {
        precision: lite.convert(model, precision, calibration=images).save(folder / f"{precision}.tflite")
        for precision in ("float32", "int8")
    }


@pytest.mark.parametrize(("precision", "kind"), [("float32", "fmla"), ("int8", "sdot")])
def test_a_convolution_multiplies_as_often_as_it_must(files, precision, kind):
    assert counted(files[precision], kind) * counting.MACS[kind] == MACS
    [other] = set(counting.MACS) - {kind}
    assert counted(files[precision], other) == 0


def test_the_count_is_the_same_every_time_and_more_than_the_multiplications(files):
    counts = [counted(files["int8"], "all") for _ in range(2)]
    assert max(counts) - min(counts) < min(counts) / 1000
    assert MACS / 16 < counts[0] < MACS / 2


def test_operators_are_counted_by_the_same_clock(files):
    try:
        answers = counting.count(files["int8"], profile=2)
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))
    whole, inside = counting.instructions(answers), sum(each.microseconds for each in answers.operators)
    assert 0.8 * whole < inside <= whole
    assert max(answers.operators, key=lambda each: each.microseconds).name.startswith("Fully Connected (NC, QS8")
