"""What engines share whose program says in lines of JSON what it measured: here and on a phone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from keras_effvit.device.engine import Plan
from keras_effvit.device.errors import RunFailed
from keras_effvit.device.events import Answers, arguments
from keras_effvit.report.records import Operator, Round


class AnsweringEngine(ABC):
    """An engine, but for where the program runs."""

    @property
    def settings(self) -> dict[str, str]:
        """Nothing that the record would not say anyway."""
        return {}

    @abstractmethod
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

    def measure(self, file: str, plan: Plan, number: int) -> Round:
        """One turn of one file, in a process of its own.

        Args:
            file: its name.
            plan: how.
            number: of the round, for the record.

        Raises:
            DeviceError: with what was measured until then as its `partial_round`.
        """
        answers = self.run(file, arguments(plan), plan, number)
        measured = answers.round(number)
        if measured is None or not answers.timed:
            raise RunFailed("Expected latencies. Received: none.")
        return measured

    def profile(self, file: str, plan: Plan, runs: int = 20) -> tuple[Operator, ...]:
        """Where the time of an inference goes, the longest first.

        Args:
            file: its name.
            plan: how; only threads and the CPU mask matter.
            runs: over which the runtime's whole microseconds are averaged.

        Raises:
            DeviceError: if the file does not run.
        """
        return self.run(file, arguments(plan, profile=runs, timed=False), plan).operators

    def answers(self, file: str, words: Sequence[str], given: int) -> Answers:
        """Of a program that reads its inputs from files and writes its outputs to others.

        Args:
            file: its name.
            words: where those files are.
            given: how many inputs there are.

        Raises:
            DeviceError: if that is not how many the file has, or it does not run.
        """
        plan = Plan()
        found = self.run(file, [*arguments(plan, timed=False), *words], plan)
        if given != len(found.inputs):
            raise RunFailed(f"Expected {len(found.inputs)} inputs. Received: {given}.")
        return found
