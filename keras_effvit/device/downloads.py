"""Packages from Debian and PyPI: fetched once, checked against pinned hashes, and unpacked into a cache."""

import hashlib
import os
import re
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from keras_effvit.atomic import replacing
from keras_effvit.device.errors import AssetsMissing
from keras_effvit.device.unpacking import from_deb, from_wheel

#: Told the name of a file, the bytes that have come, and those of the whole.
Progress = Callable[[str, int, int], None]

DEBIAN = "http://deb.debian.org/debian"
_SECONDS = 30.0
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Member:
    """A file in a package.

    Args:
        path: in the package.
        bytes: of its content.
        sha256: of its content.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Package:
    """Something to download.

    Args:
        urls: where it is, the best one first. "{debian}" stands for the mirror, "{index}" for a link in PyPI's index.
        bytes: of its content.
        sha256: of its content.
        members: that the phone needs, by their names there.
    """

    urls: tuple[str, ...]
    bytes: int
    sha256: str
    members: Mapping[str, Member]

    @property
    def name(self) -> str:
        """Of the file."""
        return self.urls[0].rsplit("/", 1)[-1]


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where downloads are kept.

    Args:
        cache: the folder, if it is not to be the usual one.
    """
    return Path(cache or os.environ.get("KERAS_EFFVIT_CACHE") or Path.home() / ".cache" / "keras_effvit").absolute()


def unpacked(packages: tuple[Package, ...], cache: Path, progress: Progress | None = None) -> Path:
    """A folder with the members of all packages.

    Args:
        packages: to take them from.
        cache: the folder that everything is kept in.
        progress: is told what comes.

    Raises:
        AssetsMissing: if something cannot be downloaded, or the cache cannot be written.
    """
    members = {name: member for package in packages for name, member in package.members.items()}
    pins = "".join(f"{name} {member.sha256}\n" for name, member in sorted(members.items()))
    folder = cache / f"aarch64-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    if _whole(folder, members):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking.", dir=cache) as temporary:
            for package in packages:
                _unpack(package, _downloaded(package, cache / "downloads", progress), Path(temporary) / "new")
            if not _whole(folder, members):
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another process was faster
                os.replace(Path(temporary) / "new", folder)
    except OSError as error:
        fix = "Set $KERAS_EFFVIT_CACHE to a folder with 60 MB of space that you may write to."
        raise AssetsMissing(f"Expected to write to {cache}. Received: {error}.", fix) from error
    if not _whole(folder, members):
        raise AssetsMissing(f"Expected the libraries in {folder}. Received: others.", f"Delete {folder}.")
    for package in packages:  # what is unpacked is enough
        (cache / "downloads" / package.name).unlink(missing_ok=True)
    return folder


def _whole(folder: Path, members: Mapping[str, Member]) -> bool:
    return all(_is(folder / name, member.bytes, member.sha256) for name, member in members.items())


def _is(path: Path, size: int, sha256: str) -> bool:
    with suppress(OSError):
        return path.stat().st_size == size and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    return False


def _unpack(package: Package, content: bytes, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    read = from_wheel if package.name.endswith(".whl") else from_deb
    for name, member in package.members.items():
        path = folder / name
        path.write_bytes(read(content, member.path, member.bytes))
        path.chmod(0o755)


def _downloaded(package: Package, folder: Path, progress: Progress | None) -> bytes:
    """Its content: from the cache, where somebody may have put it by hand, or from the first URL that has it."""
    path = folder / package.name
    if _is(path, package.bytes, package.sha256):
        return path.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in _addresses(package):
        try:
            content = _fetch(url, package, progress)
        except (OSError, ValueError, HTTPException) as error:
            reasons.append(f"{url}: {error}")
            continue
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        return content
    fix = f"Connect to the internet once, or put the file {package.name} into {folder}; later runs need no network."
    raise AssetsMissing(f"Expected to download {package.name}. Received: {'; '.join(reasons)}.", fix)


def _addresses(package: Package) -> Iterator[str]:
    """Where to look. `$KERAS_EFFVIT_DEBIAN_MIRROR` and `$PIP_INDEX_URL` go first, as mirrors behind firewalls do."""
    mirror = os.environ.get("KERAS_EFFVIT_DEBIAN_MIRROR") or DEBIAN
    index = os.environ.get("PIP_INDEX_URL")
    if package.name.endswith(".whl") and index:
        with suppress(OSError, ValueError, HTTPException):
            yield _link(f"{index.rstrip('/')}/ai-edge-litert/", package.name)
    for url in package.urls:
        yield url.format(debian=mirror.rstrip("/"))


def _link(page: str, name: str) -> str:
    """The link to a file in a package index's list."""
    with _open(page) as answer:
        text = answer.read(1 << 24).decode("utf-8", "replace")
    found = re.search(rf'href="([^"#]*{re.escape(name)})[#"]', text)
    if found is None:
        raise ValueError(f"no {name} in {page}")
    return urllib.parse.urljoin(page, found.group(1))


def _fetch(url: str, package: Package, progress: Progress | None) -> bytes:
    content = bytearray()
    with _open(url) as answer:
        while chunk := answer.read(_CHUNK):
            content += chunk
            if len(content) > package.bytes:
                raise ValueError(f"more than the {package.bytes} bytes expected")
            if progress is not None:
                progress(package.name, len(content), package.bytes)
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise ValueError(f"{len(content)} bytes with another SHA-256 than expected")
    return bytes(content)


def _open(url: str) -> IO[bytes]:
    # Not `urlopen`: it looks for proxies when it is first called in a process, and never again.
    return urllib.request.build_opener().open(url, timeout=_SECONDS)
