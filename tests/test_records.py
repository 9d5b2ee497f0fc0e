"""Files are complete or absent, checkpoints too, and records say what a result depends on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_runs import tiny_run

from pneumonia import records
from pneumonia.config import PneumoniaError
from pneumonia.models.architectures import build_model
from pneumonia.models.weights import (
    describe_device,
    hash_weights,
    load_checkpoint,
    load_trained,
    save_checkpoint,
    save_trained,
)
from pneumonia.records import (
    Stopwatch,
    checkpoint_path,
    hash_file,
    installed_versions,
    load_record,
    record_path,
    save_atomically,
    save_record,
    weights_path,
)
from pneumonia.series import real_run

IDENTITY = {"config_hash": "a", "catalog_hash": "b"}


@pytest.fixture
def network() -> keras.Model:
    """A dense layer whose optimiser has taken a step."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adamw", "binary_crossentropy")
    model.train_on_batch(np.ones((2, 4)), np.array([[0.0], [1.0]]))
    return model


# --- atomic writing -----------------------------------------------------------------------------------------------


def test_save_makes_the_folder_and_replaces_the_file(tmp_path):
    path = tmp_path / "deep" / "folder" / "file.txt"
    for text in ("first", "second"):
        save_atomically(path, lambda partial, text=text: partial.write_text(text))
        assert path.read_text() == text
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("bug")])
def test_failed_save_keeps_the_old_file_and_leaves_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(partial):
        partial.write_text("half a new o")
        raise error

    expected = PneumoniaError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        save_atomically(path, fail)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.name != "posix", reason="who is running is asked on POSIX only")
def test_what_a_killed_process_left_goes_and_what_a_running_one_writes_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names: dict[int, Path] = {}
    for pid in (dead.pid, os.getppid()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records.os, "getpid", lambda pid=pid: pid)
            save_atomically(tmp_path / "file.txt", lambda file, pid=pid: names.update({pid: file}) or file.touch())
    for partial in names.values():
        partial.write_text("half")
    save_atomically(tmp_path / "file.txt", lambda partial: partial.write_text("whole"))
    assert (tmp_path / "file.txt").read_text() == "whole"
    assert [names[pid].exists() for pid in (dead.pid, os.getppid())] == [False, True]


def test_failed_save_names_the_file_and_the_remedy(tmp_path):
    def fail(partial):
        raise OSError(28, "No space left on device")

    with pytest.raises(PneumoniaError, match=r"file\.txt: cannot be written \(No space left on device\); free"):
        save_atomically(tmp_path / "file.txt", fail)


@pytest.mark.parametrize(("number", "remedy"), [(errno.EROFS, "make the folder writable"), (errno.EIO, "check the")])
def test_a_remedy_is_that_of_the_error(tmp_path, number, remedy):
    def fail(partial):
        raise OSError(number, os.strerror(number))

    with pytest.raises(PneumoniaError, match=remedy):
        save_atomically(tmp_path / "file.txt", fail)


def test_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(PneumoniaError, match=r"results.file\.txt: cannot be written"):
        save_atomically(tmp_path / "results" / "file.txt", lambda partial: partial.write_text("x"))


# --- checkpoints --------------------------------------------------------------------------------------------------


def test_checkpoint_brings_back_model_optimiser_and_header(network, tmp_path):
    header = IDENTITY | {"history": [{"epoch": 1, "loss": 0.123456}]}
    save_checkpoint(tmp_path / "c.keras", network, header)
    model, found = load_checkpoint(tmp_path / "c.keras", IDENTITY)
    assert found == header
    saved = [*network.get_weights(), *(keras.ops.convert_to_numpy(each) for each in network.optimizer.variables)]
    loaded = [*model.get_weights(), *(keras.ops.convert_to_numpy(each) for each in model.optimizer.variables)]
    assert len(saved) > 4
    for before, after in zip(saved, loaded, strict=True):
        np.testing.assert_array_equal(before, after)


def test_full_disk_while_a_checkpoint_is_written_keeps_the_one_before(network, tmp_path, monkeypatch):
    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    save_checkpoint(tmp_path / "c.keras", network, IDENTITY | {"history": [1]})
    monkeypatch.setattr(keras.Model, "save", full_disk)
    with pytest.raises(PneumoniaError, match=r"c\.keras: cannot be written \(No space left on device\); free the disk"):
        save_checkpoint(tmp_path / "c.keras", network, IDENTITY | {"history": [1, 2]})
    assert load_checkpoint(tmp_path / "c.keras", IDENTITY)[1]["history"] == [1]


def test_checkpoint_of_another_training_is_not_continued(network, tmp_path):
    save_checkpoint(tmp_path / "c.keras", network, IDENTITY | {"history": []})
    assert load_checkpoint(tmp_path / "c.keras", IDENTITY | {"catalog_hash": "other"}) == (None, {})


def test_no_checkpoint_is_a_start_from_the_beginning(tmp_path):
    assert load_checkpoint(tmp_path / "none.keras", IDENTITY) == (None, {})


