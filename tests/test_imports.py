"""The parts of the package: imports lead downwards only, and results are read without Keras and TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import chain
from pathlib import Path

from pneumonia.config import ROOT

LAYERS = (  # from the bottom up: a part of the package may import what is below it, and its own modules
    {"config", "interrupts"},
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
LAYER = {part: height for height, layer in enumerate(LAYERS) for part in layer}
OPEN = {"__init__"}  # the package itself offers a few names lazily, from every layer
WITHOUT_KERAS = ("results", "records", "evaluation", "inference", "transforms")


def find_modules() -> list[Path]:
    return sorted(chain((ROOT / "pneumonia").rglob("*.py"), (ROOT / "bench").rglob("*.py")))


def name_part(path: Path) -> str:
    first, *rest = path.relative_to(ROOT).with_suffix("").parts
    return first if first == "bench" else rest[0]


def find_imports(path: Path) -> set[str]:
    """The parts that a module imports from, also inside of functions."""
    package, found = path.relative_to(ROOT).parts[:-1], set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found |= {(*base, alias.name) for alias in node.names}
    parts = {parts[1] for parts in found if parts[0] == "pneumonia" and len(parts) > 1}
    return {part for part in parts if part in LAYER} | ({"bench"} if any(p[0] == "bench" for p in found) else set())


def test_imports_lead_downwards():
    upwards = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in find_modules()
        if (part := name_part(path)) not in OPEN
        for other in find_imports(path) - {part}
        if LAYER[other] >= LAYER[part]  # a part that is not in LAYERS is an error
    ]
    assert not upwards, "a part may import only what stands before it in LAYERS"


def test_results_are_read_without_keras():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in find_modules()
        if name_part(path) in WITHOUT_KERAS and path.stem != "__init__"
    ]
    code = "import sys, importlib; sys.modules.update(keras=None, tensorflow=None)\n"
    code += "for name in sys.argv[1:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, check=True)
