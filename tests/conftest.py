"""What every file of tests shares: a clean slate, because models pile up in Keras' global state."""

import gc

import keras
import pytest

pytest_plugins = ["tests.phones.fixtures"]


@pytest.fixture(autouse=True, scope="module")
def clean_slate():
    yield
    keras.backend.clear_session()
    gc.collect()
