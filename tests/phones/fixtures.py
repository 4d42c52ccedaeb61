"""Phones for tests. Each test gets its own, with an adb server that knows no others: a third of a second in all."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.phones import box, cache
from tests.phones.box import PhoneBox
from tests.phones.emulator import Emulator
from tests.phones.phone import Phone
from tests.phones.server import AdbServer

#: What only a box knows of.
BOX_ONLY = ("cpu", "data_size")


def make_phone(**options: Any) -> Phone:
    """A phone in a box where that is possible, else an emulated one; to be switched on by `with`."""
    if box.unsupported() is None:
        return PhoneBox(**options)
    return Emulator(**{name: value for name, value in options.items() if name not in BOX_ONLY})


@contextlib.contextmanager
def attached(server: AdbServer, phone: Phone) -> Iterator[Phone]:
    """Switches a phone on and connects it."""
    with phone:
        server.attach(phone)
        yield phone


def note(request: pytest.FixtureRequest) -> None:
    """Leaves word of the phones for the summary; a test's properties reach it from every worker."""
    reason = box.unsupported()
    kind = "in a box: Android's adbd, ARM programs" if reason is None else f"emulated in Python, because {reason}"
    request.node.user_properties.append(("phones", kind))


@pytest.fixture
def adb_server() -> Iterator[AdbServer]:
    """A server that no phone is attached to."""
    try:
        server = AdbServer()
    except cache.UnavailableError as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture
def phone(adb_server: AdbServer, request: pytest.FixtureRequest) -> Iterator[Phone]:
    """A phone, attached to `adb_server`."""
    note(request)
    with attached(adb_server, make_phone()) as found:
        yield found


@pytest.fixture
def arm_phone(phone: Phone) -> Phone:
    """A phone that runs ARM programs; without one the test is skipped."""
    if not phone.runs_arm:
        pytest.skip(f"ARM programs need a phone in a box: {box.unsupported()}")
    return phone


@pytest.fixture
def two_phones(adb_server: AdbServer, request: pytest.FixtureRequest) -> Iterator[tuple[Phone, Phone]]:
    """Two different ones, attached to the same `adb_server`."""
    note(request)
    older = {"ro.product.manufacturer": "samsung", "ro.soc.model": "SM8650"}
    second = make_phone(model="SM-S921B", name="e1s", properties=older, cpu="cortex-a53")
    with attached(adb_server, make_phone()) as first, attached(adb_server, second):
        yield first, second


@pytest.fixture
def emulated_phone(adb_server: AdbServer) -> Iterator[Emulator]:
    """One in Python, whatever this machine can do, attached to `adb_server`."""
    with Emulator() as found:
        adb_server.attach(found)
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what the tests ran on."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    properties = (each for report in reports for each in getattr(report, "user_properties", ()))
    for _, kind in sorted({(name, value) for name, value in properties if name == "phones"}):
        terminalreporter.write_line(f"Phones of this run were {kind}.")
