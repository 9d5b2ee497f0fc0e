"""The repository: files, links, pinned versions, sizes, and no path of the machine it was written on."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pneumonia import __version__
from pneumonia.config import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64"))
TARGETS = {"run", "download", "retrain", "report", "app", "test", "bench", "bench-quick"}
TARGETS |= {"lint", "format", "slides", "clean", "help"}
NOT_IMPORTED = {"tensorflow", "tensorflow-cpu", "jupyterlab", "ipykernel"}  # Keras' backend; what opens the notebook
NOT_IMPORTED |= {"seaborn"}  # for the reader of the notebook
NOT_IMPORTED |= {"tf2onnx"}  # Keras imports it
RADIOGRAPHS_OR_ARCHIVES = {".jpeg", ".jpg", ".dcm", ".npz", ".npy", ".h5", ".hdf5", ".zip"}
MEGABYTES = 20
# In a notebook a line break is written \n, so that a path may follow the letter n.
MACHINE_PATH = re.compile(r"(?:(?<![\w.~-])|\\n)/(?:home|root|work|Users)/|\.\./shared")


def list_files() -> list[str]:
    """What a commit of everything would hold, as paths with forward slashes."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return sorted(path for path in set(listed.split("\0")) if path and (ROOT / path).is_file())


FILES = list_files()
DOCUMENTS = [
    path for path in FILES if path.endswith((".md", ".typ")) and "/templates/" not in path
]  # the pages instead


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def is_there(path: Path) -> bool:
    """Whether a committed file or a folder of committed files lies at `path`; globs count when something matches."""
    relative = Path(os.path.normpath(path)).relative_to(ROOT).as_posix()
    if "*" in relative:
        return any(Path(file).match(relative) for file in FILES)
    return relative == "." or relative in FILES or any(file.startswith(relative + "/") for file in FILES)


