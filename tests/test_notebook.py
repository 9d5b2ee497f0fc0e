"""The narrative notebook: its shape, what is committed of it, and that it runs on a machine without radiographs."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys

import nbformat
import papermill
import pytest

from pneumonia.config import ROOT
from pneumonia.report.figures.gallery import FIGURES, can_be_drawn
from pneumonia.report.notebook import NOTEBOOK, clean
from pneumonia.report.pages import Filler
from pneumonia.series import real_run
from pneumonia.studies import load_results

HOMES_OF_REAL_RUN = (
    *("results", "images", "models", "docs", "README.md", "presentation.pdf"),
    "final_notebook.ipynb",
)
MACHINE_PATH = re.compile(r"/(?:home|root|work|tmp|Users|mnt)/")
DEFINITIONS = re.compile(
    r"CC BY 4\.0|0\.5\b|95 % interval|91 % accuracy|98 % of|coverage of 99 %"
)  # no run could change them


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def results():
    return load_results(real_run(None))


@pytest.mark.parametrize("forbidden", [r"^\s*class ", r"^\s*[!%]", r"\.savefig\(", r"sys\.path"])
def test_code_lives_in_the_package(code_cells, forbidden):
    found = [cell.source for cell in code_cells if re.search(forbidden, cell.source, re.MULTILINE)]
    assert not found


def test_one_cell_is_tagged_parameters(code_cells):
    tagged = [cell.source for cell in code_cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0].startswith('RUN = "auto"')


def test_no_result_is_typed_into_prose(notebook):
    for cell in notebook.cells:
        prose = cell.source if cell.cell_type == "markdown" else "".join(re.findall(r'"""(.*?)"""', cell.source, re.S))
        typed = re.findall(r"\d+\.\d+|\d+ ?%", DEFINITIONS.sub("", re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", prose)))
        assert not typed, f"numbers typed into: {prose[:80]}"


def test_every_figure_is_shown_once_between_question_and_finding(code_cells, results):
    assert sorted(list_shown(code_cells)) == sorted(stem for stem in FIGURES if can_be_drawn(results, stem))


def test_the_first_cells_give_the_answer(notebook):
    sources = [cell.source for cell in notebook.cells]
    answer = next(index for index, source in enumerate(sources) if "final.test.sensitivity }} recall" in source)
    assert answer <= 10


def test_committed_outputs_come_from_one_fresh_run(code_cells):
    assert [cell.execution_count for cell in code_cells] == list(range(1, len(code_cells) + 1))
    outputs = [output for cell in code_cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == len(list_shown(code_cells))


def test_committed_outputs_are_those_of_the_committed_results(code_cells, results):
    filler = Filler(results)
    for cell in code_cells:
        for text in re.findall(r'"""(.*?)"""\)', cell.source, re.S):
            assert filler.fill(text) == cell.outputs[-1]["data"]["text/markdown"], "run `make run`"
        pictures = [o["data"]["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
        for stem, picture in zip(list_shown([cell]), pictures, strict=True):
            shown = base64.b64decode(picture)
            assert shown == (ROOT / "images" / f"{stem}.png").read_bytes(), f"{stem}: run `make run`"


def test_committed_notebook_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 3_000_000
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not MACHINE_PATH.search(without_pictures)
    assert "SIMULATED" not in without_pictures


def test_clean_takes_out_timings_and_standard_error():
    noisy = nbformat.v4.new_code_cell(
        "1",
        outputs=[
            nbformat.v4.new_output("stream", name="stderr", text="warning"),
            nbformat.v4.new_output("stream", name="stdout", text="kept"),
        ],
        metadata={"papermill": {"duration": 1.0}, "execution": {}, "tags": ["parameters"]},
    )
    notebook = clean(nbformat.v4.new_notebook(cells=[noisy], metadata={"papermill": {}}))
    assert [output["text"] for output in notebook.cells[0].outputs] == ["kept"]
    assert dict(notebook.cells[0].metadata) == {"tags": ["parameters"]}
    assert "papermill" not in notebook.metadata


def list_shown(code_cells) -> list[str]:
    """The stems of the figures that cells show, in order."""
    return re.findall(r'story\.figure\("(\w+)"', "\n".join(cell.source for cell in code_cells))


def test_explorations_run(clean_tree, tmp_path, monkeypatch):
    """One after the other in one kernel, which forgets its names in between: TensorFlow starts once."""
    monkeypatch.setenv("CHEST_XRAY_DIR", str(clean_tree))
    before, story = hash_tree(), nbformat.v4.new_notebook()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        assert notebook.cells[-1].cell_type == "markdown"  # ends in the sentence that went into the main notebook
        story.metadata = notebook.metadata
        story.cells += [*notebook.cells, nbformat.v4.new_code_cell("%reset -f")]
    source = tmp_path / "explorations.ipynb"
    nbformat.write(story, source)
    papermill.execute_notebook(
        str(source), str(tmp_path / "executed.ipynb"), cwd=str(ROOT), kernel_name="python3", progress_bar=False
    )
    assert hash_tree() == before


def hash_tree():
    files = [
        f
        for name in HOMES_OF_REAL_RUN
        for f in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
    ]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def test_simulated_run_runs_the_whole_notebook_and_changes_no_committed_file():
    before = hash_tree()
    command = [sys.executable, "-m", "pneumonia", "--simulated", "notebook"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert hash_tree() == before

    home = ROOT / "build" / "simulated"
    executed = nbformat.read(home / "final_notebook.ipynb", as_version=4)
    assert executed.cells[0].source.startswith("# SIMULATED")
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    prose = [output["data"]["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]
    assert prose and all("SIMULATED" in text for text in prose)
    tables = [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert tables and all("SIMULATED" in text for text in tables if "<table" in text)
    story = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert {path.stem for path in (home / "images").glob("*.png")} == set(list_shown(story))
    assert (home / "presentation.pdf").read_bytes().startswith(b"%PDF")
