"""Tables in Markdown, as the README has them."""

from collections.abc import Iterable, Sequence


def table_of(lines: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        lines: cells; titles, the columns' alignments, and the rows.
    """
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
