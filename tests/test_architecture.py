"""The house rules that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_effvit"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
#: What each part may import of the package: itself, and the parts named here.
MAY_IMPORT = {
    "layers": set(),
    "preprocessing": set(),
    "atomic": set(),
    "samples": set(),
    "models": {"layers", "preprocessing"},
    "weights": {"models", "layers", "atomic"},
    "lite": {"layers", "preprocessing", "atomic"},
    "training": {"layers", "models", "lite", "preprocessing", "atomic", "samples", "weights"},
    "tasks": {"layers", "models", "weights", "training", "lite", "preprocessing", "atomic", "samples"},
    "explain": {"lite", "models", "layers", "preprocessing", "atomic", "samples"},
    "device": {"report", "atomic"},  # of the reports, their records
    "report": {"lite", "atomic"},
    "cli": {
        *("models", "weights", "training", "lite", "explain", "device", "report"),
        *("preprocessing", "samples", "layers", "atomic"),
    },
}
LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 40, 12

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "relative imports hide where things come from"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@every_file
def test_imports_point_one_way(path):
    if part(path) == "__init__":
        return
    allowed = MAY_IMPORT[part(path)] | {part(path)}
    used = {name.split(".")[1] for name in imports(TREES[path]) if name.startswith("keras_effvit.")}
    assert used <= allowed


@every_file
def test_devices_need_no_library_but_python(path):
    """A phone can be measured from wherever `adb` runs; what only some ways need is imported where they need it."""
    if part(path) != "device":
        return
    top: list[ast.stmt] = [node for node in TREES[path].body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = set(imports(ast.Module(top, [])))
    assert not {
        n for n in names if n.startswith("keras_effvit.report") and "records" not in n and n != "keras_effvit.report"
    }
    assert {n.split(".")[0] for n in names} <= sys.stdlib_module_names | {"keras_effvit"}


@every_file
def test_layers_know_no_backend_and_nothing_knows_the_workbench(path):
    roots = {name.split(".")[0] for name in imports(TREES[path])}
    assert "tflite" not in roots
    if part(path) == "layers":
        assert not roots & {"tensorflow", "torch", "jax"}


@every_file
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@every_file
def test_functions_are_short_and_take_few_arguments(path):
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        assert lines <= LONGEST_FUNCTION, node.name
        arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        assert len([a for a in arguments if a.arg != "self"]) <= MOST_PARAMETERS, node.name


IMPORT = """
import os, sys
import keras
before, brought = dict(os.environ), set(sys.modules)  # Keras brings matplotlib where it is installed
import keras_effvit
assert dict(os.environ) == before, set(os.environ) ^ set(before)
heavy = {"tensorflow_model_optimization", "tf_keras", "tf_keras_vis", "matplotlib"}
heavy |= {"ai_edge_litert", "ai_edge_quantizer"}
new = set(sys.modules) - brought
assert not heavy & new, heavy & new
"""


@every_file
def test_what_draws_is_imported_when_it_draws(path):
    """Keras imports these itself, so that looking at what is loaded would not show it."""
    top: list[ast.stmt] = [node for node in TREES[path].body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not {name.split(".")[0] for name in imports(ast.Module(top, []))} & {"matplotlib", "rich"}


def test_importing_is_light_and_leaves_the_environment_alone():
    subprocess.run([sys.executable, "-c", IMPORT], check=True, cwd=ROOT)


def test_the_project_stands_alone():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    outside = "../" + "shared"
    for name in listing.stdout.split("\n"):
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".yml", ""}:
            assert outside not in path.read_text(errors="ignore"), name


def test_no_folder_of_ours_hides_a_package_from_pypi():
    """PyPI has a package called tflite; our folder of that name must not be importable."""
    assert not (ROOT / "tflite" / "__init__.py").exists()
