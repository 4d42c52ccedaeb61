"""What every file of tests shares: a clean slate, because models pile up in Keras' global state."""

import gc
import signal

import keras
import pytest

pytest_plugins = ["tests.phones.fixtures"]

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # Under `nohup`. What is ignored is ignored by programs we start, too: by phones' shells, which a hang-up shall end.
    # A handler of ours is not handed down, and lets this process go on all the same.
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True, scope="module")
def clean_slate():
    yield
    keras.backend.clear_session()
    gc.collect()
