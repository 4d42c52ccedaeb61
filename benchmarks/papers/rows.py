"""What a row of a paper's table is: how it is counted here, and the figures the paper prints."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Paper = Literal["sepvit", "lvt", "lightvit", "efficientvit"]
MILLION, BILLION = 10**6, 10**9


@dataclass(frozen=True)
class Counts:
    """Parameters, and multiply-accumulates of one image."""

    params: int
    macs: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.params + other.params, self.macs + other.macs)

    def __mul__(self, times: int) -> "Counts":
        return Counts(self.params * times, self.macs * times)


@dataclass(frozen=True)
class Printed:
    """Figures as the paper prints them, because their digits tell how it rounds; empty where it is not known here.

    Attributes:
        params: in millions.
        macs: in billions; the papers call them FLOPs.
        top1: on ImageNet, in percent.
    """

    params: str = ""
    macs: str = ""
    top1: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        label: what the paper calls it, as far as that is known here.
        count: counts it; may take seconds, for it builds the model.
        printed: the paper's figures.
        known: parameters and MACs to the last digit, by the authors' code or, without one, by the reading of the paper
            that the package follows; `None` for what was never counted.
        as_paper: what the paper's own way of counting makes of the counts, where it is another.
        note: why a printed figure is not met, or what else must be said.
    """

    label: str
    count: Callable[[], Counts]
    printed: Printed = Printed()
    known: tuple[int | None, int | None] = (None, None)
    as_paper: Callable[[Counts], Counts] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper.

    Attributes:
        paper: of which it is.
        number: as the paper counts its tables, `"8-9"` for one of them or both; empty where it is not known here.
        title: what it shows.
        rows: those of which something is known here.
        convention: how the paper counts, where it is not parameters that are used and MACs that are done.
        unknown: what of the table is not known here.
    """

    paper: Paper
    number: str
    title: str
    rows: tuple[Row, ...] = ()
    convention: str = ""
    unknown: str = ""

    @property
    def heading(self) -> str:
        """The table's name: the paper, the number and the title."""
        number = f"table {self.number}" if self.number else "a table whose number is not known here"
        return f"{self.paper}, {number}: {self.title}"

    def is_one_of(self, numbers: set[int]) -> bool:
        """Whether the table's number, or one that it may have, is among those."""
        ends = [int(end) for end in self.number.split("-") if end]
        return bool(ends) and any(ends[0] <= number <= ends[-1] for number in numbers)


def meets(exact: int, printed: str, unit: int) -> bool:
    """Whether a count rounds to a printed figure.

    Args:
        exact: the count.
        printed: the figure, with all the digits that are printed.
        unit: what it is printed in, `MILLION` or `BILLION`.

    Example:
        >>> meets(31_182_856, "31.2", MILLION), meets(82_377_064, "82.3", MILLION)
        (True, False)
    """
    digits = len(printed.partition(".")[2])
    # In whole numbers, because 0.05 is none in binary.
    figure = int(printed.replace(".", "")) * unit
    return abs(exact * 10**digits - figure) * 2 <= unit
