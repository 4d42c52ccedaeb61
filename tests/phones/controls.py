"""What a test may do to a phone and see of it, from behind adb's back."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.phones.link import Link

FILLER = "data/misc/filler"


class Controls:
    """Answers a test's requests on the side of the phone.

    Args:
        root: of the phone's files.
        link: its cable.
        ours: whether a process, by its number, is one that the phone's user started.
    """

    def __init__(self, root: Path, link: Link, ours: Callable[[int], bool]):
        self._root, self._link, self._ours = root, link, ours

    def handle(self, action: str, *arguments: Any) -> Any:
        """Does it; the answer can be written as JSON."""
        if action.startswith("_") or action == "handle":
            raise ValueError(f"unknown action: {action}")
        return getattr(self if hasattr(self, action) else self._link, action)(*arguments)

    def files(self, folder: str) -> dict[str, int]:
        """Sizes of all files below a folder, by their paths on the phone."""
        found = {}
        for path, _, names in os.walk(self._local(folder)):
            for each in (Path(path, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    found["/" + str(each.relative_to(self._root))] = each.lstat().st_size
        found.pop(f"/{FILLER}", None)
        return found

    def read(self, path: str) -> str:
        """The text of a file."""
        return self._local(path).read_text(errors="replace")

    def write(self, path: str, text: str) -> None:
        """Gives a file another text, also one that the phone's user may not write."""
        local = self._local(path)
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text(text)

    def processes(self) -> dict[int, list[str]]:
        """The words of every process that the phone's user started and that lives, by their numbers."""
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if self._ours(int(name)):
                    words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")[:-1]
                    if words:
                        found[int(name)] = [word.decode(errors="replace") for word in words]
        return found

    def kill(self, number: int) -> None:
        """Kills a process, as a phone that is short of memory does."""
        os.kill(number, signal.SIGKILL)

    def fill(self, leave: int) -> None:
        """Fills /data so that so many bytes are left."""
        filler = self._root / FILLER
        filler.parent.mkdir(parents=True, exist_ok=True)
        filler.unlink(missing_ok=True)
        space = os.statvfs(filler.parent)
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, space.f_bavail * space.f_frsize - leave))

    def empty(self) -> None:
        """Takes back what `fill` filled."""
        (self._root / FILLER).unlink(missing_ok=True)

    def _local(self, path: str) -> Path:
        return self._root / path.lstrip("/")
