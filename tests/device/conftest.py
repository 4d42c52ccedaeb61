"""Phones as the package reaches them: twice, by another adb and another phone, because both sides have their ways."""

import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keras_effvit.device.adb import Adb
from keras_effvit.device.phone import Phone as Reached
from tests.phones import cache, fixtures
from tests.phones.emulator import Emulator
from tests.phones.phone import Phone
from tests.phones.server import AdbServer


def google_adb() -> str | None:
    """The client that `adbutils` brings: newer than most distributions', and it prints other things."""
    spec = importlib.util.find_spec("adbutils")
    path = Path(spec.origin).parent / "binaries" / "adb" if spec and spec.origin else None
    return str(path) if path and path.exists() else None


@dataclass
class Both:
    """A phone from both sides.

    Args:
        server: that it is attached to.
        phone: from behind adb's back.
        device: as the package sees it.
    """

    server: AdbServer
    phone: Phone
    device: Reached

    @property
    def adb(self) -> Adb:
        return self.device.adb


def reach(server: AdbServer, phone: Phone) -> Both:
    """A phone that is attached, as the package sees it."""
    return Both(server, phone, Reached(Adb(server.path, env=server.env), phone.serial))


@contextlib.contextmanager
def raises(kind: type[Exception], *words: str) -> Iterator[pytest.ExceptionInfo]:
    """Expects an error of exactly this type that says these words."""
    with pytest.raises(kind) as caught:
        yield caught
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)


def eventually(condition: Callable[[], Any], timeout: float = 6.0) -> Any:
    """What a condition says once it is true, or when time is up."""
    end = time.monotonic() + timeout
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def nothing_left(both: Both) -> bool:
    """Whether every `sleep 31` that a test started on the phone ends within a moment."""
    return eventually(lambda: not any("31" in words for words in both.phone.processes().values()))


@pytest.fixture(scope="session", params=["system", "google"])
def started(request: pytest.FixtureRequest) -> Iterator[AdbServer]:
    """A server of each adb there is; a new one takes seconds to start."""
    path = google_adb() if request.param == "google" else None
    if request.param == "google" and path is None:
        pytest.skip("adbutils is not installed, so there is only one version of adb")
    try:
        found = AdbServer(path)
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))
    with found:
        yield found


@pytest.fixture
def server(started: AdbServer) -> Iterator[AdbServer]:
    """An adb server without phones, of each adb there is."""
    yield started
    started.adb("disconnect")


@pytest.fixture
def emulated(adb_server: AdbServer, emulated_phone: Emulator) -> Both:
    """An emulated phone: quick, and as good for what is not about adb."""
    return reach(adb_server, emulated_phone)


@pytest.fixture
def both(server: AdbServer, request: pytest.FixtureRequest) -> Iterator[Both]:
    """A phone: in a box for the one adb, emulated for the other."""
    google = server.path == google_adb()
    if not google:
        fixtures.note(request)
    with fixtures.attached(server, Emulator() if google else fixtures.make_phone()) as phone:
        yield reach(server, phone)
