"""How the page looks: light and dark, on a desk, in a hand and on paper."""

from pathlib import Path

from keras_effvit.report.svg import PALETTE

#: The same hues on a dark ground, light enough to be seen.
DARK_PALETTE = ("#4aa8e8", "#f28a3c", "#2fc49a", "#e39cc4", "#f0b93a", "#8fd0f5", "#b18ad0", "#a3abb6")

_LIGHT = "--bg:#f4f6f8;--card:#fefefe;--ink:#1c2127;--muted:#5a6572;--grid:#dfe4ea;--outside:#c8102e;--bar:#0072b224;"
_DARK = "--bg:#0f1216;--card:#181c22;--ink:#e8ebef;--muted:#9aa5b1;--grid:#2c333c;--outside:#ff5a6e;--bar:#4aa8e833;"
_LIGHT += "--bad:#fdecee;--warn:#fff6e0;--note:#edf4fa;--warn-ink:#8a5a00;"
_DARK += "--bad:#3a161c;--warn:#33280f;--note:#16242f;--warn-ink:#f0b93a;"


def _colours(palette: tuple[str, ...]) -> str:
    return "".join(f"--c{number}:{colour};" for number, colour in enumerate(palette))


def css() -> str:
    """The page's style sheet."""
    return (
        f":root{{color-scheme:light dark;{_LIGHT}{_colours(PALETTE)}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{_DARK}{_colours(DARK_PALETTE)}}}}}\n"
        + Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    )
