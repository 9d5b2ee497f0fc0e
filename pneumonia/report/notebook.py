"""Execute the narrative notebook from a fresh kernel, and keep nothing of this machine in it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
from PIL import Image

from ..config import ROOT, PneumoniaError, Run, short_hash
from ..records import lock, save_atomically

NOTEBOOK = ROOT / "final_notebook.ipynb"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
# By the tag of a cell: how far a number, as it is written, may be from that of another processor.
NOISE = {
    "trains": lambda number: 0.1 * max(1.0, float(number)),
    "scores": lambda number: 1.01 * 10.0 ** -len(number.partition(".")[2]),  # one unit of its last digit
}
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
    else:
        keep_alike(notebook, nbformat.read(source, as_version=4))
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


def keep_alike(notebook: nbformat.NotebookNode, before: nbformat.NotebookNode) -> None:
    """Put back the outputs of `before` that another machine would have written too, so that a re-run changes nothing.

    Those are pictures with the same pixels (another build of zlib packs them into other bytes), and in cells tagged
    "trains" or "scores" text with the same words, whose numbers differ by no more than the NOISE of processors. Only
    outputs of the same code: `made_from`, in the metadata of those cells, is the hash of all code down to them.
    """
    known = {cell.id: cell for cell in before.cells if cell.cell_type == "code"}
    code = ""
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        code += cell.source
        tag = next((tag for tag in cell.metadata.get("tags", []) if tag in NOISE), None)
        if tag:
            cell.metadata["made_from"] = short_hash(code)
        old = known.get(cell.id)
        if old is None or len(old.outputs) != len(cell.outputs):
            continue
        noise = NOISE[tag] if tag and old.metadata.get("made_from") == cell.metadata["made_from"] else None
        pairs = zip(old.outputs, cell.outputs, strict=True)
        cell.outputs = [one if _alike(one, other, noise) else other for one, other in pairs]


def _alike(one: nbformat.NotebookNode, other: nbformat.NotebookNode, noise: Callable[[str], float] | None) -> bool:
    if (one.output_type, one.get("name")) != (other.output_type, other.get("name")):
        return False
    texts = [output.get("data", {"text/plain": output.get("text", "")}) for output in (one, other)]
    if set(texts[0]) != set(texts[1]):
        return False
    for kind in texts[0]:
        first, second = (text[kind] for text in texts)
        if kind == "image/png":
            same = _same_pixels(first, second)
        else:
            same = first == second or (noise is not None and _same_words(first, second, noise))
        if not same:
            return False
    return True


def _same_pixels(one: str, other: str) -> bool:
    first, second = (Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA") for picture in (one, other))
    return first.size == second.size and first.tobytes() == second.tobytes()


def _same_words(one: str, other: str, noise: Callable[[str], float]) -> bool:
    if NUMBER.sub("0", one).split() != NUMBER.sub("0", other).split():
        return False
    numbers = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(abs(float(first) - float(second)) <= noise(first) for first, second in numbers)
