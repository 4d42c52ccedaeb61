"""Our files on an emulated Cortex-A76: what they once answered there, and what they answer on this machine."""

import numpy as np
import pytest

from keras_effvit.device.errors import DeviceError
from tests.device import arm_models
from tests.phones import cache

#: Of logits of a few units: what another order of adding up makes of float32.
FLOAT_TOLERANCE = 1e-4

every_model = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"arm {name}")) for name in arm_models.NAMES]
)


def on_arm(content, dtype):
    try:
        answers = arm_models.on_arm(content, arm_models.images())
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))
    return np.stack([np.frombuffer(answer, dtype) for answer in answers])


def here(content, dtype):
    try:
        answers = arm_models.here(content, arm_models.images())
    except DeviceError as reason:
        pytest.skip(str(reason))
    return np.stack([np.frombuffer(answer, dtype) for answer in answers])


@every_model
def test_the_int8_file_is_the_one_that_the_goldens_are_of(name):
    made = arm_models.fingerprint(arm_models.integer_file(name))
    assert made == arm_models.Golden.read(name).sha256, "conversion changed: tests/data/arm/make.py makes goldens anew"


@every_model
def test_int8_answers_on_arm_to_the_byte(name):
    golden = arm_models.Golden.read(name).integers
    assert len(np.unique(golden)) > 50
    np.testing.assert_array_equal(on_arm(arm_models.integer_file(name), np.int8), golden)


@every_model
def test_int8_on_arm_is_at_most_one_step_from_this_machine(name):
    content = arm_models.integer_file(name)
    steps = here(content, np.int8).astype(int) - on_arm(content, np.int8)
    assert np.abs(steps).max() <= 1, f"{np.mean(steps != 0):.1%} differ, by up to {np.abs(steps).max()}"


@every_model
def test_float32_on_arm_is_that_of_the_goldens_and_of_this_machine(name):
    content, _, _ = arm_models.float_file(name)
    golden = arm_models.Golden.read(name).floats
    measured = on_arm(content, np.float32)
    assert np.ptp(golden) > 1
    np.testing.assert_allclose(measured, golden, rtol=0, atol=FLOAT_TOLERANCE)
    np.testing.assert_allclose(measured, here(content, np.float32), rtol=0, atol=FLOAT_TOLERANCE)
