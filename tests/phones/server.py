"""An adb server of a test's own: another port, another home, and no phones but those that the test attaches."""

import contextlib
import importlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.phones import cache
from tests.phones.phone import Phone

#: What would lead adb to another server, other keys or a certain phone.
MISLEADING = {"ANDROID_ADB_SERVER_PORT", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_SERIAL", "ADB_VENDOR_KEYS", "ADB_TRACE"}
MISLEADING |= {"ANDROID_SDK_HOME"}
#: It looks for phones neither at the USB (where there is none, adb 36 spends three seconds) nor on the network, nor for
#: emulators that someone else runs here. Old versions know only some of this.
ALONE = {"ADB_USB": "0", "ADB_LIBUSB": "0", "ADB_MDNS": "0", "ADB_EMU": "0", "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554"}
LONGEST_START = 20.0


def adb() -> str:
    """The path of adb's client.

    Raises:
        cache.UnavailableError: if there is none.
    """
    found = os.environ.get("ADB") or shutil.which("adb")
    if not found:
        with contextlib.suppress(ImportError):
            found = importlib.import_module("adbutils").adb_path()
    if not found:
        raise cache.UnavailableError("adb is not installed; `make phone` as root installs it")
    return found


class AdbServer:
    """A server, as long as `with` lasts.

    Args:
        path: of adb; the machine's if left out.
    """

    def __init__(self, path: str | None = None):
        self.path = path or adb()

    def __enter__(self) -> Self:
        """Starts it; it answers when this returns.

        Raises:
            cache.UnavailableError: if it does not start.
        """
        self._home = tempfile.TemporaryDirectory(prefix="adb-")
        self.env = {name: value for name, value in os.environ.items() if name not in MISLEADING}
        self.env |= {"HOME": self._home.name, "LC_ALL": "C", **ALONE}
        for _ in range(5):  # another process may take the port first
            self._start()
            if self._answers():
                return self
            self._stop()
        log = Path(self._home.name, "log").read_text()
        self._home.cleanup()
        raise cache.UnavailableError(f"adb's server does not start: {log}")

    def __exit__(self, *error: object) -> None:
        """Ends this server and no other."""
        self._stop()
        self._home.cleanup()

    def adb(self, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Runs a command of adb's, whatever comes of it."""
        return subprocess.run(
            [self.path, *words], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )

    def state(self, phone: Phone) -> str | None:
        """As `adb devices` calls it: "device", "offline", "unauthorized"; `None` if it is not attached."""
        states = dict(line.split("\t") for line in self.adb("devices").stdout.splitlines() if "\t" in line)
        return states.get(phone.serial)

    def attach(self, phone: Phone, state: str = "device", timeout: float = 20.0) -> None:
        """Connects a phone and waits until it has a state: it may be offline for a moment.

        Raises:
            TimeoutError: if it has not.
        """
        end, patience = time.monotonic() + timeout, time.monotonic() + 1.0
        while (found := self.state(phone)) != state:
            now = time.monotonic()
            if now > end:
                raise TimeoutError(f"expected {phone.serial} to be {state!r}. Received: {found!r}")
            if found == "offline" and now > patience:  # adb's own attempts become rare
                self.detach(phone)
                patience = now + 2.0
            if found is None:
                self.adb("connect", phone.serial, timeout=timeout)
            time.sleep(0.02)

    def detach(self, phone: Phone) -> None:
        """Forgets a phone."""
        self.adb("disconnect", phone.serial)

    def _start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.env["ADB_SERVER_SOCKET"] = f"tcp:localhost:{self.port}"
        with open(Path(self._home.name, "log"), "ab") as log:
            # In the foreground, so that it is our child and can be ended by its number; and by the kernel, if we are.
            bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
            command = [*bound, self.path, "-L", self.env["ADB_SERVER_SOCKET"], "server", "nodaemon"]
            self._process = subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        end = time.monotonic() + LONGEST_START
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as end_of_it:
                end_of_it.settimeout(5)
                end_of_it.sendall(b"000chost:version")
                if end_of_it.recv(4) == b"OKAY":
                    return True
            time.sleep(0.005)
        return False

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
