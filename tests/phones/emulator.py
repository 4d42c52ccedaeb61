"""A phone in Python alone: for machines where no box can be made, and for a phone that asks before it lets adb in.

Commands run under this machine's /bin/sh in a folder that plays the phone's root, so it is no ARM machine, /system can
be written, /sdcard can run programs, and space is counted for pushed files only.
"""

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from tests.phones import fittings, services
from tests.phones.controls import Controls
from tests.phones.link import Link
from tests.phones.phone import Phone
from tests.phones.protocol import FEATURES, PUBLIC_KEY, SIGNATURE, Connection, Stream

#: Absolute paths of a phone in a command, and not behind another path or name.
PHONE_PATHS = re.compile(r"(?<![\w./-])/(?=(?:data|sdcard|sys|system|dev/phone)(?![\w.-]))")


class Emulator(Phone):
    """A phone.

    Args:
        model: as `getprop ro.product.model` and `adb devices -l` tell.
        name: of the product and of the device.
        properties: of `getprop`, where they are not those of `system/properties`.
        authorization: "open" lets everyone in; "trusted" those with any key; "asks" until `allow` is called, as if
            someone tapped on "Allow"; "never".
        old: Android 6, whose shell tells no exit code and has one output.
    """

    kind = "emulator"
    runs_arm = False

    def __init__(
        self,
        model: str = "Pixel 8",
        name: str = "shiba",
        *,
        properties: Mapping[str, str] | None = None,
        authorization: Literal["open", "trusted", "asks", "never"] = "open",
        old: bool = False,
    ):
        names = {f"ro.product.{each}": name for each in ("name", "device")}
        self._properties = {**names, "ro.product.model": model, **(properties or {})}
        self._authorization = authorization
        self.features = "" if old else FEATURES
        self._left: int | None = None
        #: Every service that was asked for, such as "shell,v2,raw:true".
        self.services: list[str] = []

    def __enter__(self) -> Self:
        """Switches it on."""
        self.root = Path(tempfile.mkdtemp(prefix="phone-")).resolve()
        for folder in ("data/local/tmp", "data/misc", "sdcard"):
            (self.root / folder).mkdir(parents=True)
        shutil.copytree(fittings.SYSTEM, self.root / "system")
        fittings.install(fittings.state(self._properties), self.root / "dev/phone")
        fittings.install(fittings.sensors(), self.root / "sys")
        listener = socket.create_server(("127.0.0.1", 0))
        self.serial = "{}:{}".format(*listener.getsockname())
        self._connections: list[Connection] = []
        self._link = Link(listener, self._connect)
        self._controls = Controls(self.root, self._link, self._ours)
        return self

    def __exit__(self, *error: object) -> None:
        """Switches it off, with all that was started on it."""
        self._link.close()
        while numbers := self.processes():  # until none starts another
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    self.kill(number)
        shutil.rmtree(self.root, ignore_errors=True)

    def ctl(self, action: str, *arguments: Any) -> Any:
        """Has an action done."""
        return self._controls.handle(action, *arguments)

    def fill(self, leave: int = 0) -> None:
        """Takes no more than so many bytes, until `empty`."""
        self._left = leave

    def empty(self) -> None:
        """Has space without end."""
        self._left = None

    def allow(self) -> None:
        """Someone taps on "Allow"."""
        self._authorization = "open"
        for connection in self._connections:
            connection.admit()

    # What a connection asks for.

    def banner(self) -> str:
        names = (f"ro.product.{each}" for each in ("name", "model", "device"))
        return "".join(f"{name}={self._properties[name]};" for name in names)

    def trusts(self, kind: int) -> bool:
        return self._authorization == "open" or (self._authorization == "trusted" and kind in (SIGNATURE, PUBLIC_KEY))

    def service(self, name: str) -> Callable[[Stream], None] | None:
        self.services.append(name)
        kind, _, argument = name.partition(":")
        words = kind.split(",")
        if words[0] == "sync":
            return services.Sync(self._locate, self._room)
        if words[0] not in ("shell", "exec"):
            return None
        command = ["/bin/sh", "-c", PHONE_PATHS.sub(f"{self.root}/", argument)] if argument else ["/bin/sh"]
        framed = "v2" in words
        return lambda stream: services.shell(stream, command, self.root, self._environment(), framed=framed)

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._connections.append(Connection(self, theirs))
        return ours

    def _environment(self) -> dict[str, str]:
        path = f"{self.root}/system/bin:{os.environ.get('PATH', os.defpath)}"
        places = {"ANDROID_ROOT": self.root / "system", "ANDROID_DATA": self.root / "data"}
        places |= {"PHONE_STATE": self.root / "dev/phone", "TMPDIR": self.root / "data/local/tmp"}
        return {"PATH": path, "HOME": "/", "LC_ALL": "C", **{name: str(place) for name, place in places.items()}}

    def _ours(self, number: int) -> bool:
        marker = f"PHONE_STATE={self.root}/dev/phone".encode()
        return marker in Path(f"/proc/{number}/environ").read_bytes().split(b"\0")

    def _locate(self, path: str) -> Path:
        return self.root / os.path.normpath(f"/{path}").lstrip("/")

    def _room(self, count: int) -> bool:
        if self._left is None:
            return True
        self._left -= count
        return self._left >= 0
