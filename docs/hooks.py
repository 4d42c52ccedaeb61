"""For mkdocs: the command line's reference and the models', which only the running package knows, as Markdown.

A page asks for them by a comment: `<!-- commands -->`, `<!-- constructors -->`. `<!-- README models -->` is the part of
the README between the marks of that name, `<!-- CONTRIBUTING Adding a model -->` the section of CONTRIBUTING whose
heading begins so.
"""

import argparse
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[1]
#: The last argument that all constructors have in common.
SHARED = "accept_license"
#: What a browser would fetch from somewhere else.
FETCHED = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//[^>]*>""")
STYLES = re.compile(
    r"""<link\b(?=[^>]*\brel=["']?(?:stylesheet|preconnect|preload))[^>]*href=["']?(?:https?:)?//[^>]*>"""
)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Puts what a comment asks for in its place."""
    for comment, write in WRITERS.items():
        if comment in markdown:
            markdown = markdown.replace(comment, write())
    markdown = re.sub(r"<!-- README (\w+) -->", lambda found: marked(found[1]), markdown)
    return re.sub(r"<!-- CONTRIBUTING ([\w ]+) -->", lambda found: section(found[1]), markdown)


def on_post_page(output: str, page: Any, **kwargs: Any) -> str:
    """Refuses a page that needs a network."""
    if found := [*FETCHED.findall(output), *STYLES.findall(output)]:
        raise PluginError(f"Expected a page that fetches nothing. Received: {page.file.src_uri} with {found[0]}")
    return output


def marked(name: str) -> str:
    """What stands in the README between two marks."""
    _, start, rest = (ROOT / "README.md").read_text().partition(f"<!-- {name} -->\n")
    part, end, _ = rest.partition(f"<!-- /{name} -->")
    if not (start and end):
        raise PluginError(f"Expected marks of the name {name} in README.md. Received: none")
    return part


def section(heading: str) -> str:
    """A section of CONTRIBUTING, without its heading."""
    found = re.search(rf"^## {heading}[^\n]*\n(.*?)(?=^## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    if found is None:
        raise PluginError(f"Expected a section {heading!r} in CONTRIBUTING.md. Received: none")
    return found[1].strip()


def commands() -> str:
    """Every command with its arguments, from the program's own parser."""
    from keras_effvit.cli import _parser

    (choices,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    summaries = {action.dest: action.help for action in choices._choices_actions}
    parts = []
    for name, parser in choices.choices.items():
        usage = re.sub(r"\s+", " ", parser.format_usage().removeprefix("usage: ").replace("[-h] ", "")).strip()
        parts += [f"## {name}", f"{_sentence(summaries[name])}", f"```text\n{_wrapped(usage)}\n```", _arguments(parser)]
    return "\n\n".join(parts)


def _arguments(parser: argparse.ArgumentParser) -> str:
    lines = ["| argument | what it is | default |", "| :-- | :-- | :-- |"]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
        chosen = " or ".join(f"`{choice}`" for choice in action.choices or ())
        text = "; ".join(part for part in ((action.help or "").replace("|", "\\|"), chosen) if part)
        default = "" if action.default in (None, False, [], argparse.SUPPRESS) else f"`{action.default}`"
        lines.append(f"| {names} | {text} | {default} |")
    return "\n".join(lines)


def _wrapped(usage: str, width: int = 80) -> str:
    """A line broken between options, further lines indented."""
    lines = [""]
    for part in re.findall(r"\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]|\([^)]*\)|\S+", usage):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("   ")
        lines[-1] += (" " if lines[-1] else "") + part
    return "\n".join(lines)


def _sentence(text: str | None) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def constructors() -> str:
    """Every constructor: what its paper prints, and the options that only its family has."""
    import keras_effvit
    from keras_effvit.models import registry

    parts = []
    for name in registry.list_models():
        entry = registry._find(name)
        text = inspect.getdoc(getattr(keras_effvit, entry.title)) or ""
        heading, _, _ = text.partition("\n\nArgs:")
        reference = text.partition("Reference:\n")[2].partition("\n\n")[0].strip()
        options = [f"* `{option}`: default `{default!r}`" for option, default in entry.options.items()]
        parts += [f"### {entry.title}", f"`{name}`. {heading}", "\n".join(options), f"Reference: {reference}"]
    return "\n\n".join(parts)


def arguments_of_constructors() -> str:
    """What all constructors take, from the docstring of one."""
    import keras_effvit

    text = inspect.getdoc(keras_effvit.SepViTLite) or ""
    return "\n".join(_items(text.partition("Args:\n")[2], last=SHARED))


def _items(section: str, last: str) -> Iterator[str]:
    """The entries of a docstring's section as a list, up to one of them."""
    for entry in re.split(r"\n(?=    \w)", section.rstrip()):
        name, _, text = entry.strip().partition(":")
        yield f"* `{name}`: " + re.sub(r"\s+", " ", text).strip()
        if name == last:
            return


WRITERS: dict[str, Callable[[], str]] = {
    "<!-- commands -->": commands,
    "<!-- constructors -->": constructors,
    "<!-- arguments of constructors -->": arguments_of_constructors,
}
