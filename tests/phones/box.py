"""A phone in a box: the adbd that Android has, over ARM programs, in namespaces that need no root.

    with PhoneBox(model="Pixel 8") as phone:
        subprocess.run(["adb", "connect", phone.serial])

Inside, `uname -m` says aarch64, /system cannot be written, /data is full at some time, nothing on /sdcard can be run, a
program linked to glibc finds no loader, and the user is 2000. Only the listening socket is outside.
"""

import functools
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.phones import arm, cache, image
from tests.phones.phone import Phone

#: "0" shows what the suite does where no box can be made.
SWITCH = "KERAS_EFFVIT_BOX"
ROOT = Path(__file__).parents[2]
#: Of users, mounts, processes and networks; all that is in them ends with the first process.
NAMESPACES = ("unshare", "-U", "-r", "-m", "-p", "-f", "-n", "--mount-proc", "--kill-child")


class PhoneBox(Phone):
    """A phone.

    Args:
        model: as `getprop ro.product.model` and `adb devices -l` tell.
        name: of the product and of the device.
        properties: of `getprop`, where they are not those of `system/properties`.
        cpu: the core, as qemu calls it.
        data_size: of /data, as tmpfs takes it.
    """

    kind = "box"
    runs_arm = True

    def __init__(
        self,
        model: str = "Pixel 8",
        name: str = "shiba",
        *,
        properties: Mapping[str, str] | None = None,
        cpu: str = arm.CPU,
        data_size: str = "256m",
    ):
        names = {f"ro.product.{each}": name for each in ("name", "device")}
        self._properties = {**names, "ro.product.model": model, **(properties or {})}
        self._banner = "".join(f"{key}={self._properties[key]};" for key in (*names, "ro.product.model"))
        self._cpu, self._data_size = cpu, data_size
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        """Switches it on; adb can connect when this returns.

        Raises:
            cache.UnavailableError: if it does not boot.
        """
        settings = {
            "root": str(image.image()),
            "emulator": arm.emulator(),
            "cpu": self._cpu,
            "cpuinfo": (arm.arm_root(self._cpu) / "proc/cpuinfo").read_text(),
            "properties": self._properties,
            "banner": self._banner,
            "data_size": self._data_size,
        }
        self._log = tempfile.TemporaryFile()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.serial = "{}:{}".format(*listener.getsockname())
            handles = {"listener": listener.fileno(), "log": self._log.fileno()}
            self._process = subprocess.Popen(
                [*NAMESPACES, sys.executable, "-S", "-m", "tests.phones.init", json.dumps({**settings, **handles})],
                pass_fds=tuple(handles.values()),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
        try:
            self._answer()
        except cache.UnavailableError as error:
            self._process.wait()
            complaints = self.log().strip().splitlines()[-1:]
            self.__exit__()
            raise cache.UnavailableError(". ".join([str(error), *complaints])) from error
        return self

    def __exit__(self, *error: object) -> None:
        """Switches it off, with all that runs in it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def ctl(self, action: str, *arguments: Any) -> Any:
        """Has an action done inside."""
        assert self._process.stdin
        with self._asking:  # a cable is pulled by a thread, while the test looks on
            self._process.stdin.write(json.dumps([action, *arguments]) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it is off"}
        if "error" in answer:
            raise cache.UnavailableError(f"the box: {answer['error']}")
        return answer["answer"]

    def log(self) -> str:
        """What adbd and the tools that boot the box had to complain of."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


@functools.cache
def unsupported() -> str | None:
    """Why no phone can be put in a box here, or `None` if one can: one was booted."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"the box is for Linux on x86-64, and this is {platform.system()} on {platform.machine()}"
    for tool in ("unshare", "dpkg-deb"):
        if not shutil.which(tool):
            return f"the box needs `{tool}`"
    try:
        with PhoneBox():
            return None
    except (cache.UnavailableError, OSError, subprocess.SubprocessError) as reason:
        return str(reason)
