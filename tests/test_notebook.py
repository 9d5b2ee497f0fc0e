"""The narrative notebook: its shape, what is committed of it, and that it runs on a machine without radiographs."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import nbformat
import pandas as pd
import papermill
import pytest
import seaborn as sns
from matplotlib import pyplot as plt
from PIL import Image

from pneumonia.config import CLAIMED_ACCURACY, ROOT
from pneumonia.report.figures.gallery import FIGURES, can_be_drawn
from pneumonia.report.figures.strips import STRIPS
from pneumonia.report.notebook import NOTEBOOK, clean, keep_alike
from pneumonia.report.pages import Filler
from pneumonia.report.story import Story, save_figure, use_notebook_style
from pneumonia.series import real_run, simulated_run
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


@pytest.mark.parametrize("forbidden", [r"^\s*class ", r"^\s*[!%]", r"sys\.path"])
def test_code_that_nobody_needs_to_see_lives_in_the_package(code_cells, forbidden):
    found = [cell.source for cell in code_cells if re.search(forbidden, cell.source, re.MULTILINE)]
    assert not found


def test_it_can_be_read_in_one_sitting(code_cells):
    assert len(code_cells) <= 45
    pictures = [output for cell in code_cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert 10 <= len(pictures) <= 14


def test_one_cell_is_tagged_parameters(code_cells):
    tagged = [cell.source for cell in code_cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert re.findall(r"^(\w+) =", tagged[0], re.M) == ["RUN", "EPOCHS", "TRAIN"]


def test_no_result_is_typed_into_prose(notebook):
    for cell in notebook.cells:
        prose = cell.source if cell.cell_type == "markdown" else "".join(re.findall(r'"""(.*?)"""', cell.source, re.S))
        typed = re.findall(r"\d+\.\d+|\d+ ?%", DEFINITIONS.sub("", re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", prose)))
        assert not typed, f"numbers typed into: {prose[:80]}"


def test_networks_that_are_not_of_the_series_are_not_scored_on_the_test_set(code_cells):
    """Every scoring of new weights would be a look at the test split, by every reader."""
    scored = [
        call
        for cell in code_cells
        for call in re.findall(r"\b(?:basic|network)\.(?:predict|evaluate)\(([^,)]*)", cell.source)
    ]
    assert scored and all("validation" in films for films in scored)


def test_committed_outputs_come_from_one_fresh_run(code_cells):
    assert [cell.execution_count for cell in code_cells] == list(range(1, len(code_cells) + 1))
    outputs = [output for cell in code_cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]


def test_committed_outputs_are_those_of_the_committed_results(code_cells, results):
    filler = Filler(results)
    for cell in code_cells:
        for name in re.findall(r'story\.report_table\("([\w.]+)"\)', cell.source):
            assert filler.fill(f"{{{{ table.{name} }}}}") == cell.outputs[-1]["data"]["text/markdown"], "run `make run`"
        for stem in list_shown([cell]):
            shown = base64.b64decode(cell.outputs[-1]["data"]["image/png"])
            assert shown == (ROOT / "images" / f"{stem}.png").read_bytes(), f"{stem}: run `make run`"
    final = results.final_model
    answer = next(cell for cell in code_cells if "accuracy with a {recall} recall**" in cell.source)
    text = answer.outputs[-1]["data"]["text/markdown"]
    for metric in ("accuracy", "sensitivity", "specificity"):
        assert str(results.estimate(final, "test", metric)) in text, "run `make run`"


def test_the_scores_computed_in_the_notebook_are_those_that_are_reported(code_cells, results):
    cell = next(cell for cell in code_cells if cell.source.startswith("def score(config)"))
    lines = cell.outputs[-1]["data"]["text/plain"].splitlines()[1:]
    for config, line in zip(results.cnns, lines, strict=True):
        assert line.startswith(config.title)
        metrics = ("accuracy", "sensitivity", "specificity", "roc_auc")
        reported = [float(results.estimate(config.name, "test", metric)) for metric in metrics]
        shown = [float(number) for number in line.removeprefix(config.title).split()]
        assert shown == pytest.approx(reported, abs=0.00051), "run `make run`"


def test_committed_notebook_is_small_and_names_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text.encode()) < 4_000_000
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


def picture(pixels: int, level: int = 6) -> str:
    buffer = io.BytesIO()
    Image.new("L", (64, 64), pixels).save(buffer, format="PNG", compress_level=level)
    return base64.b64encode(buffer.getvalue()).decode()


def make_cell(source: str, *tags: str, **data: str):
    output = nbformat.v4.new_output("execute_result", data)
    return nbformat.v4.new_code_cell(
        source, id=source, outputs=[output], metadata={"tags": [tag for tag in tags if tag]}
    )


def run_twice(tag: str, before: str, after: str, edited: str = "a") -> str:
    """The output of a cell of a second run, whose code may have been edited, after `keep_alike`."""
    empty = nbformat.v4.new_notebook()
    old, new = (
        nbformat.v4.new_notebook(cells=[make_cell(source, tag, **{"text/plain": text})])
        for source, text in (("a", before), (edited, after))
    )
    new.cells[0].id = "a"
    keep_alike(old, empty)
    keep_alike(new, old)
    return new.cells[0].outputs[0].data["text/plain"]


@pytest.mark.parametrize(
    ("tag", "before", "after", "kept"),
    [
        ("scores", "accuracy 0.9331", "accuracy 0.9330", True),
        ("scores", "accuracy 0.933", "accuracy 0.935", False),
        ("scores", "accuracy 93.3%", "accuracy 93.5%", False),
        ("scores", "accuracy 0.933", "recall 0.933", False),
        ("scores", "accuracy 0.933", "accuracy 0.933 0.9", False),
        ("trains", "loss 0.31", "loss 0.25", True),
        ("trains", "loss 0.31", "loss 0.61", False),
        ("", "accuracy 0.9331", "accuracy 0.9330", False),
    ],
)
def test_a_run_on_another_processor_rewrites_no_output_that_says_the_same(tag, before, after, kept):
    assert run_twice(tag, before, after) == (before if kept else after)


@pytest.mark.parametrize("tag", ["scores", "trains"])
def test_the_output_of_other_code_is_new(tag):
    assert run_twice(tag, "accuracy 0.9331", "accuracy 0.9330", edited="b") == "accuracy 0.9330"


def test_a_picture_is_rewritten_only_when_its_pixels_change():
    old, repacked, other = (
        nbformat.v4.new_notebook(cells=[make_cell("a", **{"image/png": made})])
        for made in (picture(100), picture(100, level=0), picture(101))
    )
    for new, kept in ((repacked, True), (other, False)):
        before = new.cells[0].outputs[0].data["image/png"]
        assert before != old.cells[0].outputs[0].data["image/png"]
        keep_alike(new, old)
        assert (new.cells[0].outputs[0].data["image/png"] != before) == kept


def test_the_comparison_is_drawn_from_the_committed_results(code_cells, results, tmp_path):
    """The cells that draw it, run on their own, give the committed picture."""
    run = replace(results.run, home=tmp_path)
    names = {"results": results, "run": run, "story": Story(results), "final": results.final_model}
    names |= {"titles": {config.name: config.title for config in results.cnns}, "pd": pd, "plt": plt, "sns": sns}
    names |= {"save_figure": save_figure, "CLAIMED_ACCURACY": CLAIMED_ACCURACY}
    names["accuracy"], names["recall"] = (
        results.estimate(names["final"], "test", m) for m in ("accuracy", "sensitivity")
    )
    asserting = next(cell.source for cell in code_cells if cell.source.startswith("# Are these the numbers"))
    drawing = next(cell.source for cell in code_cells if "save_figure(fig, run" in cell.source)
    with mpl.rc_context():
        mpl.rcdefaults()
        use_notebook_style()
        exec(re.search(r"^metrics = .*$", asserting, re.M).group() + "\n" + drawing, names)
        plt.close("all")
    drawn, committed = (Image.open(folder / "images" / "Comparison.png").convert("RGB") for folder in (tmp_path, ROOT))
    assert drawn.tobytes() == committed.tobytes(), "run `make run`"


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
    assert executed.cells[0].source.startswith("# SIMULATED")  # all that follows is read under it
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    drawn = {stem for stem in FIGURES if can_be_drawn(load_results(simulated_run(None)), stem)} | {
        "Comparison",
        *STRIPS,
    }
    assert {path.stem for path in (home / "images").glob("*.png")} == drawn
    assert (home / "presentation.pdf").read_bytes().startswith(b"%PDF")
