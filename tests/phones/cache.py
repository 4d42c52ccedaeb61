"""What the phones are made of is fetched and put together once, for all workers and all runs of the suite."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: `KERAS_EFFVIT_PHONES` lets several checkouts share one.
FOLDER = Path(os.environ.get("KERAS_EFFVIT_PHONES") or Path(__file__).parents[2] / ".cache" / "phones")
#: So long a failure is believed before it is tried again: every worker would otherwise wait for the network anew.
PATIENCE = 300.0


class UnavailableError(RuntimeError):
    """Something cannot be had on this machine; the message is the reason."""


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time."""
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        lock = open(FOLDER / f"{name}.lock", "w")  # noqa: SIM115
    except OSError as error:
        raise UnavailableError(f"the cache cannot be written: {error}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forget_failures() -> None:
    """Tries anew what failed: something may have been done about it."""
    for each in FOLDER.glob("*.failed"):
        each.unlink(missing_ok=True)


def made(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache, made if it is not there.

    Args:
        name: for people.
        recipe: all that decides what is in it; a changed recipe makes a new folder.
        make: fills an empty folder.

    Returns:
        The folder, complete: it appears under its name when `make` is through.

    Raises:
        UnavailableError: if `make` raises it, now or a few minutes ago.
    """
    folder = FOLDER / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    failure = folder.with_suffix(".failed")
    with locked(name):
        if folder.is_dir():
            return folder
        if failure.exists() and time.time() - failure.stat().st_mtime < PATIENCE:
            raise UnavailableError(failure.read_text())
        temporary = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=".part", dir=FOLDER))
        try:
            make(temporary)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except UnavailableError as reason:
            failure.write_text(str(reason))
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
