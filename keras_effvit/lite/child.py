"""A child process that looks at files which may crash whoever opens them."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("probe.py")
#: No model of ours takes longer to open and run once.
PATIENCE_S = 120.0


class LiteError(ValueError):
    """A `.tflite` file that cannot be read, or a model that cannot become one."""


class Child:
    """Answers what is in files, one after the other; when one takes the process down, the next gets a new one.

    Example:
        >>> with Child() as child:
        ...     child.look(Path("model.tflite").read_bytes())["partitions"]
        1
    """

    def __init__(self):
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def look(self, content: bytes, *, threads: int = 1, invoke: bool = False, patience: float = PATIENCE_S) -> dict:
        """What `probe.look` finds in a file.

        Args:
            content: the file.
            threads: of XNNPACK.
            invoke: whether to run the file once.
            patience: seconds to wait.

        Raises:
            LiteError: if the file is damaged, newer than the runtime, or takes the process down.
        """
        request = {"bytes": len(content), "threads": threads, "invoke": invoke}
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n" + content)
            process.stdin.flush()
            line = self._line(process, patience)
        except BrokenPipeError:
            line = b""
        if not line:
            code = self._stop()
            raise LiteError(f"Expected a .tflite file. Received: one that takes the runtime down ({_reason(code)})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LiteError(f"Expected a .tflite file that this runtime can run. Received: {answer['error']}")
        return answer

    def _line(self, process: subprocess.Popen, patience: float) -> bytes:
        """The next line, or nothing when it does not come in time."""
        assert process.stdout is not None
        lines: list[bytes] = []
        pipe = process.stdout
        reader = threading.Thread(target=lambda: lines.append(pipe.readline()), daemon=True)
        reader.start()
        reader.join(patience)
        if reader.is_alive():
            process.kill()  # which ends the line, too
            reader.join()
            return b""
        return lines[0]

    def _running(self) -> subprocess.Popen:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(PROBE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        return self._process

    def _stop(self) -> int:
        """Ends the process; returns its exit status, 0 where it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return 0


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else "no answer" if code == 0 else f"exit status {code}"
