"""The repository as a reader finds it: files, links, pins, sizes, and nothing of the machine that it was written on."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pneumonia import __version__
from pneumonia.config import ROOT

PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64"))
STEPS = (
    *("download", "catalog", "train", "evaluate", "attribute", "ablation", "figures", "report"),
    *("robustness", "masking", "learning-curve", "pareto", "three-class"),
    *("export", "predict", "notebook"),
)
TARGETS = {"run", "download", "retrain", "report", "app", "test", "bench", "bench-quick"}
TARGETS |= {"lint", "format", "slides", "clean", "help"}
NOT_IMPORTED = {"tensorflow", "tensorflow-cpu", "jupyterlab", "ipykernel"}  # Keras' backend; what opens the notebook
NOT_IMPORTED |= {"tf2onnx", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"}  # Keras and pydicom import them
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


def test_command_line_names_the_steps():
    command = [sys.executable, "-m", "pneumonia", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tuple(re.findall(r"^ {4}([a-z-]+)\b", text, re.MULTILINE)) == STEPS
    assert "--simulated" in text


def read_requirements(path: str) -> list[Requirement]:
    lines = [line.split(" #")[0].strip() for line in read(path).splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def select_pins(path: str, python: str, system: str, machine: str) -> dict[str, str]:
    """{distribution: version} that pip would take from a requirements file there; exact pins only, one each."""
    where = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    where |= {"platform_machine": machine, "os_name": "nt" if system == "win32" else "posix"}
    chosen = [item for item in read_requirements(path) if not item.marker or item.marker.evaluate(where)]
    assert all(re.fullmatch(r"==[\w.]+", str(item.specifier)) for item in chosen)
    pins = {canonicalize_name(item.name): str(item.specifier) for item in chosen}
    assert len(pins) == len(chosen), "two versions of one distribution"
    return pins


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), SYSTEMS)
def test_prediction_has_the_pins_of_the_lock(python, system, machine):
    locked = select_pins("requirements.lock", python, system, machine)
    assert select_pins("requirements-predict.txt", python, system, machine).items() <= locked.items()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), SYSTEMS)
def test_page_needs_no_other_versions_than_the_lock(python, system, machine):
    locked = select_pins("requirements.lock", python, system, machine)
    page = select_pins("requirements-app.txt", python, system, machine)
    assert "gradio" in page and {name for name in page if page[name] != locked.get(name, page[name])} == set()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), SYSTEMS)
def test_lock_holds_every_pin(python, system, machine):
    direct = select_pins("requirements.txt", python, system, machine)
    assert len({"tensorflow", "tensorflow-cpu"} & set(direct)) == 1
    assert direct.items() <= select_pins("requirements.lock", python, system, machine).items()


def test_requirements_name_no_index():
    for path in (
        *("requirements.txt", "requirements.lock", "requirements-dev.txt"),
        *("requirements-predict.txt", "requirements-app.txt", "requirements-cluster.txt"),
    ):
        assert re.findall(r"^(?:--|-i|-f).*|\S+://\S+", read(path), re.MULTILINE) == []


def find_imports() -> set[str]:
    """Top-level names that the package and the notebooks import, without the standard library and ourselves."""
    sources = [read(path) for path in FILES if path.endswith(".py") and not path.startswith("tests/")]
    for path in (path for path in FILES if path.endswith(".ipynb")):
        cells = [cell for cell in json.loads(read(path))["cells"] if cell["cell_type"] == "code"]
        sources += [re.sub(r"^[%!].*", "", "".join(cell["source"]), flags=re.MULTILINE) for cell in cells]
    names = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"pneumonia", "bench"}


def test_requirements_are_what_is_imported():
    providers = packages_distributions()
    imported = {name: set(map(canonicalize_name, providers.get(name, ()))) for name in find_imports()}
    pinned = {canonicalize_name(item.name) for item in read_requirements("requirements.txt")}
    page = {canonicalize_name(item.name) for item in read_requirements("requirements-app.txt")}
    optional = page | {item.name for item in read_requirements("requirements-cluster.txt")}
    missing = {name for name, candidates in imported.items() if not candidates & (pinned | optional)} - optional
    assert missing == set(), "imported, not pinned"
    assert pinned - set().union(*imported.values()) - NOT_IMPORTED == set(), "pinned, not imported"


def test_workflow_calls_ci_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    job = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python"] == list(PYTHONS)
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
