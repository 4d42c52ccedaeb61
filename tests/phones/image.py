"""The read-only root of a phone: Android's shell and tools for ARM, fake services, and adbd."""

import shutil
import struct
import subprocess
from pathlib import Path

from tests.phones import cache, debian, fittings

TOOLS = """cat ls cp mv rm mkdir rmdir chmod chown id uname df du md5sum sha1sum sha256sum date sleep head tail wc grep
    sed sort uniq cut stat touch ps pidof taskset nproc env dd find xargs tar gzip uptime which mount getconf nice
    readlink realpath basename dirname sync cmp mktemp timeout free seq tee od setsid"""
FOLDERS = ("system/bin", "system/emul", "data", "sdcard", "proc", "sys", "dev", "etc", ".adbd")
#: What a program needs to run at all; it is where only the phone's own programs look.
LOADER = "ld-linux-aarch64.so.1"
LIBRARIES = (LOADER, "libc.so.6", "libm.so.6", "libcrypt.so.1")


def image() -> Path:
    """The folder, put together at first use.

    Raises:
        cache.UnavailableError: without network or apt.
    """
    sources = sorted(each for each in fittings.SYSTEM.rglob("*") if each.is_file())
    recipe = "".join(each.read_text() for each in (Path(__file__), *sources)) + str(debian.PHONE + debian.ARM)
    return cache.made("phone", recipe, _build)


def _build(root: Path) -> None:
    phone = debian.unpacked("packages-phone", debian.PHONE)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    _programs(root, phone)
    _daemon(root / ".adbd", phone / "amd64")
    shutil.copytree(fittings.SYSTEM, root / "system", dirs_exist_ok=True)
    (root / "bin").symlink_to("system/bin")
    (root / "etc/passwd").write_text("root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    for script in (root / "system/bin").iterdir():
        script.chmod(0o755)


def _programs(root: Path, phone: Path) -> None:
    binaries, arm = root / "system/bin", phone / "arm64"
    shutil.copy(arm / "usr/lib/aarch64-linux-musl/bin/mksh", binaries / "mksh")
    shutil.copy(arm / "bin/toybox", binaries / "toybox")
    (binaries / "sh").symlink_to("mksh")
    for name in TOOLS.split():
        (binaries / name).symlink_to("toybox")
    libraries = [debian.unpacked("packages-arm", debian.ARM), phone]
    for name in LIBRARIES:
        found = next(path for folder in libraries for path in folder.rglob(f"aarch64-linux-gnu/{name}"))
        shutil.copy(found.resolve(), root / "system/emul" / name)
    (root / "lib").mkdir()
    (root / "lib" / LOADER).write_bytes(no_loader())
    # A phone has no glibc. Whoever pushes a program that is linked to it must find as little of it here.
    patch = [_program(phone, "ld-linux-x86-64.so.2"), "--library-path", _libraries(phone), _program(phone, "patchelf")]
    hidden = ["--set-interpreter", f"/system/emul/{LOADER}", "--set-rpath", "/system/emul", binaries / "toybox"]
    subprocess.run([*patch, *hidden], check=True)


def no_loader() -> bytes:
    """An ARM program that says what a phone's shell says of a program whose loader is not there.

    On a phone it is the kernel that does not find the loader. Here it would be the emulator, in other words and with
    another exit code.
    """
    message = b"sh: inaccessible or not found\n"
    code = [0xD2800000 | 2 << 5, 0x10000000 | 28 // 4 << 5 | 1, 0xD2800002 | len(message) << 5]  # x0, x1, x2 of write
    code += [0xD2800008 | 64 << 5, 0xD4000001]
    code += [0xD2800000 | 127 << 5, 0xD2800008 | 93 << 5, 0xD4000001]  # exit
    body = struct.pack("<8I", *code) + message
    size = 64 + 56 + len(body)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = identity + struct.pack("<HHIQQQIHHHHHH", 3, 183, 1, 64 + 56, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0x1000) + body


def _daemon(folder: Path, packages: Path) -> None:
    shutil.copy(packages / "usr/lib/android-sdk/platform-tools/adbd", folder / "adbd")
    for library in packages.rglob("*.so*"):
        if library.is_file() and library.parent.name != "gconv":
            shutil.copy(library.resolve(), folder / library.name)


def _program(folder: Path, name: str) -> Path:
    return next(path.resolve() for path in folder.rglob(name) if path.is_file())


def _libraries(phone: Path) -> str:
    return ":".join(sorted({str(path.parent) for path in (phone / "amd64").rglob("*.so*") if path.is_file()}))
