"""A progress bar on stderr, with the time that is left."""

from types import TracebackType
from typing import Self


class Bar:
    """Shows how many turns are done, what comes next, and how long the rest takes.

    Args:
        hidden: whether to show nothing but warnings, as programs want that read the output.
    """

    def __init__(self, *, hidden: bool = False):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            disable=hidden,
            transient=True,
        )
        self._task = self._bar.add_task("getting ready", total=None)

    def __enter__(self) -> Self:
        """Shows the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        self._bar.stop()

    def update(self, done: int, total: int, text: str) -> None:
        """Moves the bar.

        Args:
            done: turns.
            total: turns.
            text: what comes next.
        """
        self._bar.update(self._task, completed=done, total=total, description=text)

    def warn(self, text: str) -> None:
        """Prints a warning above the bar.

        Args:
            text: of the warning.
        """
        self._console.print(f"warning: {text}", style="yellow", markup=False, highlight=False)
