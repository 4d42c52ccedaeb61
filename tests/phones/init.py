"""The first process of a phone in a box: mounts, adbd, the cable, and a test's requests as lines of JSON.

It runs in namespaces of its own (user, mount, process, network). When it ends, and it ends with the test's process, the
kernel ends all that runs in the box.
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.phones import fittings
from tests.phones.controls import Controls
from tests.phones.link import Link

READ_ONLY, NO_EXECUTION, REMOUNT, BIND = 1, 8, 32, 4096
#: Of an ELF file for aarch64: the bytes of its header that say so, and which bits of them count.
MAGIC = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
PORT = 5555
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str | Path, target: Path, kind: str = "none", flags: int = 0, options: str = "") -> None:
    words = (os.fsencode(each) for each in (source, target, kind))
    if LIBC.mount(*words, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind} on {target}: {os.strerror(number)}")


def register(emulator: str) -> None:
    """Has the emulator run ARM programs, and here only: since Linux 6.7 a user namespace has its own registry."""
    registry = Path("/proc/sys/fs/binfmt_misc")
    mount("binfmt_misc", registry, "binfmt_misc")
    # F opens the emulator now, for it is not in the phone's root; P hands it the program's own name.
    (registry / "register").write_bytes(b":arm:M::" + MAGIC + b":" + MASK + b":" + emulator.encode() + b":FP")


def registered(root: Path) -> bool:
    """Whether the whole machine runs ARM programs, also where its emulator is out of sight."""
    command = ["/usr/bin/unshare", "-R", root, "/system/bin/mksh", "-c", "true"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def furnish(root: Path, settings: dict[str, Any]) -> None:
    """Makes a read-only image the file system of one phone."""
    mount(root, root, flags=BIND)
    mount("tmpfs", root / "data", "tmpfs", options=f"size={settings['data_size']},mode=111")  # its user may not list it
    for folder in ("local/tmp", "misc/adb"):
        (root / "data" / folder).mkdir(parents=True)
    (root / "data/local/tmp").chmod(0o771)
    mount("tmpfs", root / "sdcard", "tmpfs", NO_EXECUTION, "size=64m,mode=770")
    # Not 1777: in a folder with that bit only the owner of /dev/null may open it to write.
    mount("tmpfs", root / "dev", "tmpfs", options="mode=755")
    for name in ("null", "zero", "urandom", "random", "tty"):
        (root / "dev" / name).touch()
        mount(Path("/dev", name), root / "dev" / name, flags=BIND)
    fittings.install(fittings.state(settings["properties"]), root / "dev/phone")
    mount("tmpfs", root / "sys", "tmpfs", options="mode=755")
    fittings.install(fittings.sensors(), root / "sys")
    mount("proc", root / "proc", "proc")
    (root / "dev/cpuinfo").write_text(settings["cpuinfo"])
    mount(root / "dev/cpuinfo", root / "proc/cpuinfo", flags=BIND)
    mount("none", root, flags=REMOUNT | BIND | READ_ONLY)


def daemon(root: Path, cpu: str, log: int) -> subprocess.Popen:
    """Starts adbd as the user that a phone's shell is, in the phone's root."""
    environment = {"PATH": "/system/bin", "HOME": "/", "TMPDIR": "/data/local/tmp", "ANDROID_DATA": "/data"}
    environment |= {"ANDROID_ROOT": "/system", "SHELL": "/system/bin/sh", "USER": "shell", "HOSTNAME": "box"}
    environment |= {"QEMU_CPU": cpu, "ADBD_PORT": str(PORT)}
    command = ["/usr/bin/unshare", "-R", root, "-U", "--map-user=2000", "--map-group=2000"]
    command += ["/.adbd/ld-linux-x86-64.so.2", "--library-path", "/.adbd", "/.adbd/adbd"]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def answering(process: subprocess.Popen) -> None:
    for _ in range(1000):
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", PORT), 1).close()
        if process.poll() is not None:
            raise OSError(errno.ECHILD, f"adbd ended with {process.returncode}")
        time.sleep(0.005)
    raise OSError(errno.ETIMEDOUT, "adbd does not answer")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = b"lo".ljust(16, b"\0") + (1).to_bytes(2, sys.byteorder)  # struct ifreq with IFF_UP
        ioctl = LIBC.ioctl
        if ioctl(any_socket.fileno(), 0x8914, request.ljust(40, b"\0")):  # SIOCSIFFLAGS
            raise OSError(ctypes.get_errno(), "loopback")


def boot(settings: dict[str, Any]) -> Controls:
    root = Path(settings["root"])
    loopback_up()
    try:
        register(settings["emulator"])
    except OSError as error:
        if not registered(root):
            raise OSError(f"{error}. That takes Linux 6.7, or ARM programs registered for the whole machine") from error
    furnish(root, settings)
    process = daemon(root, settings["cpu"], settings["log"])
    answering(process)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are ours now, and the kernel buries them
    link = Link(
        socket.socket(fileno=settings["listener"]),
        lambda: socket.create_connection(("127.0.0.1", PORT)),
        settings["banner"],
    )
    return Controls(root, link, lambda number: number not in (1, process.pid))


def main() -> None:
    def reply(**facts: Any) -> None:
        print(json.dumps(facts), flush=True)

    try:
        controls = boot(json.loads(sys.argv[1]))
    except Exception as error:
        reply(error=str(error))
        os._exit(1)
    reply(answer=None)
    for line in sys.stdin:
        try:
            reply(answer=controls.handle(*json.loads(line)))
        except Exception as error:
            reply(error=f"{type(error).__name__}: {error}")
    os._exit(0)


if __name__ == "__main__":
    main()
