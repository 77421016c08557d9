"""The plan of the house: imports go from a floor to the floors below it, never up, and never in a circle."""

import ast
import graphlib
import re

import pytest

from mixit_lightning.config import ROOT, recipe_names

SOURCE = ROOT / "src" / "mixit_lightning"

FLOORS = [
    {"errors"},
    {"files", "progress", "memory"},
    {"reading", "interrupts", "pool"},
    {"run", "records", "jobs"},
    {"config"},
    {"processes"},
    {"audio", "objectives", "separators"},
    {"metrics", "rooms"},
    {"data"},
    {"collection", "corpora", "report"},
    {"streaming", "training"},
    {"inference", "sweeps", "tables"},
    {"player"},
    {"cli"},
]
"""Folders and files of the package, from the ground up."""

LEVELS = {room: level for level, floor in enumerate(FLOORS) for room in floor}


def imports():
    """Every import inside the package: importing file, line, room of it, room that is imported."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).parts
        room = parts[0] if len(parts) > 1 else path.stem
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = list(parts[: len(parts) - node.level])
                names = [node.module.split(".")] if node.module else [[alias.name] for alias in node.names]
                for name in names:
                    yield path, node.lineno, room, [*base, *name][0]


def test_every_room_has_a_floor():
    rooms = {path.stem for path in SOURCE.glob("*.py")} | {path.name for path in SOURCE.iterdir() if path.is_dir()}
    assert rooms - {"__init__", "__pycache__"} == set(LEVELS)


def test_imports_go_down():
    up = [
        f"{path.relative_to(SOURCE)}:{line} {room} -> {other}"
        for path, line, room, other in imports()
        if room != other and room != "__init__" and LEVELS[other] >= LEVELS[room]
    ]
    assert not up


def test_files_do_not_import_each_other_in_a_circle():
    """Late imports included; what a package's `__init__.py` hands on counts as its own."""
    graph = {}
    for path in SOURCE.rglob("*.py"):
        imported = graph.setdefault(path, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                for module in [base, *(base / alias.name for alias in node.names)]:
                    imported |= {file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file()}
        imported -= {path, path.parent / "__init__.py"}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # or CycleError, with the files


@pytest.mark.parametrize("recipe", recipe_names())
def test_no_recipe_imports_another_and_the_package_none(recipe):
    others = {path.stem for path in ROOT.glob("recipes/*/*.py")}
    own = {path.stem for path in (ROOT / "recipes" / recipe).glob("*.py")}
    files = {path: others - own for path in (ROOT / "recipes" / recipe).glob("*.py")}
    files |= {path: own for path in SOURCE.rglob("*.py")}
    for path, forbidden in files.items():
        found = set(re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert not found & forbidden, path
