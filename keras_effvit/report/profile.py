"""Where the time of an inference goes: a bar for every kind of operator."""

from collections.abc import Sequence

from keras_effvit.report import text
from keras_effvit.report.records import Operator
from keras_effvit.report.svg import box, picture, words

#: Kinds that get a bar, and the least share of the time that one is for; the rest share a last one.
MOST, LEAST = 10, 0.005
WIDTH, LINE, TOP = 360, 31, 4


def bars(profile: Sequence[Operator], *, most: int = MOST) -> str:
    """The bars, the longest first; what XNNPACK does not run is red.

    Args:
        profile: of a series.
        most: kinds to show.

    Returns:
        SVG for the page, or nothing without a profile.
    """
    longest_first = sorted(profile, key=lambda operator: -operator.microseconds)
    total = sum(max(operator.microseconds, 0.0) for operator in profile)
    if total <= 0:
        return ""
    worth = sum(operator.microseconds >= LEAST * total for operator in profile)
    shown, rest = longest_first[: min(most, worth)], longest_first[min(most, worth) :]
    if rest:
        more = sum(each.microseconds for each in rest)
        shown = [*shown, Operator(f"{len(rest)} other kinds", "other", sum(each.calls for each in rest), more)]
    scale = WIDTH / max(each.microseconds for each in shown)
    lines = [_bar(each, TOP + LINE * number, scale, total) for number, each in enumerate(shown)]
    label = f"Time by kind of operator; most goes to {longest_first[0].name}"
    return picture("".join(lines), WIDTH, TOP + LINE * len(shown), label)


def outside_share(profile: Sequence[Operator]) -> float | None:
    """The share of an inference's time that passes outside of XNNPACK; `None` without a profile.

    Args:
        profile: of a series.
    """
    total = sum(each.microseconds for each in profile)
    return sum(each.microseconds for each in profile if each.place == "builtin") / total if total > 0 else None


def _bar(operator: Operator, top: float, scale: float, total: float) -> str:
    share = text.percent(operator.microseconds / total)
    numbers = f"{text.milliseconds(operator.microseconds / 1000)} ms · {share}"
    name = text.plain(operator.name, 36)
    title = f"{operator.name} ({operator.place}): {operator.calls} calls, {operator.microseconds:.0f} µs, {share}"
    fill = {"builtin": "outside", "other": "other"}.get(operator.place, "inside")
    return (
        words(0, top + 12, name, style="name")
        + words(WIDTH, top + 12, numbers, style="note", anchor="end")
        + box(0, top + 17, max(operator.microseconds * scale, 1), 7, fill=fill, radius=2, title=title)
    )
