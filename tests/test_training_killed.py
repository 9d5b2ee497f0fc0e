"""A training that is killed twenty times at random moments ends with the weights of an uninterrupted one."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN, tiny_run

from pneumonia.config import Run
from pneumonia.data.catalog import build_catalog
from pneumonia.models.training import train_all
from pneumonia.models.weights import load_trained
from pneumonia.records import load_record

KILLS = 20
SEEDS = (0, 1)

pytestmark = [
    pytest.mark.skipif("SLOW_TESTS" not in os.environ, reason="takes a minute or two: set SLOW_TESTS=1"),
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL"),
]


def train(data: Path, home: Path, catalog: pd.DataFrame) -> None:
    """What each process runs, killed or not."""
    run = tiny_run(data, home, (CNN,), SEEDS, balance_classes=True)
    with (home / "log").open("a") as log:
        train_all(run, catalog, say=lambda line: print(line, file=log, flush=True))


def assert_same(run: Run, other: Run) -> None:
    """Bit for bit the same weights and losses of every member."""
    for seed in SEEDS:
        weights = [load_trained(each, each.models[0], seed).get_weights() for each in (run, other)]
        for one, two in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, two)
        histories = [load_record(each, each.models[0], seed)["history"] for each in (run, other)]
        losses = [[(row["epoch"], row["loss"], row["val_loss"]) for row in history] for history in histories]
        assert losses[0] == losses[1]


def test_killed_twenty_times_equals_uninterrupted(clean_tree, tmp_path, processes):
    homes = {name: tmp_path / name for name in ("uninterrupted", "killed")}
    for home in homes.values():
        home.mkdir()
    uninterrupted, killed = (tiny_run(clean_tree, home, (CNN,), SEEDS, balance_classes=True) for home in homes.values())
    catalog, moments = build_catalog(uninterrupted), np.random.default_rng(7)
    start = time.perf_counter()
    process = processes.Process(target=train, args=(clean_tree, homes["uninterrupted"], catalog))
    process.start()
    process.join()
    assert process.exitcode == 0
    duration, kills = time.perf_counter() - start, 0
    while kills < KILLS:
        process = processes.Process(target=train, args=(clean_tree, homes["killed"], catalog))
        process.start()
        process.join(moments.uniform(0, duration))
        process.kill()  # harmless if it has finished
        process.join()
        if process.exitcode == -signal.SIGKILL:
            kills += 1
        else:  # finished before it was killed: compare, and start again
            assert process.exitcode == 0
            assert_same(killed, uninterrupted)
            shutil.rmtree(killed.models_dir)
    shutil.rmtree(killed.models_dir, ignore_errors=True)  # and once more, when there is something to resume
    process = processes.Process(target=train, args=(clean_tree, homes["killed"], catalog))
    process.start()
    while process.is_alive() and not any(killed.cache.glob("checkpoint-*")):
        time.sleep(0.01)
    process.kill()
    process.join()
    train(clean_tree, homes["killed"], catalog)
    assert_same(killed, uninterrupted)
    assert "continuing after epoch" in (homes["killed"] / "log").read_text()  # else nothing was resumed
    left = [file.name for folder in (killed.models_dir, killed.cache) for file in folder.iterdir()]
    assert [name for name in left if name.startswith((".part", "checkpoint"))] == []