def find_links(path: str) -> list[str]:
    """Targets of links and pictures that stay in the repository (Markdown, HTML in Markdown, Typst)."""
    text = read(path)
    if path.endswith(".typ"):
        return [f"/images/{stem}.png" for stem in re.findall(r'picture\("(\w+)"', text)]
    text = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    found += re.findall(r"(?:src|href)=[\"']([^\"']+)", text)
    return [target for target in found if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def find_anchors(path: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a Markdown file."""
    headings = re.findall(r"^#+\s+(.+?)\s*#*$", read(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", sorted({"README.md", "CONTRIBUTING.md", "data/README.md", *DOCUMENTS}))
def test_links_lead_somewhere(path):
    for target in find_links(path):
        name, _, anchor = unquote(target).partition("#")
        base = ROOT if name.startswith("/") else (ROOT / path).parent
        goal = base / name.lstrip("/") if name else ROOT / path
        assert is_there(goal), target
        if anchor and goal.suffix == ".md":
            assert anchor in find_anchors(goal.relative_to(ROOT).as_posix()), target


def test_make_targets_are_there_and_explained():
    assert set(re.findall(r"^([a-z-]+):(?!=)", read("Makefile"), re.MULTILINE)) == TARGETS
    assert set(re.findall(r"^([a-z-]+):.*  ## \S", read("Makefile"), re.MULTILINE)) == TARGETS
    assert {name for name in TARGETS if f"make {name}" not in read("CONTRIBUTING.md")} == {"help"}


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.endswith(".md")])
def test_documents_name_only_targets_that_exist(path):
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", read(path), re.MULTILINE)) <= TARGETS


def test_licence_and_citation():
    assert read("LICENSE").startswith("MIT License\n\nCopyright (c) 20")
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["license"], citation["version"]) == ("MIT", __version__)
    assert citation["title"] in (ROOT / "pneumonia" / "__init__.py").read_text()
    assert all(reference["doi"] in read("data/README.md") for reference in citation["references"])


def test_no_radiographs_and_no_archives():
    kinds = [path for path in FILES if Path(path).suffix.lower() in RADIOGRAPHS_OR_ARCHIVES]
    kinds = [path for path in kinds if not re.fullmatch(r"models/\w+-seed\d\.npz", path)]  # weights of baselines
    assert [path for path in kinds if not path.startswith("tests/")] == []


def test_no_large_files():
    assert [path for path in FILES if (ROOT / path).stat().st_size > MEGABYTES * 1e6] == []


def test_no_machine_paths():
    found = []
    for path in sorted(set(FILES) - {".ci/run"}):
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            found += [f"{path}: {match.group()}" for match in MACHINE_PATH.finditer(content.decode("utf-8"))]
    assert found == []


@pytest.mark.parametrize("text", ["see /ro" + "ot/x", 'in "/ho' + 'me/me/x"', r"\n/wo" + "rk/x", "file:///ho" + "me/x"])
def test_machine_paths_are_recognised(text):
    assert MACHINE_PATH.search(text)


def test_ignored_and_kept():
    ignored = ["data/chest_xray/train/NORMAL/x.jpeg", "data/.partial/x.zip", "build/cache/x.npy", ".venv/bin/python"]
    ignored += ["models/.part-deep_cnn-seed0.keras", "pneumonia/__pycache__/x.pyc"]
    kept = ["data/README.md", "models/deep_cnn-seed0.keras", "images/x.png", "results/x.csv", "presentation.pdf"]
    command = ["git", "check-ignore", "--no-index", *ignored, *kept]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split() == ignored


PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def read_requirements(path: str) -> list[Requirement]:
    text = re.sub(r"\s*\\\n\s*--hash=\S+", "", read(path))
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def read_dependencies(*extras: str) -> list[Requirement]:
    """The dependencies of the package, and those of these extras."""
    return [Requirement(text) for text in sum((EXTRAS[extra] for extra in extras), PROJECT["dependencies"])]


def select(requirements: list[Requirement], python: str, system: str, machine: str) -> dict[str, Requirement]:
    """{distribution: requirement} that pip would take there."""
    where = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    where |= {"platform_machine": machine, "os_name": "nt" if system == "win32" else "posix"}
    chosen = [item for item in requirements if not item.marker or item.marker.evaluate(where)]
    named = {canonicalize_name(item.name): item for item in chosen}
    assert len(named) == len(chosen), "two requirements for one distribution"
    return named


def select_pins(path: str, *where: str) -> dict[str, str]:
    """{distribution: version} of a requirements file there; exact pins only."""
    chosen = select(read_requirements(path), *where)
    assert all(re.fullmatch(r"==[\w.]+", str(item.specifier)) for item in chosen.values())
    return {name: str(item.specifier).removeprefix("==") for name, item in chosen.items()}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), SYSTEMS)
def test_lock_holds_every_dependency(python, system, machine):
    where = python, system, machine
    locked, direct = select_pins("requirements.lock", *where), select_pins("requirements.txt", *where)
    assert len({"tensorflow", "tensorflow-cpu"} & set(direct)) == 1
    assert direct.items() <= locked.items()
    wanted = select(read_dependencies(*EXTRAS), *where)
    assert {name for name, item in wanted.items() if not item.specifier.contains(locked.get(name, "0"))} == set()


def test_lock_has_hashes_of_everything():
    pins = re.findall(r"^\S+==.*(?:\\\n\s+--hash=sha256:[0-9a-f]{64}\s?)+$", read("requirements.lock"), re.MULTILINE)
    assert len(pins) == len(read_requirements("requirements.lock")) > 100
    assert "uv pip install --quiet -c requirements.lock" in read("Makefile")  # pip would not compare them


def test_notebook_list_is_the_extra_train():
    names = [{canonicalize_name(item.name) for item in read_requirements("requirements.txt")}]
    names.append({canonicalize_name(item.name) for item in read_dependencies("train")})
    assert names[0] == names[1]


def test_requirements_name_no_index():
    for path in ("requirements.txt", "requirements.lock"):
        assert re.findall(r"^(?:--|-i|-f).*|\S+://\S+", read(path), re.MULTILINE) == []


def test_package_supports_the_pythons_that_are_tested():
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(9, 20) if f"3.{minor}.5" in supported] == list(PYTHONS)
    assert version("pediatric-pneumonia") == __version__


def walk_imports(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: not what is imported for type checkers alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from walk_imports(child)


def find_imports(sources: Iterable[str]) -> set[str]:
    """Top-level names that Python sources import, without the standard library and ourselves."""
    names = set()
    for node in (node for source in sources for node in walk_imports(ast.parse(source))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"pneumonia", "bench"}


def read_sources() -> list[str]:
    """The package, the benchmarks, and the code cells of the notebooks."""
    sources = [read(path) for path in FILES if path.endswith(".py") and not path.startswith("tests/")]
    for path in (path for path in FILES if path.endswith(".ipynb")):
        cells = [cell for cell in json.loads(read(path))["cells"] if cell["cell_type"] == "code"]
        sources += [re.sub(r"^[%!].*", "", "".join(cell["source"]), flags=re.MULTILINE) for cell in cells]
    return sources


def test_dependencies_are_what_is_imported():
    providers = packages_distributions() | {"ray": ["ray"], "pyarrow": ["pyarrow"]}  # the cluster is optional
    imported = {name: set(map(canonicalize_name, providers.get(name, ()))) for name in find_imports(read_sources())}
    named = {canonicalize_name(item.name) for item in read_dependencies("train", "app", "cluster")}
    assert {name for name, candidates in imported.items() if not candidates & named} == set(), "not named"
    assert named - set().union(*imported.values()) - NOT_IMPORTED == set(), "named, not imported"


def test_prediction_imports_its_dependencies_alone():
    """Every module that reading a radiograph loads, with what each of them may load later."""
    code = (
        "import sys, pneumonia.__main__, pneumonia.inference.command;"
        "print(*(module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'pneumonia'))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sources = [Path(path).read_text(encoding="utf-8") for path in loaded.split()]
    assert len(sources) > 10
    named = {canonicalize_name(item.name) for item in read_dependencies()}
    providers = packages_distributions()
    assert {name for name in find_imports(sources) if not named & set(map(canonicalize_name, providers[name]))} == set()


def test_workflow_calls_ci_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    job = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python"] == list(PYTHONS)
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
