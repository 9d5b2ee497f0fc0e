"""Training: a killed one resumes and gives the same result; none is repeated without need."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN, TRAINED, tiny_run

from pneumonia.config import ROOT, PneumoniaError, Run
from pneumonia.data.catalog import build_catalog, hash_catalog, select_used
from pneumonia.data.generators import RadiographGenerator
from pneumonia.models import architectures as models
from pneumonia.models.training import EpochRecorder, Progress, collect_history, collect_training, train_all
from pneumonia.models.weights import load_trained
from pneumonia.records import (
    checkpoint_path,
    is_retraining,
    load_matching_record,
    load_record,
    record_path,
    start_retraining,
    weights_path,
)

BASELINES = ("majority", "thumbnail_logistic")


def silent(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def catalog(trained) -> pd.DataFrame:
    return trained[1]


def kill_at(*words: str):
    """A `say` that interrupts as Ctrl-C would, once a line has all the words."""

    def say(line: str) -> None:
        if all(word in line for word in words):
            raise KeyboardInterrupt

    return say


def weights_of(run: Run, seed: int = 0) -> list[np.ndarray]:
    return load_trained(run, run.models[-1], seed).get_weights()


def without_seconds(history: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in history]


def assert_same_training(run: Run, other: Run) -> None:
    """Bit for bit the same weights, and the same history."""
    for weights, others in zip(weights_of(run), weights_of(other), strict=True):
        np.testing.assert_array_equal(weights, others)
    histories = [without_seconds(load_record(each, each.models[-1], 0)["history"]) for each in (run, other)]
    assert histories[0] == histories[1]


def copy_of(run: Run, home: Path) -> Run:
    shutil.copytree(run.home, home)
    return replace(run, home=home, cache=home / "cache")


def mtimes(run: Run) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in run.models_dir.iterdir()}


# --- one training -------------------------------------------------------------------------------------------------


def test_every_member_leaves_weights_and_a_record(trained):
    run, catalog, records = trained
    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    assert [(each["model"], each["seed"]) for each in records] == [(config.name, seed) for config, seed in members]
    names = {path(run, *member).name for path in (weights_path, record_path) for member in members}
    assert {file.name for file in run.models_dir.iterdir()} == names
    assert not list(run.cache.glob("checkpoint*"))
    for record in records:
        assert record["catalog_hash"] == hash_catalog(catalog)
        assert record["wall_seconds"] > 0
        assert record["versions"]["keras"] == keras.__version__


def test_history_has_a_finite_row_per_epoch(trained):
    for record in trained[2]:
        assert [row["epoch"] for row in record["history"]] == list(range(1, record["epochs"] + 1))
        assert np.isfinite([list(row.values()) for row in record["history"]]).all()


def test_images_per_second_count_the_images_that_were_learned_from(trained):
    run, catalog, records = trained
    images = int((select_used(catalog)["split"] == "train_fit").sum())
    assert records[-1]["images_per_second"] == pytest.approx(3 * images / records[-1]["wall_seconds"], rel=0.02)
    assert records[0]["images_per_second"] is None


def test_seeds_give_different_networks(trained):
    run = trained[0]
    differences = [(a != b).any() for a, b in zip(weights_of(run, 0), weights_of(run, 1), strict=True)]
    assert any(differences)


def test_history_table_follows_its_contract(trained):
    table = collect_history(trained[2])
    assert len(table) == 2 * 3
    assert list(table.columns)[:3] == ["model", "seed", "epoch"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "val_roc_auc"} <= set(table.columns)
    assert not [column for column in table if column.endswith("_seconds")]  # times differ between equal trainings
    assert list(table["epoch"]) == [1, 2, 3, 1, 2, 3]


def test_history_has_the_learning_rate(trained):
    rates = collect_history(trained[2])["learning_rate"]
    assert rates.between(0, 1e-3).all()
    assert rates.iloc[0] > rates.iloc[2]  # the cosine has come down


def test_training_table_follows_its_contract(trained):
    table = collect_training(trained[2])
    columns = ["model", "seed", "parameters", "epochs", "wall_seconds", "cpu_seconds", "images_per_second"]
    assert list(table.columns)[: len(columns)] == columns
    assert len(table) == 5


# --- killed and resumed -------------------------------------------------------------------------------------------


def test_resumed_after_ctrl_c_equals_uninterrupted(clean_tree, tmp_path, trained, catalog):
    run = tiny_run(clean_tree, tmp_path, (CNN,), **TRAINED)
    with pytest.raises(KeyboardInterrupt):
        train_all(run, catalog, say=kill_at("epoch  2/3"))
    assert checkpoint_path(run, run.models[0], 0).exists()
    assert not weights_path(run, run.models[0], 0).exists()
    lines: list[str] = []
    train_all(run, catalog, say=lines.append)
    assert [line for line in lines if "  epoch" in line][0].startswith(f"{CNN} seed 0  epoch  3/3")
    assert_same_training(run, trained[0])


def test_resumed_after_its_last_epoch_equals_uninterrupted(clean_tree, tmp_path, trained, catalog):
    run = tiny_run(clean_tree, tmp_path, (CNN,), **TRAINED)
    with pytest.raises(KeyboardInterrupt):
        train_all(run, catalog, say=kill_at("epoch  3/3"))
    train_all(run, catalog, say=silent)
    assert_same_training(run, trained[0])


def test_resumed_residual_network_equals_uninterrupted(clean_tree, tmp_path, catalog, monkeypatch):
    """Batch normalisation has a memory as well. One stage instead of four: compiling takes the time."""
    monkeypatch.setitem(models.BUILDERS, "build_deep_cnn", partial(models.build_deep_cnn, widths=(32,)))
    whole, resumed = (tiny_run(clean_tree, tmp_path / name, ("deep_cnn",), epochs=2) for name in ("whole", "resumed"))
    train_all(whole, catalog, say=silent)
    with pytest.raises(KeyboardInterrupt):
        train_all(resumed, catalog, say=kill_at("epoch  1/2"))
    train_all(resumed, catalog, say=silent)
    assert_same_training(resumed, whole)


def die_in_the_middle_of_an_epoch(data: Path, home: Path, catalog: pd.DataFrame) -> None:
    """What the killed process does: it trains, and is killed at the second batch of the second epoch."""
    get = RadiographGenerator.__getitem__

    def die(self, batch):
        if self.shuffle and self.epoch == 1 and batch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(self, batch)

    RadiographGenerator.__getitem__ = die
    run = tiny_run(data, home, (CNN,), **TRAINED)
    with (home / "log").open("a") as log:
        train_all(run, catalog, say=lambda line: print(line, file=log, flush=True))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_resumed_after_kill_9_equals_uninterrupted(clean_tree, tmp_path, trained, catalog, processes):
    killed = processes.Process(target=die_in_the_middle_of_an_epoch, args=(clean_tree, tmp_path, catalog))
    killed.start()
    killed.join(300)
    assert killed.exitcode == -signal.SIGKILL
    assert "epoch  1/3" in (tmp_path / "log").read_text()
    run = tiny_run(clean_tree, tmp_path, (CNN,), **TRAINED)
    lines: list[str] = []
    train_all(run, catalog, say=lines.append)
    assert [line for line in lines if "  epoch" in line][0].startswith(f"{CNN} seed 0  epoch  2/3")
    assert_same_training(run, trained[0])
    assert not [file for file in run.models_dir.iterdir() if file.name.startswith(".")]


# --- reuse, and when not ------------------------------------------------------------------------------------------


@pytest.fixture
def copied(trained, tmp_path) -> Run:
    """The trained run in a folder of its own, free to be damaged; its decoded radiographs come along."""
    return copy_of(trained[0], tmp_path / "home")


@pytest.fixture
def baselines(clean_tree, tmp_path, catalog) -> Run:
    """Two trained baselines: whatever is asked of records can be asked of them, and they train in no time."""
    run = tiny_run(clean_tree, tmp_path / "baselines", BASELINES)
    train_all(run, catalog, say=silent)
    return run


def test_what_matches_its_record_is_not_trained_again(copied, catalog, trained):
    before, lines = mtimes(copied), []
    assert train_all(copied, catalog, say=lines.append) == trained[2]
    assert lines == ["trained 0 of 5 trainings; 5 were up to date"]
    assert mtimes(copied) == before


def test_committed_records_match_wherever_and_whenever_they_are_checked_out(copied, catalog):
    for file in copied.models_dir.iterdir():
        os.utime(file, (0, 0))
    assert load_matching_record(copied, copied.models[-1], 0, hash_catalog(catalog)) is not None


def trained_again(run: Run, catalog: pd.DataFrame) -> list[str]:
    """Train; returns the names of the members whose files were written."""
    before = mtimes(run)
    train_all(run, catalog, say=silent)
    after = mtimes(run)
    return sorted({name.split("-")[0] for name in after if after[name] != before.get(name)})


def test_changed_configuration_is_trained_again_and_nothing_else(baselines, catalog):
    changed = replace(baselines.models[1], image_size=12)
    assert trained_again(replace(baselines, models=(baselines.models[0], changed)), catalog) == ["thumbnail_logistic"]


def test_changed_title_is_no_reason_to_train(baselines, catalog):
    renamed = tuple(replace(config, title="Another title") for config in baselines.models)
    assert trained_again(replace(baselines, models=renamed), catalog) == []


def test_changed_catalog_is_trained_again(baselines):
    other = replace(baselines, split_seed=7)
    assert trained_again(other, build_catalog(other)) == sorted(BASELINES)


@pytest.mark.parametrize("damage", ["truncate", "delete", "delete the record", "damage the record", "empty the record"])
def test_damaged_member_is_trained_again(baselines, catalog, damage):
    weights, record = (path(baselines, baselines.models[0], 0) for path in (weights_path, record_path))
    {
        "truncate": lambda: weights.write_bytes(weights.read_bytes()[:-1]),
        "delete": weights.unlink,
        "delete the record": record.unlink,
        "damage the record": lambda: record.write_text(record.read_text()[:100]),
        "empty the record": lambda: record.write_text("{}"),
    }[damage]()
    assert trained_again(baselines, catalog) == ["majority"]
    assert trained_again(baselines, catalog) == []


def test_damaged_weights_are_refused_when_loaded(baselines):
    weights_path(baselines, baselines.models[0], 0).write_bytes(b"something else")
    with pytest.raises(PneumoniaError, match=r"majority-seed0\.npz: missing or not the file that its record names"):
        load_trained(baselines, baselines.models[0], 0)


@pytest.fixture(scope="module")
def broken_off(clean_tree, catalog, tmp_path_factory) -> Run:
    """A training of two epochs that was killed after the first; to be copied."""
    run = tiny_run(clean_tree, tmp_path_factory.mktemp("broken") / "home", ("basic_cnn",), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train_all(run, catalog, say=kill_at("epoch  1/2"))
    return run


def test_changed_number_of_epochs_starts_over_and_not_from_the_old_checkpoint(broken_off, tmp_path, catalog):
    run = copy_of(broken_off, tmp_path / "home")
    lines: list[str] = []
    train_all(replace(run, models=(replace(run.models[0], epochs=1),)), catalog, say=lines.append)
    assert "epoch  1/1" in lines[0]


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_diverging_loss_is_an_error_that_names_the_remedy_and_keeps_earlier_members(clean_tree, tmp_path, catalog):
    run = tiny_run(clean_tree, tmp_path, ("majority", "basic_cnn"), learning_rate=1e30)
    with pytest.raises(PneumoniaError, match=r"basic_cnn seed 0, epoch \d+: .*; lower its learning_rate"):
        train_all(run, catalog, say=silent)
    assert load_matching_record(run, run.models[0], 0, hash_catalog(catalog)) is not None
    assert load_record(run, run.models[1], 0) is None
    assert not weights_path(run, run.models[1], 0).exists()


def test_epoch_that_ends_in_weights_that_are_no_numbers_is_not_recorded():
    """The last step of an epoch can destroy the weights after its loss was measured; only validation shows it."""
    saved: list = []
    config = tiny_run(None, ROOT, ("basic_cnn",)).models[0]
    recorder = EpochRecorder(config, 0, [], Progress([(config, 0)], silent))
    recorder.set_epoch = lambda epoch: None
    recorder.save = saved.append
    recorder.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    recorder.on_epoch_begin(0)
    numbers = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.5, "val_accuracy": 0.8, "val_roc_auc": 0.8}
    recorder.on_epoch_end(0, numbers | {"val_loss": float("nan")})
    assert recorder.history == []
    assert saved == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((9, 9), np.dtype(float)),
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor"),  # TensorFlow
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),  # JAX
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),  # PyTorch
    ],
)
def test_too_little_memory_is_an_error_that_names_the_remedy_and_keeps_earlier_members(
    clean_tree, tmp_path, catalog, monkeypatch, error
):
    def fit(*arguments, **options):
        raise error

    monkeypatch.setattr(keras.Model, "fit", fit)
    run = tiny_run(clean_tree, tmp_path, ("majority", "basic_cnn"))
    with pytest.raises(PneumoniaError, match=r"^basic_cnn seed 0: not enough memory; lower its batch_size"):
        train_all(run, catalog, say=silent)
    assert load_matching_record(run, run.models[0], 0, hash_catalog(catalog)) is not None
    assert load_record(run, run.models[1], 0) is None


def test_other_errors_of_a_training_are_not_taken_for_too_little_memory(clean_tree, tmp_path, catalog, monkeypatch):
    def fit(*arguments, **options):
        raise ValueError("a bug")

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(ValueError, match="a bug"):
        train_all(tiny_run(clean_tree, tmp_path, ("basic_cnn",)), catalog, say=silent)


def full_disk(*arguments, **options):
    raise OSError(28, "No space left on device")


def test_full_disk_while_weights_are_written_keeps_what_was_there(catalog, baselines, monkeypatch):
    before = {file.name: file.read_bytes() for file in baselines.models_dir.iterdir()}
    changed = replace(baselines, models=tuple(replace(config, image_size=12) for config in baselines.models))
    monkeypatch.setattr("pneumonia.models.weights.np.savez", full_disk)
    with pytest.raises(PneumoniaError, match=r"majority-seed0\.npz: cannot be written \(No space left on device\)"):
        train_all(changed, catalog, say=silent)
    assert {file.name: file.read_bytes() for file in baselines.models_dir.iterdir()} == before


# --- retraining ---------------------------------------------------------------------------------------------------


def test_retraining_trains_everything_once(baselines, catalog):
    before = mtimes(baselines)
    train_all(baselines, catalog, retrain=True, say=silent)
    assert all(mtimes(baselines)[name] > before[name] for name in before)
    assert trained_again(baselines, catalog) == []
    assert not is_retraining(baselines)


def test_killed_retraining_resumes_where_it_was(baselines, catalog):
    with pytest.raises(KeyboardInterrupt):
        train_all(baselines, catalog, retrain=True, say=kill_at("thumbnail_logistic: fitted"))
    lines: list[str] = []
    train_all(baselines, catalog, retrain=True, say=lines.append)
    assert lines[-1] == "trained 1 of 2 trainings; 1 were up to date"


def test_plain_run_after_a_killed_retraining_finishes_it(baselines, catalog):
    with pytest.raises(KeyboardInterrupt):
        train_all(baselines, catalog, retrain=True, say=kill_at("majority: fitted"))
    lines: list[str] = []
    train_all(baselines, catalog, say=lines.append)
    assert lines[-1] == "trained 2 of 2 trainings; 0 were up to date"


def test_retraining_does_not_continue_from_a_checkpoint_that_was_there_before(broken_off, tmp_path, catalog):
    lines: list[str] = []
    train_all(copy_of(broken_off, tmp_path / "home"), catalog, retrain=True, say=lines.append)
    assert "epoch  1/2" in lines[0]


def test_retraining_can_be_cancelled(baselines, catalog):
    start_retraining(baselines)
    assert load_matching_record(baselines, baselines.models[0], 0, hash_catalog(catalog)) is None
    shutil.rmtree(baselines.cache / "retrained-simulated")
    assert load_matching_record(baselines, baselines.models[0], 0, hash_catalog(catalog)) is not None


# --- progress -----------------------------------------------------------------------------------------------------


def row(epoch: int, seconds: float) -> dict:
    return {"epoch": epoch, "loss": 0.4, "val_loss": 0.5, "val_accuracy": 0.9, "wall_seconds": seconds}


def test_progress_gives_the_time_left_at_the_pace_so_far():
    config = tiny_run(None, ROOT, ("basic_cnn",), epochs=10).models[0]
    lines: list[str] = []
    progress = Progress([(config, 0), (config, 1)], lines.append)
    progress.report_epoch(config, 0, [row(1, 60.0)])
    assert lines[-1].endswith("60 s  about 19 min left in all")
    progress.report_epoch(config, 0, [row(2, 180.0)])
    assert lines[-1].endswith("180 s  about 36 min left in all")  # 18 epochs at two minutes


def test_progress_of_a_resumed_training_does_not_count_what_was_done_before():
    config = tiny_run(None, ROOT, ("basic_cnn",), epochs=10).models[0]
    lines: list[str] = []
    Progress([(config, 0)], lines.append).report_epoch(config, 0, [row(9, 60.0)])
    assert lines[-1].endswith("about 1 min left in all")


def test_record_is_plain_json(trained):
    run = trained[0]
    text = record_path(run, run.models[-1], 0).read_text()
    assert json.loads(text, parse_constant=pytest.fail) == load_record(run, run.models[-1], 0)
