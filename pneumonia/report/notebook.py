"""Execute the narrative notebook from a fresh kernel, and keep nothing of this machine in it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import papermill

from ..config import ROOT, PneumoniaError, Run
from ..records import lock, save_atomically

NOTEBOOK = ROOT / "final_notebook.ipynb"
SIMULATED_NOTE = (
    "# SIMULATED\n\nThis copy was run on simulated radiographs, because no real ones were at hand. "
    "Its words are written for the real ones; none of its numbers is about children."
)


def execute_notebook(run: Run, source: Path = NOTEBOOK) -> Path:
    """Run every cell in order with a progress bar; where another process does, after it.

    A real run rewrites final_notebook.ipynb in place, once all cells have succeeded; a simulated run writes
    build/simulated/final_notebook.ipynb.

    Returns: the executed notebook.
    Raises: PneumoniaError naming the cell that failed; its traceback is in the partial notebook under build/.
    """
    with lock(run.cache / "notebook.lock"):
        return _execute(run, source)


def _execute(run: Run, source: Path) -> Path:
    target = source if not run.is_simulated else run.home / source.name
    partial = run.cache / f"partial-{source.name}"
    try:
        papermill.execute_notebook(
            str(source),
            str(partial),
            parameters={"RUN": "simulated"} if run.is_simulated else None,
            kernel_name="python3",
            cwd=str(ROOT),
            progress_bar={"desc": source.name},
            request_save_on_cell_execute=True,
        )
    except papermill.PapermillExecutionError as error:
        what = f"{error.ename}: {error.evalue}".splitlines()[0]
        raise PneumoniaError(
            f"{source.name}, cell {error.exec_count}: {what} (as far as it came: {partial})"
        ) from error
    notebook = clean(nbformat.read(partial, as_version=4))
    if run.is_simulated:
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(SIMULATED_NOTE, id="simulated"))
    save_atomically(target, lambda path: nbformat.write(notebook, path))
    partial.unlink()
    return target


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what differs between two runs: timings, paths, progress bars."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook
