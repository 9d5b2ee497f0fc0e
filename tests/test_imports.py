"""The folders of the package: imports lead downwards only, and what reads results needs neither Keras nor TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import chain
from pathlib import Path

from pneumonia.config import ROOT

FLOORS = (  # from the ground up: a room may import what is below it, and its own modules
    {"config"},
    {"records", "series", "ray_cluster"},
    {"evaluation", "transforms"},
    {"data", "style"},
    {"results"},
    {"inference"},
    {"models"},
    {"studies"},
    {"report", "pipeline"},
    {"__main__"},
    {"bench"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
OPEN = {"__init__"}  # the package itself offers a few names lazily, from every floor
WITHOUT_KERAS = ("results", "records", "evaluation", "inference", "transforms")


def find_modules() -> list[Path]:
    return sorted(chain((ROOT / "pneumonia").rglob("*.py"), (ROOT / "bench").rglob("*.py")))


def name_room(path: Path) -> str:
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return first if first == "bench" else rest[0]


def find_imports(path: Path) -> set[str]:
    """The rooms that a module imports from, also inside of functions."""
    package, found = path.relative_to(ROOT).parts[:-1], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found |= {(*base, alias.name) for alias in node.names}
    rooms = {parts[1] for parts in found if parts[0] == "pneumonia" and len(parts) > 1}
    return {room for room in rooms if room in FLOOR} | ({"bench"} if any(p[0] == "bench" for p in found) else set())


def test_imports_lead_downwards():
    upwards = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in find_modules()
        if (room := name_room(path)) not in OPEN
        for other in find_imports(path) - {room}
        if FLOOR[other] >= FLOOR[room]  # a room that is not in FLOORS is an error
    ]
    assert not upwards, "a room may import only what stands before it in FLOORS"


def test_results_are_read_without_keras():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in find_modules()
        if name_room(path) in WITHOUT_KERAS and path.stem != "__init__"
    ]
    code = "import sys, importlib; sys.modules.update(keras=None, tensorflow=None)\n"
    code += "for name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, check=True)
