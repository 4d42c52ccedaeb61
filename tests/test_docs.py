"""What the documentation says is there: commands that the parser takes, names that exist, links, figures, snippets.

Building the site is for `make docs`; this reads its sources.
"""

import ast
import glob
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pytest

import keras_effvit
from keras_effvit.cli import _parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "reference"
PARTS = ("layers", "weights", "training", "tasks", "explain", "lite", "device")
#: What the blocks of a page take for given.
KNOWN = {name: importlib.import_module(f"keras_effvit.{name}") for name in (*PARTS, "report", "preprocessing")}
KNOWN |= {"keras_effvit": keras_effvit}
#: Code that keeps to Python and shell between its fences, or is indented as a block.
FENCE = re.compile(
    r"^(?P<mark><!-- run -->\n)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    """Code on a page."""

    language: str
    code: str
    line: int
    runs: bool


def blocks(text: str) -> list[Block]:
    return [
        Block(found["language"], found["code"], text[: found.start()].count("\n") + 1, bool(found["mark"]))
        for found in FENCE.finditer(text)
    ]


def commands(text: str) -> Iterator[str]:
    """What is to be typed after the program's name, from shell blocks, fenced or indented."""
    lines = [
        line for block in blocks(text) if block.language in ("sh", "bash", "shell") for line in block.code.split("\n")
    ]
    lines += re.findall(r"^    (keras-effvit .*)$", FENCE.sub("", text), re.MULTILINE)
    for line in lines:
        if line.startswith("keras-effvit "):
            yield line.removeprefix("keras-effvit ")


def undefined(tree: ast.AST) -> list[str]:
    """Dotted names that begin at the package or a part of it, and lead to nothing."""
    return [
        dotted
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)) and not _leads_somewhere(dotted)
    ]


def _dotted(node: ast.expr) -> str | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in KNOWN:
        return None
    return ".".join([node.id, *reversed(names)])


def _leads_somewhere(dotted: str) -> bool:
    """Whether a name is an attribute, or in a module that a function of the same name hides, or a module itself."""
    first, *names = dotted.split(".")
    found, path = KNOWN[first], KNOWN[first].__name__
    for name in names:
        try:
            found = getattr(found, name, None) or getattr(importlib.import_module(path), name, None)
            found = found or importlib.import_module(f"{path}.{name}")
        except ImportError:
            return False
        path += f".{name}"
    return True


def missing_imports(tree: ast.AST) -> list[str]:
    """What is imported from the package, and is not there."""
    wanted = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_effvit")
        for alias in node.names
    ]
    return [name for name in wanted if not _leads_somewhere(name)]


def dead_links(path: Path, text: str) -> list[str]:
    """Relative links and pictures that lead nowhere, and headings that are not there."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text)):
        place, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        file = (path.parent / place) if place else path
        if not file.exists() or (anchor and file.suffix == ".md" and not _has_anchor(file.read_text(), anchor)):
            dead.append(target)
    return dead


def _has_anchor(text: str, anchor: str) -> bool:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    return anchor in slugs or f"::: {anchor}" in text


@every_page
def test_python_blocks_are_python_and_name_what_exists(path):
    for block in blocks(path.read_text()):
        if block.language == "python":
            tree = ast.parse(block.code, f"{path.name}:{block.line}")
            assert not undefined(tree), f"{path.name}:{block.line}"
            assert not missing_imports(tree), f"{path.name}:{block.line}"


@every_page
def test_the_program_takes_every_command(path, capsys):
    for line in commands(path.read_text()):
        try:
            _parser().parse_args(shlex.split(line, comments=True))
        except SystemExit:
            pytest.fail(f"keras-effvit {line}\n{capsys.readouterr().err}")


@every_page
def test_links_lead_somewhere(path):
    assert not dead_links(path, path.read_text())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```python\nkeras_effvit.lite.konvert(model)\n```", ["keras_effvit.lite.konvert"]),
        ("```python\nx = lite.inspect(file).outside\n```", []),
        ("```python\nfrom keras_effvit.lite import konvert\n```", ["keras_effvit.lite.konvert"]),
        ("```python\nreport.biuld('artifacts')\nrun.anything.at_all\n```", ["report.biuld"]),
    ],
)
def test_a_wrong_name_is_seen(text, wrong):
    tree = ast.parse(blocks(text)[0].code)
    assert undefined(tree) + missing_imports(tree) == wrong


@pytest.mark.parametrize("line", ["convert lvt", "konvert lvt -o a.tflite", "bench a.tflite --round-s 3"])
def test_a_wrong_command_is_seen(line):
    (found,) = commands(f"```sh\nkeras-effvit {line}  # it says\n```")
    with pytest.raises(SystemExit):
        _parser().parse_args(shlex.split(found, comments=True))


def test_a_dead_link_is_seen():
    text = "[a](nowhere.md) [b](README.md#weights) [c](README.md#wheights) [d](https://example.org/x) ![e](gone.svg)"
    assert dead_links(ROOT / "README.md", text) == ["nowhere.md", "README.md#wheights", "gone.svg"]


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("part", PARTS)
def test_the_reference_has_every_public_name(part):
    page = (REFERENCE / f"{part}.md").read_text()
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    assert shown == set(KNOWN[part].__all__), f"docs/reference/{part}.md and __all__ have different names"


def test_the_reference_has_every_public_name_of_the_package():
    shown = {
        name for page in REFERENCE.glob("*.md") for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    }
    last = {name.rpartition(".")[2] for name in shown}
    constructors = {name for name in keras_effvit.__all__ if hasattr(getattr(keras_effvit, name), "__signature__")}
    assert len(constructors) == len(keras_effvit.list_models())  # the page lists what the registry has
    assert set(keras_effvit.__all__) - set(KNOWN) - constructors <= last
    assert set(keras_effvit.report._PLACES) <= last
    assert not [name for name in shown if not _leads_somewhere(name)]


def runnable() -> list[Any]:
    return [
        pytest.param(block.code, id=f"{path.stem}:{block.line}")
        for path in PAGES
        for block in blocks(path.read_text())
        if block.runs
    ]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of untrained models, whose answers say nothing
@pytest.mark.parametrize("code", runnable())
def test_snippets_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})


def test_there_are_snippets_that_run():
    marks = [text.count("<!-- run -->") for text in (path.read_text() for path in PAGES)]
    assert len(runnable()) == sum(marks) >= 7  # a mark that stands before no code would run nothing
    assert glob.glob(str(ROOT / "docs" / "**" / "*.md"), recursive=True)
