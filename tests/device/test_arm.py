"""Our files on an emulated Cortex-A76: what they once answered there, and what they answer on this machine.

To within what? Given the same inputs, every operator on integers answers the same to the bit; sums, roots, exponentials
and divisions of floats may differ in their last bit. Between two such operators a network rounds to integers, and where
the last bit decides, its answers part. These files and images are such that on processors with fused multiplication
nowhere it does. On images of 224 pixels it happens to LVT, and then the random weights make five steps of it.
"""

import numpy as np
import pytest

from keras_effvit.device.errors import NotExecutable
from tests.device import arm_models, places, single_operators
from tests.phones import cache

#: Of logits of a few units: what another order of adding up makes of float32.
FLOAT_TOLERANCE = 1e-4
#: The same of one operator, of its highest value; the longest sums differ by 2e-6.
OPERATOR_TOLERANCE = 1e-5

#: Those that convert in less than half a minute.
QUICK = ("efficientvit_b0", "sepvit_lite")


def marks(name):
    return [pytest.mark.xdist_group(f"arm {name}"), *([] if name in QUICK else [pytest.mark.slow])]


every_model = pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in arm_models.NAMES])


def answers(place, content, inputs):
    try:
        return place(content, inputs)
    except (cache.UnavailableError, NotExecutable) as reason:
        if isinstance(reason, NotExecutable) and place is places.on_arm:
            raise
        pytest.skip(str(reason))


def of_images(place, content, dtype):
    rows = [answers(place, content, [image.tobytes()]) for image in arm_models.images()]
    return np.stack([np.frombuffer(row[0], dtype) for row in rows])


@every_model
def test_the_int8_file_is_the_one_that_the_goldens_are_of(name):
    made = arm_models.fingerprint(arm_models.integer_file(name))
    assert made == arm_models.Golden.read(name).sha256, "conversion changed: tests/data/arm/make.py makes goldens anew"


@every_model
def test_int8_answers_on_arm_to_the_byte(name):
    golden = arm_models.Golden.read(name).integers
    assert len(np.unique(golden)) > 50
    np.testing.assert_array_equal(of_images(places.on_arm, arm_models.integer_file(name), np.int8), golden)


@every_model
def test_int8_on_arm_is_at_most_one_step_from_this_machine(name):
    content = arm_models.integer_file(name)
    steps = of_images(places.here, content, np.int8).astype(int) - of_images(places.on_arm, content, np.int8)
    assert np.abs(steps).max() <= 1, f"{np.mean(steps != 0):.1%} differ, by up to {np.abs(steps).max()}"


@every_model
def test_every_operator_answers_on_arm_what_it_answers_here(name):
    differing, integers = [], 0
    for part in single_operators.split(arm_models.integer_file(name), arm_models.images()[0]):
        both = [answers(place, part.content, part.inputs) for place in (places.here, places.on_arm)]
        for operator, dtype, one, other in zip(part.operators, part.types, *both, strict=True):
            one, other = (np.frombuffer(answer, dtype).astype(float) for answer in (one, other))
            exact = dtype.kind == "i"
            integers += exact
            allowed = 0 if exact else OPERATOR_TOLERANCE * np.abs(one).max()
            if not np.abs(one - other).max() <= allowed:
                differing.append(f"{operator}: {np.abs(one - other).max()}")
    assert integers > 50
    assert not differing


@every_model
def test_float32_on_arm_is_that_of_the_goldens_and_of_this_machine(name):
    content, _, _ = arm_models.float_file(name)
    golden = arm_models.Golden.read(name).floats
    measured = of_images(places.on_arm, content, np.float32)
    assert np.ptp(golden) > 1
    np.testing.assert_allclose(measured, golden, rtol=0, atol=FLOAT_TOLERANCE)
    np.testing.assert_allclose(measured, of_images(places.here, content, np.float32), rtol=0, atol=FLOAT_TOLERANCE)
