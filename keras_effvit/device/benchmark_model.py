"""The official `benchmark_model` as an engine: for phones that refuse our runner, and for a second opinion."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_effvit.device.benchmark_output import Parsed, operators, parse
from keras_effvit.device.deposit import FOLDER, GRACE, check_files, sha256, sums
from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import FileMissing, RunFailed
from keras_effvit.device.phone import Phone
from keras_effvit.device.shell import command
from keras_effvit.report.records import Operator, Round

__all__ = ["FOLDER", "Parsed", "PhoneBenchmarkModel", "operators", "parse"]


class PhoneBenchmarkModel:
    """The tool on a phone, one process for every turn.

    It tells no single latencies, but what became of all of a turn: a round of this engine holds one latency, the
    turn's median, or its average where the build is from before 2024. The median of rounds is then what it is for other
    engines, while a 90th percentile is one of turns. `settings` says so in the record.

    Args:
        phone: the phone.
        binary: the tool, built for the phone's processor; either of the two of that name.
        folder: on the phone, where programs may run; everything in it is ours.

    Raises:
        FileMissing: if there is no such program here.

    Example:
        >>> engine = PhoneBenchmarkModel(Adb().phone(), Path("android_aarch64_benchmark_model"))
        >>> engine.prepare({"model": Path("model.tflite")})
        >>> engine.measure("model", Plan(threads=4), 0).median_ms
        12.1
    """

    name = "benchmark_model"

    def __init__(self, phone: Phone, binary: str | Path, folder: str = FOLDER):
        self.phone, self.folder, self._binary = phone, folder.rstrip("/"), Path(binary)
        if not self._binary.is_file():
            message = f"Expected the program benchmark_model. Received: {self._binary}, which is no file."
            raise FileMissing(message, "Download the build for Android and name its path.")
        self._sha256 = sha256(self._binary)
        # Beside another version of itself, it is not confused with it.
        self._program = f"benchmark_model-{self._sha256[:16]}"
        self._names: dict[str, str] = {}

    @property
    def settings(self) -> dict[str, str]:
        """What the record should say: builds have no version, and the latencies are not single ones."""
        return {
            "benchmark_model_sha256": self._sha256,
            "latencies": "one a round: the median that benchmark_model tells, or its average if it tells no median",
        }

    def prepare(self, files: Mapping[str, Path]) -> None:
        """Brings the tool and the files to the phone, as far as they are not there yet.

        Args:
            files: by the names that the other methods take.

        Raises:
            DeviceError: if a file is missing, or the phone has no space for it.
        """
        wanted = {self._program: (self._binary, self._sha256)}
        check_files(files)
        for name, path in files.items():
            digest = sha256(Path(path))
            # No name of a user's reaches the phone's shell, and the same content goes there once.
            self._names[name] = f"{digest}.tflite"
            wanted[self._names[name]] = (Path(path), digest)
        there = self._hashes(wanted)
        for remote, (path, digest) in wanted.items():
            if there.get(remote) != digest:
                self.phone.push(path, f"{self.folder}/{remote}", executable=remote == self._program)

    def measure(self, file: str, plan: Plan, number: int) -> Round:
        """One turn of one file, in a process of its own.

        Args:
            file: its name.
            plan: how.
            number: of the round, for the record.

        Raises:
            DeviceError: if it did not run to its end; `partial` holds what the tool printed.
        """
        found = parse(*self._run(file, _options(plan), plan))
        return Round(
            number=number,
            latencies_ms=(found.runs.typical / 1000,),
            load_ms=found.init_us / 1000,
            first_ms=found.warm_up.first / 1000,
            warm_ups=found.warm_up.count,
            peak_memory_kb=found.memory_kb,
        )

    def profile(self, file: str, plan: Plan, runs: int = 20) -> tuple[Operator, ...]:
        """Where the time of an inference goes, the longest first.

        Args:
            file: its name.
            plan: how; only threads and the CPU mask matter.
            runs: over which the tool averages.

        Raises:
            DeviceError: if the file does not run, or the tool tells no profile.
        """
        short = Plan(plan.threads, 1, 0.0, runs, 0.0, plan.longest_seconds, plan.cpu_mask)
        options = [*_options(short), "--enable_op_profiling=true"]
        found = parse(*self._run(file, options, short))
        if not found.operators:
            fix = "This benchmark_model cannot profile: get a newer one, or use the engine `runner`."
            raise RunFailed("Expected a profile. Received: none.", fix)
        return found.operators

    def outputs(self, file: str, inputs: Sequence[bytes]) -> list[bytes]:
        """Refuses: the tool measures, and gives nothing out.

        Args:
            file: its name.
            inputs: the raw content of the input tensors.

        Raises:
            RunFailed: always.
        """
        wanted = f"what {file!r} calculates from {len(inputs)} inputs"
        raise RunFailed(
            f"Expected {wanted}. Received: benchmark_model, which only measures.", "Use the engine `runner`."
        )

    def close(self) -> None:
        """Leaves the tool and the files for the next session; a turn that was cut short ended with its connection."""

    def _run(self, file: str, options: Sequence[str], plan: Plan) -> tuple[str, int]:
        """Everything the tool printed, and how it ended. Its own lines and the runtime's come by different ways."""
        pinned = ["taskset", plan.cpu_mask] if plan.cpu_mask else []
        words = command(*pinned, f"./{self._program}", f"--graph={self._names[file]}", *options)
        script = f"cd {command(self.folder)} && exec {words} 2>&1"
        found = self.phone.shell(script, timeout=plan.deadline_seconds + GRACE)
        return f"{found.stdout}\n{found.stderr}", found.returncode

    def _hashes(self, names: Mapping[str, object]) -> dict[str, str]:
        """SHA-256 of what is on the phone, by name; what is not there is missing."""
        script = f"cd {command(self.folder)} 2>/dev/null && {command('sha256sum', *names)} 2>/dev/null"
        return sums(self.phone.shell(script, timeout=120.0).stdout)


def _options(plan: Plan) -> list[str]:
    return [
        f"--num_threads={plan.threads}",
        f"--warmup_runs={plan.warm_ups}",
        f"--warmup_min_secs={plan.warm_up_seconds:g}",
        f"--num_runs={plan.runs}",
        f"--min_secs={plan.seconds:g}",
        f"--max_secs={plan.longest_seconds:g}",
    ]
