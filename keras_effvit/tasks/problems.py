"""What is wrong with annotations: every bad one is named, and nothing disappears without a word."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_effvit.tasks.samples import Problem

#: Of the problems, how many a warning names.
NAMED = 5


class AnnotationError(ValueError):
    """Annotations that cannot be read at all, or of which nothing can be used."""


@dataclass
class Ledger:
    """The problems of a data set, in the order in which they were found.

    Attributes:
        source: the file or folder that they are of.
        problems: so far.

    Example:
        >>> ledger = Ledger("instances.json")
        >>> ledger.skip("annotation 7", "Expected a box with an area. Received: [3, 4, 0, 9]")
    """

    source: str
    problems: list[Problem] = field(default_factory=list)

    def skip(self, what: str, reason: object) -> None:
        """Notes what is left out.

        Args:
            what: an image or an annotation.
            reason: what is wrong with it.
        """
        self.problems.append(Problem(f"{self.source}: {what}", str(reason)))

    def clip(self, what: str, reason: object) -> None:
        """Notes what is kept in part.

        Args:
            what: an annotation.
            reason: what is wrong with it.
        """
        self.problems.append(Problem(f"{self.source}: {what}", str(reason), "clipped"))

    def close(self) -> tuple[Problem, ...]:
        """All of them, and a warning with their number and the first few."""
        if self.problems:
            counts = {action: sum(each.action == action for each in self.problems) for action in ("skipped", "clipped")}
            said = ", ".join(f"{count} {action}" for action, count in counts.items() if count)
            named = [f"{each.where}: {each.reason}" for each in self.problems[:NAMED]]
            more = [f"and {len(self.problems) - NAMED} more"] if len(self.problems) > NAMED else []
            warnings.warn("\n  ".join([f"Annotations and images {said}:", *named, *more]), stacklevel=3)
        return tuple(self.problems)


def read_image(path: Path, mode: str | None = "RGB") -> np.ndarray:
    """An image file's pixels.

    Args:
        path: of the file.
        mode: what PIL converts it to; nothing leaves it as it is.

    Raises:
        ValueError: if it is missing or damaged.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"Expected an image. Received: {path}: {error}") from error
