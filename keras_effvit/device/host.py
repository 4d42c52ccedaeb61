"""This machine as a device: the same program as on a phone, or Python's interpreter where it does not run.

Each turn is a process of its own, as on a phone: what one file left behind in memory is not the next one's.
"""

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_effvit.device.answering import AnsweringEngine
from keras_effvit.device.engine import Engine, Plan
from keras_effvit.device.errors import FileMissing, NotExecutable, TimedOut
from keras_effvit.device.events import Answers
from keras_effvit.report.records import Operator

BINARIES = Path(__file__).parent / "binaries"
#: Seconds that a program gets beyond its own deadline, after which it is killed.
_GRACE = 15.0


class _Host(AnsweringEngine):
    """What the engines on this machine share: both programs take and say the same."""

    name = ""

    def __init__(self, command: Sequence[str]):
        self._command = list(command)
        self._files: dict[str, Path] = {}

    def prepare(self, files: Mapping[str, Path]) -> None:
        """Looks whether the files are there.

        Args:
            files: by the names that the other methods take.

        Raises:
            FileMissing: if one is not.
        """
        for path in files.values():
            if not Path(path).is_file():
                raise FileMissing(f"Expected a .tflite file. Received: {path}, which is none.")
        self._files |= {name: Path(path).resolve() for name, path in files.items()}

    def outputs(self, file: str, inputs: Sequence[bytes]) -> list[bytes]:
        """What a file calculates.

        Args:
            file: its name.
            inputs: the raw content of the input tensors, in the file's order.

        Raises:
            DeviceError: if the inputs do not fit, or the file does not run.
        """
        with tempfile.TemporaryDirectory(prefix="keras_effvit_") as folder:
            for position, content in enumerate(inputs):
                (Path(folder) / f"input_{position}.bin").write_bytes(content)
            words = [f"--input_dir={folder}", f"--output_dir={folder}"]
            answers = self.answers(file, words, len(inputs))
            return [(Path(folder) / f"output_{position}.bin").read_bytes() for position in range(len(answers.outputs))]

    def close(self) -> None:
        """Nothing is left over: every process ends with its turn."""

    def run(self, file: str, words: Sequence[str], plan: Plan, number: int = 0) -> Answers:
        """Runs the program to its proven end.

        Args:
            file: its name.
            words: the program's options.
            plan: how long it may take.
            number: of the round, for an error's `partial_round`.

        Raises:
            DeviceError: if it does not end well.
        """
        command = [*self._command, f"--graph={self._files[file]}", *words]
        with tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, close_fds=True
                )
            except OSError as error:
                raise NotExecutable(f"Expected {command[0]} to start. Received: {error}.", _FIX) from error
            stdout, late = _watch(process, plan.deadline_seconds + _GRACE)
            stderr.seek(0)
            said = stderr.read().decode("utf-8", "replace")
        answers = Answers.of(stdout.decode("utf-8", "replace").splitlines())
        if late:
            error = TimedOut(f"Expected {file} to end within {plan.deadline_seconds:.0f} s. Received: no end.")
            error.partial_round = answers.round(number)
            raise error
        code = process.returncode
        answers.check(128 - code if code < 0 else code, said, number=number)
        return answers


class HostRunner(_Host):
    """The runner in C, on Linux: latencies without Python around them, and profiles.

    Raises:
        DeviceError: where it does not fit the machine, or LiteRT's library is missing.

    Example:
        >>> engine = HostRunner()
        >>> engine.prepare({"model": Path("model.tflite")})
        >>> engine.measure("model", Plan(threads=2), 0).median_ms
    """

    name = "runner"

    def __init__(self) -> None:
        binary = BINARIES / f"runner-{_machine()}"
        if sys.platform != "linux" or not binary.exists() or platform.libc_ver()[0] != "glibc":
            received = f"{platform.system()} on {platform.machine()}"
            raise NotExecutable(f"Expected Linux with glibc on x86_64 or aarch64. Received: {received}.", _FIX)
        if not os.access(binary, os.X_OK):
            raise NotExecutable(f"Expected {binary} to be executable. Received: a file that is not.", _FIX)
        super().__init__([str(binary), f"--lib={litert_folder() / 'libLiteRt.so'}"])


class HostInterpreter(_Host):
    """Python's interpreter of LiteRT, on every system; it tells no profile.

    Example:
        >>> engine = HostInterpreter()
        >>> engine.prepare({"model": Path("model.tflite")})
        >>> engine.measure("model", Plan(), 0).median_ms
    """

    name = "interpreter"

    def __init__(self) -> None:
        litert_folder()
        # By its path and isolated (-P) from the modules around it: importing the package would take TensorFlow along.
        super().__init__([sys.executable, "-P", str(Path(__file__).with_name("interpreter_child.py"))])

    def profile(self, file: str, plan: Plan, runs: int = 20) -> tuple[Operator, ...]:
        """Nothing: the interpreter has no profiler in Python.

        Args:
            file: ignored.
            plan: ignored.
            runs: ignored.
        """
        return ()


def host_engine() -> Engine:
    """The better engine that this machine can run.

    Raises:
        DeviceError: if there is none, because LiteRT is not installed.

    Example:
        >>> host_engine().name
        'runner'
    """
    try:
        return HostRunner()
    except NotExecutable:
        return HostInterpreter()


def litert_folder() -> Path:
    """Where the package ai-edge-litert is installed.

    Raises:
        FileMissing: if it is not.
    """
    found = importlib.util.find_spec("ai_edge_litert")
    if found is None or not found.submodule_search_locations:
        raise FileMissing("Expected the package ai-edge-litert. Received: none.", "Run `pip install ai-edge-litert`.")
    return Path(found.submodule_search_locations[0])


_FIX = "Use the engine `interpreter` on this machine."


def _machine() -> str:
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())


def _watch(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bool]:
    """What it printed, and whether it had to be killed because its time was over."""
    try:
        return process.communicate(timeout=seconds)[0], False
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0], True
    finally:  # also when somebody pressed Ctrl-C
        if process.poll() is None:
            process.kill()
            process.wait()
