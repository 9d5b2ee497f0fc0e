"""Two processes at once: what both write is whole, and neither undoes what the other did. Twenty rounds each."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from tiny_runs import tiny_run

from pneumonia.config import Run
from pneumonia.data.catalog import build_catalog, hash_catalog
from pneumonia.data.simulate import write_simulated_tree
from pneumonia.models.training import train_all
from pneumonia.records import load_matching_record, lock, partial_folder, save_atomically
from pneumonia.report.notebook import execute_notebook

ROUNDS = 20
BASELINES = ("majority", "thumbnail_logistic")


def run_both(processes, target, *arguments) -> None:
    """Run `target(number, *arguments)` in two processes, which start together."""
    barrier = processes.Barrier(2)
    both = [processes.Process(target=_start, args=(barrier, target, number, *arguments)) for number in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [0, 0]


def _start(barrier, target, *arguments) -> None:
    barrier.wait(120)
    target(*arguments)


# --- locks and folders --------------------------------------------------------------------------------------------


def count_up(number: int, folder: Path) -> None:
    """Read, wait, write: without a lock most rounds would be lost."""
    for _ in range(ROUNDS):
        with lock(folder / "counter.lock", say=lambda line: None):
            path = folder / "counter.json"
            count = json.loads(path.read_text())
            time.sleep(0.002)
            save_atomically(path, lambda partial, count=count: partial.write_text(json.dumps(count + 1)))


def test_a_lock_lets_one_in_at_a_time(processes, tmp_path):
    (tmp_path / "counter.json").write_text("0")
    run_both(processes, count_up, tmp_path)
    assert json.loads((tmp_path / "counter.json").read_text()) == 2 * ROUNDS


def hold(path: Path) -> None:
    with lock(path):
        time.sleep(600)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_the_second_is_told_who_holds_the_lock_and_a_kill_releases_it(processes, tmp_path):
    holder, path, said = (
        processes.Process(target=hold, args=(tmp_path / "results.lock",)),
        tmp_path / "results.lock",
        [],
    )
    holder.start()
    deadline = time.time() + 120
    while not (path.exists() and path.read_text()) and time.time() < deadline:
        time.sleep(0.02)

    def say(line: str) -> None:
        said.append(line)
        os.kill(holder.pid, signal.SIGKILL)

    with lock(path, say):
        pass
    assert said == [f"results: in use by process {holder.pid}; waiting for it"]
    holder.join()
    with lock(path, pytest.fail):
        pass


def fill(number: int, path: Path) -> None:
    with partial_folder(path) as partial:
        for name in range(20):
            (partial / str(name)).write_text(str(number))


def test_a_folder_that_two_fill_is_that_of_one(processes, tmp_path):
    for count in range(ROUNDS):
        run_both(processes, fill, tmp_path / str(count))
        texts = {file.read_text() for file in (tmp_path / str(count)).iterdir()}
        assert len(texts) == 1 and len(list((tmp_path / str(count)).iterdir())) == 20
    assert len(list(tmp_path.iterdir())) == ROUNDS  # nothing half made


# --- steps --------------------------------------------------------------------------------------------------------


def catalogue(number: int, archive: Path, home: Path) -> None:
    catalog = build_catalog(tiny_run(archive, home))
    (home / f"{number}.txt").write_text(f"{len(catalog)} {hash_catalog(catalog)}")


def test_two_catalogs_of_a_medmnist_archive(processes, tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 120), ("val", 6), ("test", 9)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 3 == 0).astype(np.uint8)[:, None]
    np.savez_compressed(tmp_path / "pneumoniamnist.npz", **arrays)
    expected = build_catalog(tiny_run(tmp_path / "pneumoniamnist.npz", tmp_path / "alone"))
    for count in range(ROUNDS):
        home = tmp_path / str(count)
        home.mkdir()
        run_both(processes, catalogue, tmp_path / "pneumoniamnist.npz", home)
        assert {(home / f"{n}.txt").read_text() for n in range(2)} == {f"135 {hash_catalog(expected)}"}
        (unpacked,) = (home / "cache").iterdir()
        assert len(list(unpacked.rglob("*.png"))) == 135


def simulate(number: int, target: Path) -> None:
    write_simulated_tree(target, (2, 4), 2, (1, 2), size=32)


def test_two_simulations(processes, tmp_path):
    for count in range(ROUNDS):
        run_both(processes, simulate, tmp_path / str(count))
        assert len(list((tmp_path / str(count)).rglob("*.jpeg"))) == 11
    assert len(list(tmp_path.iterdir())) == ROUNDS


def train(number: int, run: Run, catalog) -> None:
    lines: list[str] = []
    train_all(run, catalog, say=lines.append)
    (run.home / f"{number}.txt").write_text(lines[-1].split()[1])


def test_two_trainings_train_every_member_once(processes, clean_tree, tmp_path):
    run = tiny_run(clean_tree, tmp_path / "first", BASELINES)
    catalog = build_catalog(run)
    for count in range(ROUNDS):
        home = replace(run, home=tmp_path / str(count))
        home.home.mkdir()
        run_both(processes, train, home, catalog)
        assert all(load_matching_record(home, config, 0, hash_catalog(catalog)) for config in home.models)
        assert sum(int((home.home / f"{n}.txt").read_text()) for n in range(2)) == len(BASELINES)


def run_notebook(number: int, run: Run, source: Path) -> None:
    """In place of a kernel: write the notebook in two parts, as Papermill saves it after every cell."""

    def execute(source, partial, **options) -> None:
        whole = Path(source).read_text()
        Path(partial).write_text(whole[:100])
        time.sleep(0.01)
        assert Path(partial).read_text() == whole[:100], "another process writes here"
        Path(partial).write_text(whole)

    papermill.execute_notebook = execute
    execute_notebook(run, source)


def test_two_notebooks_run_one_after_the_other(processes, tmp_path):
    run = replace(tiny_run(None, tmp_path), name="real")
    for count in range(ROUNDS):
        source = tmp_path / f"{count}.ipynb"
        cells = [nbformat.v4.new_code_cell("1 + 1", id="a"), nbformat.v4.new_markdown_cell("x" * 200, id="b")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), source)
        run_both(processes, run_notebook, run, source)
        assert len(nbformat.read(source, as_version=4).cells) == 2
    assert not list(run.cache.glob("partial-*"))
