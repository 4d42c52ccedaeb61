"""A program that may never end: its output as it comes, and its end when time is up."""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

#: Whoever still holds an ended program's output (a server it started) is not waited for longer, in seconds.
_GRACE = 1.0


class Program:
    r"""A running program without input; whatever happens, leaving the `with` ends it and its children.

    Args:
        words: the program and its arguments.
        env: its whole environment.

    Raises:
        OSError: if it does not start.

    Example:
        >>> with Program(["sh", "-c", "echo one; sleep 9"]) as program:
        ...     program.read(timeout=1.0)
        b'one\n'
    """

    def __init__(self, words: Sequence[str], env: Mapping[str, str] | None = None):
        # A session of its own, so that one signal reaches all it started, and a Ctrl-C here none of it.
        self._process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._errors = bytearray()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        # Threads, because Windows cannot wait for a pipe with a time limit.
        self._pumps = [
            _pump(self._process.stdout, self._chunks.put, lambda: self._chunks.put(b"")),
            _pump(self._process.stderr, self._errors.extend, lambda: None),
        ]

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def stderr(self) -> str:
        """What it wrote to its standard error so far."""
        return self._errors.decode("utf-8", "replace")

    def read(self, timeout: float) -> bytes:
        """What comes next on its standard output.

        Args:
            timeout: in seconds.

        Returns:
            One byte or more; none when there will be no more.

        Raises:
            TimeoutError: if nothing came.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            ended = self._process.poll() is not None
            try:
                return self._chunks.get(timeout=min(left, _GRACE))
            except queue.Empty:
                if ended:
                    return b""
        raise TimeoutError

    def wait(self, timeout: float) -> int:
        """Waits for its end and the last of its standard error.

        Args:
            timeout: in seconds.

        Returns:
            Its exit code.

        Raises:
            TimeoutError: if it runs on.
        """
        try:
            code = self._process.wait(max(timeout, 0))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        for pump in self._pumps:
            pump.join(_GRACE)
        return code

    def kill(self) -> None:
        """Ends it and its children at once, if they still run."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                if os.name == "posix":
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.kill()
        self._process.wait()


def _pump(pipe: IO[bytes], take: Callable[[bytes], object], end: Callable[[], None]) -> threading.Thread:
    def work() -> None:
        with pipe, suppress(OSError, ValueError):
            while chunk := os.read(pipe.fileno(), 1 << 16):
                take(chunk)
        end()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
