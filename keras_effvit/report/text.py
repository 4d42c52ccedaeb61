"""Numbers and foreign names as short text, the same in a terminal, in Markdown, in a picture and on the page."""

import html
import re
from typing import Any

#: For what is not known.
NOTHING = "-"


def plain(value: object, longest: int = 200) -> str:
    r"""A name from a file as one line that cannot harm: no control characters, no turning of directions.

    Args:
        value: anything.
        longest: characters to keep.

    Example:
        >>> plain("a\x1b[31m\nb")
        'a�[31m b'
    """
    text = str(value)[: 4 * longest]
    text = "".join(each if each.isprintable() else " " if each in "\n\t" else "\ufffd" for each in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def escape(value: object, longest: int = 200) -> str:
    """The same for HTML and SVG, in text and in quoted attributes.

    Args:
        value: anything.
        longest: characters to keep.
    """
    return html.escape(plain(value, longest))


def cell(value: object) -> str:
    """The same for a cell of a Markdown table.

    Args:
        value: anything.
    """
    return re.sub(r"([\\`*\[\]<>|~&$]|(?<!\w)_|_(?!\w))", r"\\\1", plain(value))


def milliseconds(value: float | None) -> str:
    """Three or four digits: "0.532", "12.34", "701".

    Args:
        value: in milliseconds.
    """
    if value is None:
        return NOTHING
    return f"{value:.{3 if value < 1 else 2 if value < 100 else 1 if value < 1000 else 0}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as "99.5 %".

    Args:
        value: 1 is all.
        digits: behind the point.
    """
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def megabytes(value: int | None) -> str:
    """Bytes as "4.31".

    Args:
        value: in bytes.
    """
    if value is None:
        return NOTHING
    return f"{value / 1e6:.{3 if value < 1e5 else 2 if value < 1e8 else 0}f}"


def count(value: float | None) -> str:
    """A large number as "568 M" or "3.66 M".

    Args:
        value: of parameters, or of multiply-accumulates.
    """
    if value is None:
        return NOTHING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.{2 if value < 9.995 * size else 1 if value < 99.95 * size else 0}f} {unit}"
    return f"{value:g}"


def factor(value: float | None) -> str:
    """A ratio as "0.48x".

    Args:
        value: of two times.
    """
    return NOTHING if value is None else f"{value:.{2 if value < 10 else 0}f}x"


def fact(value: Any, longest: int = 200) -> str:
    """A value of JSON as text, lists and objects included.

    Args:
        value: of the JSON.
        longest: characters to keep.
    """
    if isinstance(value, dict):
        return plain(", ".join(f"{name} {fact(each, 60)}" for name, each in list(value.items())[:20]), longest)
    if isinstance(value, list | tuple):
        between = "; " if any(isinstance(each, dict | list) for each in value) else ", "
        return plain(between.join(fact(each, 60) for each in value[:20]) + (", …" if len(value) > 20 else ""), longest)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NOTHING}[value]
    return plain(f"{value:.6g}" if isinstance(value, float) else value, longest)
