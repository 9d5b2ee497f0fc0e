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
    """Let two processes call `target(number, round, *arguments)` in every round, at the same moment."""
    barrier = processes.Barrier(2)
    both = [processes.Process(target=_repeat, args=(barrier, target, number, *arguments)) for number in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(600)
    assert [process.exitcode for process in both] == [0, 0]


def _repeat(barrier, target, number: int, *arguments) -> None:
    for round_ in range(ROUNDS):
        barrier.wait(300)
        target(number, round_, *arguments)


# --- locks and folders --------------------------------------------------------------------------------------------


def count_up(number: int, round_: int, folder: Path) -> None:
    """Read, wait, write: without a lock most rounds would be lost."""
    with lock(folder / "counter.lock", say=lambda line: None):
        path = folder / "counter.json"
        count = json.loads(path.read_text())
        time.sleep(0.002)
        save_atomically(path, lambda partial: partial.write_text(json.dumps(count + 1)))


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


def fill(number: int, round_: int, folder: Path) -> None:
    with partial_folder(folder / str(round_)) as partial:
        for name in range(20):
            (partial / str(name)).write_text(str(number))
    assert len({file.read_text() for file in (folder / str(round_)).iterdir()}) == 1


def test_a_folder_that_two_fill_is_that_of_one(processes, tmp_path):
    run_both(processes, fill, tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == sorted(map(str, range(ROUNDS)))  # nothing half made
    assert {len(list(folder.iterdir())) for folder in tmp_path.iterdir()} == {20}


# --- steps --------------------------------------------------------------------------------------------------------


def make_catalog(number: int, round_: int, archive: Path, folder: Path) -> None:
    home = folder / str(round_)
    catalog = build_catalog(tiny_run(archive, home))
    (home / f"{number}.txt").write_text(f"{len(catalog)} {hash_catalog(catalog)}")


def test_two_catalogs_of_a_medmnist_archive(processes, tmp_path):
    rng, arrays, archive = np.random.default_rng(0), {}, tmp_path / "pneumoniamnist.npz"
    for split, count in (("train", 60), ("val", 6), ("test", 9)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 3 == 0).astype(np.uint8)[:, None]
    np.savez_compressed(archive, **arrays)
    expected = f"75 {hash_catalog(build_catalog(tiny_run(archive, tmp_path / 'alone')))}"
    run_both(processes, make_catalog, archive, tmp_path)
    for home in (tmp_path / str(round_) for round_ in range(ROUNDS)):
        assert [(home / f"{number}.txt").read_text() for number in range(2)] == [expected] * 2
        (unpacked,) = (home / "cache").iterdir()
        assert len(list(unpacked.rglob("*.png"))) == 75


def simulate(number: int, round_: int, folder: Path) -> None:
    write_simulated_tree(folder / str(round_), (2, 4), 2, (1, 2), size=32)
    assert len(list((folder / str(round_)).rglob("*.jpeg"))) == 11


def test_two_simulations(processes, tmp_path):
    run_both(processes, simulate, tmp_path)
    assert len(list(tmp_path.iterdir())) == ROUNDS


def train(number: int, round_: int, run: Run, catalog) -> None:
    run, lines = replace(run, home=run.home / str(round_)), []
    train_all(run, catalog, say=lines.append)
    (run.home / f"{number}.txt").write_text(lines[-1].split()[1])


def test_two_trainings_train_every_member_once(processes, clean_tree, tmp_path):
    run = tiny_run(clean_tree, tmp_path, BASELINES)
    catalog = build_catalog(run)
    run_both(processes, train, run, catalog)
    for home in (replace(run, home=tmp_path / str(round_)) for round_ in range(ROUNDS)):
        assert all(load_matching_record(home, config, 0, hash_catalog(catalog)) for config in home.models)
        assert sum(int((home.home / f"{number}.txt").read_text()) for number in range(2)) == len(BASELINES)


def run_notebook(number: int, round_: int, run: Run) -> None:
    """In place of a kernel: write the notebook in two parts, as Papermill saves it after every cell."""

    def execute(source, partial, **options) -> None:
        whole = Path(source).read_text()
        Path(partial).write_text(whole[:100])
        time.sleep(0.01)
        assert Path(partial).read_text() == whole[:100], "another process writes here"
        Path(partial).write_text(whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("papermill.execute_notebook", execute)
        execute_notebook(run, run.home / f"{round_}.ipynb")


def test_two_notebooks_run_one_after_the_other(processes, tmp_path):
    run = replace(tiny_run(None, tmp_path), name="real")
    cells = [nbformat.v4.new_code_cell("1 + 1", id="a"), nbformat.v4.new_markdown_cell("x" * 200, id="b")]
    for round_ in range(ROUNDS):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{round_}.ipynb")
    run_both(processes, run_notebook, run)
    for round_ in range(ROUNDS):
        assert len(nbformat.read(tmp_path / f"{round_}.ipynb", as_version=4).cells) == 2
    assert not list(run.cache.glob("partial-*"))
