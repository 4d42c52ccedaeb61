"""Files out of Debian packages and wheels, without Debian's tools."""

import io
import lzma
import tarfile
import zipfile
import zlib

from keras_effvit.device.errors import Damaged

_MAGIC, _END_OF_HEADER = b"!<arch>\n", b"`\n"
_HEADER = 60


def read_ar(content: bytes) -> dict[str, bytes]:
    """The members of an `ar` archive, which is what a Debian package is.

    Args:
        content: of the archive.

    Returns:
        Contents by name.

    Raises:
        Damaged: if it is none.
    """
    if not content.startswith(_MAGIC):
        raise Damaged(f"Expected an ar archive. Received: content that begins with {content[:8]!r}.")
    members: dict[str, bytes] = {}
    position = len(_MAGIC)
    while position < len(content):
        header = content[position : position + _HEADER]
        # Name, time, owner, group and mode come first; then the size, in decimal digits.
        digits = header[48:58].strip()
        if len(header) < _HEADER or header[58:] != _END_OF_HEADER or not digits.isdigit():
            raise Damaged(f"Expected a member of an ar archive at byte {position}. Received: {header[:16]!r}.")
        start, size = position + _HEADER, int(digits)
        if start + size > len(content):
            raise Damaged(f"Expected {size} bytes at byte {start} of an ar archive. Received: its end.")
        name = header[:16].rstrip().rstrip(b"/").decode("latin-1")
        members[name] = content[start : start + size]
        position = start + size + size % 2  # members begin at even bytes
    return members


def from_deb(content: bytes, path: str, most: int) -> bytes:
    """A file out of a Debian package.

    Args:
        content: of the package.
        path: of the file in there, such as "./lib/aarch64-linux-gnu/libc.so.6".
        most: bytes that it may have.

    Raises:
        Damaged: if it is not there or the package is damaged.
    """
    members = read_ar(content)
    if "data.tar.xz" not in members:
        raise Damaged(f"Expected data.tar.xz in a Debian package. Received: {sorted(members)[:5]}.")
    try:
        with tarfile.open(fileobj=io.BytesIO(members["data.tar.xz"]), mode="r:xz") as archive:
            member = archive.getmember(path)
            file = archive.extractfile(member) if member.isreg() and member.size <= most else None
            if file is not None:
                return file.read()
    except KeyError:
        pass
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise Damaged(f"Expected a Debian package. Received: one that is damaged ({error}).") from error
    raise Damaged(f"Expected {path} of up to {most} bytes in a Debian package. Received: none.")


def from_wheel(content: bytes, path: str, most: int) -> bytes:
    """A file out of a wheel.

    Args:
        content: of the wheel.
        path: of the file in there.
        most: bytes that it may have.

    Raises:
        Damaged: if it is not there or the wheel is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo(path).file_size <= most:
                return archive.read(path)
    except KeyError:
        pass
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise Damaged(f"Expected a wheel. Received: one that is damaged ({error}).") from error
    raise Damaged(f"Expected {path} of up to {most} bytes in a wheel. Received: none.")
