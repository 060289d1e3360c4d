"""The plan of the house (docs/DESIGN.md): imports run down only, no circle, torch only where training is."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY

PACKAGE = REPOSITORY / "legalqa"
FLOORS = [
    {"errors"},
    {"files"},
    {"libraries", "runlog", "typed_json"},
    {"cli"},
    {"law"},
    {"data"},
    {"model", "scoring"},
]
FLOORS += [{"training", "report", "chat"}]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
WITH_TORCH = {
    "legalqa.training.trainer",
    "legalqa.training.progress",
    "legalqa.training.pair_trainer",
    "legalqa.model.attention",
    "legalqa.model.fused",
}


@functools.cache
def nodes_of(path):
    """The functions of a file and what it imports by `from`, wherever in it."""
    kept = (ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kept)]


def imported(path):
    """Modules of legalqa that a file imports, wherever in it."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "legalqa":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name.split(".") for name in names)


def test_imports_run_down():
    upward = [
        f"{path.relative_to(REPOSITORY)} imports {'.'.join(parts)}"
        for path in PACKAGE.rglob("*.py")
        for parts in imported(path)
        if FLOOR_OF[parts[1]] > FLOOR_OF[path.relative_to(PACKAGE).with_suffix("").parts[0]]
    ]
    assert not upward


def test_law_stands_on_its_own():
    seen = {parts[1] for path in (PACKAGE / "law").glob("*.py") for parts in imported(path)}
    assert seen <= {"law", "errors", "files"}


def test_no_circle_and_no_torch():
    """Every module alone, in one fresh process: a circle fails, and torch must not come along."""
    modules = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
    light = sorted(set(modules) - WITH_TORCH)
    code = (
        f"import importlib, sys\nfor name in {light}:\n    importlib.import_module(name)\n"
        "print({'torch', 'transformers', 'trl', 'unsloth'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_every_file_is_in_the_plan():
    """docs/DESIGN.md names each file in the row of its room, and none that is not there."""
    text = (REPOSITORY / "docs" / "DESIGN.md").read_text("utf-8").partition("## Where is what")[2]
    rows = re.findall(r"^\| (?:`(\w+)/`.*?|for all) \| (.*) \|$", text.partition("\n## ")[0], re.M)
    named = {(room, name) for room, files in rows for name in re.findall(r"`(\w+)`", files)}
    there = {
        (path.parent.name if path.parent != PACKAGE else "", path.stem)
        for path in PACKAGE.rglob("*.py")
        if path.stem != "__init__"
    }
    assert named == there


def test_functions_are_short():
    """No function over 60 lines but a stage's `main`."""
    files = [*PACKAGE.rglob("*.py"), *Path(REPOSITORY).glob("*.py")]
    long = [
        f"{path.name}:{node.name} {node.end_lineno - node.lineno + 1} lines"
        for path in files
        for node in nodes_of(path)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name != "main"
        and node.end_lineno - node.lineno >= 60
    ]
    assert not long