def damage(path, how: str) -> None:
    data = path.read_bytes()
    if how == "without header":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
    elif how == "without network":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("training.json", json.dumps(IDENTITY | {"history": []}))
    else:
        first, middle, last = data[: len(data) // 2], data[len(data) // 2 :][:64], data[len(data) // 2 + 64 :]
        flipped = bytes(byte ^ 255 for byte in middle)
        path.write_bytes({"empty": b"", "truncated": first, "flipped": first + flipped + last}[how])


@pytest.mark.parametrize("how", ["empty", "truncated", "flipped", "without header", "without network"])
def test_damaged_checkpoint_is_a_start_from_the_beginning(network, tmp_path, how):
    save_checkpoint(tmp_path / "c.keras", network, IDENTITY | {"history": []})
    damage(tmp_path / "c.keras", how)
    assert load_checkpoint(tmp_path / "c.keras", IDENTITY) == (None, {})


# --- records ------------------------------------------------------------------------------------------------------


def test_members_have_places_of_their_own(tmp_path):
    run = tiny_run(None, tmp_path, ("majority", "basic_cnn", "basic_cnn_augmented"), seeds=(0, 1))
    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    places = [path(run, *member) for path in (weights_path, record_path, checkpoint_path) for member in members]
    assert len(set(places)) == len(places)
    assert weights_path(run, run.models[0], 0) == run.models_dir / "majority-seed0.npz"
    assert weights_path(run, run.models[1], 1) == run.models_dir / "basic_cnn-seed1.keras"
    assert all(checkpoint_path(run, *member).is_relative_to(run.cache) for member in members)


def test_untrained_member_has_no_record_and_cannot_be_loaded(tmp_path):
    run = tiny_run(None, tmp_path, ("majority",))
    assert load_record(run, run.models[0], 0) is None
    with pytest.raises(PneumoniaError, match=r"majority-seed0\.npz: missing .*run `make run` to train it"):
        load_trained(run, run.models[0], 0)


def test_hash_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"radiograph" * 10_000)
    assert hash_file(tmp_path / "x") == hashlib.sha256(b"radiograph" * 10_000).hexdigest()


def test_versions_and_device_are_recorded():
    versions = installed_versions()
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__
    assert "not-there" not in versions
    assert describe_device().startswith(keras.backend.backend())


def test_stopwatch_gives_wall_and_cpu_seconds():
    stopwatch = Stopwatch()
    sum(range(200_000))
    first, second = stopwatch.read(), stopwatch.read()
    assert 0 < first["wall_seconds"] <= second["wall_seconds"] < 60
    assert 0 <= first["cpu_seconds"] <= second["cpu_seconds"]


# --- trained models -----------------------------------------------------------------------------------------------


def test_trained_model_is_saved_without_its_optimiser_and_predicts_the_same(tmp_path, network):
    network.save(tmp_path / "whole.keras")
    save_trained(tmp_path / "trained.keras", network)
    loaded = keras.models.load_model(tmp_path / "trained.keras")
    inputs = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0), network.predict(inputs, verbose=0))
    assert (tmp_path / "trained.keras").stat().st_size < (tmp_path / "whole.keras").stat().st_size
    assert not loaded.compiled


@pytest.mark.parametrize("name", ["majority", "thumbnail_logistic"])
def test_baselines_are_plain_arrays_and_predict_the_same(tmp_path, name):
    run, rng = tiny_run(None, tmp_path, (name,)), np.random.default_rng(0)
    inputs, config = rng.random((40, 256)), run.models[0]
    model = build_model(config).fit(inputs, inputs[:, 0] > 0.5)
    path = weights_path(run, config, 0)
    save_trained(path, model)
    content = path.read_bytes()
    save_trained(path, model)
    assert path.read_bytes() == content
    save_record(run, config, 0, {"weights_sha256": hash_file(path)})
    np.testing.assert_array_equal(load_trained(run, config, 0).predict_proba(inputs), model.predict_proba(inputs))


class Evil:
    def __reduce__(self):
        return print, ("owned",)


@pytest.mark.parametrize("how", ["a pickle", "an array of objects", "another attribute", "another step", "nothing"])
def test_baselines_that_are_no_arrays_are_refused_and_nothing_of_them_runs(tmp_path, how, capsys):
    run = tiny_run(None, tmp_path, ("thumbnail_logistic",))
    path, config = weights_path(run, run.models[0], 0), run.models[0]
    path.parent.mkdir(parents=True)
    arrays = {
        "an array of objects": {"logisticregression.coef_": np.array([Evil()], dtype=object)},
        "another attribute": {"logisticregression.__class__": np.zeros(1)},
        "another step": {"pca.components_": np.zeros(1)},
    }
    with path.open("wb") as file:
        pickle.dump(Evil(), file) if how == "a pickle" else np.savez(file, **arrays.get(how, {}))
    save_record(run, config, 0, {"weights_sha256": hash_file(path)})
    with pytest.raises(PneumoniaError, match=r"thumbnail_logistic-seed0\.npz: cannot be loaded"):
        load_trained(run, config, 0)
    assert capsys.readouterr().out == ""


def test_committed_baselines_are_fitted():
    run = real_run(None)
    for config in run.models[:3]:
        model = load_trained(run, config, 0)
        assert model.predict_proba(np.zeros((1, model.n_features_in_))).sum() == pytest.approx(1)
    assert not list(run.models_dir.glob("*.joblib"))


def test_hash_of_weights_depends_on_the_weights_alone(tmp_path, network):
    before = hash_weights(network)
    save_trained(tmp_path / "trained.keras", network)
    assert hash_weights(keras.models.load_model(tmp_path / "trained.keras")) == before
    network.train_on_batch(np.ones((2, 4)), np.array([[0.0], [1.0]]))
    assert hash_weights(network) != before
