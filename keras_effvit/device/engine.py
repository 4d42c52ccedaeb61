"""What everything that can run a `.tflite` file offers the benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keras_effvit.report.records import Operator, Round


@dataclass(frozen=True)
class Plan:
    """How one turn of one file is measured.

    Args:
        threads: of XNNPACK.
        warm_ups: inferences before the clock counts, at the least.
        warm_up_seconds: of these, at the least.
        runs: timed inferences, at the least.
        seconds: of these, at the least.
        longest_seconds: after which no further inference starts.
        cpu_mask: the processors to keep to, as hexadecimal digits; any when `None`.
    """

    threads: int = 1
    warm_ups: int = 5
    warm_up_seconds: float = 0.5
    runs: int = 50
    seconds: float = 1.0
    longest_seconds: float = 60.0
    cpu_mask: str | None = None

    @property
    def deadline_seconds(self) -> float:
        """After which a turn is stuck: loading, warming up and running cannot take so long."""
        return 2 * self.longest_seconds + self.warm_up_seconds + 60


class Engine(Protocol):
    """A way to run files on a device. Its methods raise `DeviceError`s."""

    @property
    def name(self) -> str:
        """For the record: "runner", "benchmark_model" or "interpreter"."""
        ...

    @property
    def settings(self) -> Mapping[str, str]:
        """What the record should say besides, such as which build of a program that has no version."""
        ...

    def prepare(self, files: Mapping[str, Path]) -> None:
        """Brings itself and the files to the device, as far as they are not there yet.

        Args:
            files: by the names that the other methods take.
        """
        ...

    def measure(self, file: str, plan: Plan, number: int) -> Round:
        """One turn of one file, in a process of its own.

        Args:
            file: its name.
            plan: how.
            number: of the round, for the record.
        """
        ...

    def profile(self, file: str, plan: Plan, runs: int = 20) -> tuple[Operator, ...]:
        """Where the time of an inference goes, the longest first.

        Args:
            file: its name.
            plan: how; only threads and the CPU mask matter.
            runs: over which the runtime's whole microseconds are averaged.
        """
        ...

    def outputs(self, file: str, inputs: Sequence[bytes]) -> list[bytes]:
        """What a file calculates.

        Args:
            file: its name.
            inputs: the raw content of the input tensors, in the file's order.
        """
        ...

    def close(self) -> None:
        """Stops what it started and removes what it left on the device, the cache of unchanged files apart."""
        ...
