"""Which radiographs are used: the named ones, those in data/, downloaded ones, else simulated ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from pneumonia import series
from pneumonia.config import ROOT, PneumoniaError
from pneumonia.data import find
from pneumonia.data.find import find_radiographs, open_run
from pneumonia.data.simulate import write_simulated_tree


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    """No radiographs, no network, and a root of its own, so that nothing is written into the repository."""

    def no_network(*arguments, **options):
        raise PneumoniaError("cannot download https://data.mendeley.com/x (no connection); run again, or by hand")

    monkeypatch.delenv("CHEST_XRAY_DIR", raising=False)
    monkeypatch.setattr(find, "download", no_network)
    monkeypatch.setattr(find, "DEFAULT_DATA", tmp_path / "data" / "chest_xray")
    monkeypatch.setattr(series, "ROOT", tmp_path)
    small = {"n_train": (2, 4), "n_val": 2, "n_test": (1, 2), "size": 32}
    monkeypatch.setattr(find, "write_simulated_tree", lambda target, **_: write_simulated_tree(target, **small))
    return tmp_path


def test_named_folder_comes_first(elsewhere, monkeypatch):
    (elsewhere / "mine").mkdir()
    find.DEFAULT_DATA.mkdir(parents=True)
    monkeypatch.setenv("CHEST_XRAY_DIR", str(elsewhere / "mine"))
    assert find_radiographs() == (elsewhere / "mine").resolve()
    assert open_run(say=pytest.fail).data == (elsewhere / "mine").resolve()


def test_named_folder_may_be_relative_and_stays_the_same_after_a_change_of_directory(elsewhere, monkeypatch):
    (elsewhere / "mine").mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("CHEST_XRAY_DIR", "mine")
    assert find_radiographs().is_absolute()


def test_named_archive_is_taken(elsewhere, monkeypatch):
    (elsewhere / "pneumoniamnist.npz").write_bytes(b"")
    monkeypatch.setenv("CHEST_XRAY_DIR", str(elsewhere / "pneumoniamnist.npz"))
    assert find_radiographs().name == "pneumoniamnist.npz"


@pytest.mark.parametrize("name", ["auto", "real"])
def test_wrong_name_is_an_error_and_never_a_simulation(elsewhere, monkeypatch, name):
    monkeypatch.setenv("CHEST_XRAY_DIR", "/nowhere/chest_xray")
    with pytest.raises(PneumoniaError, match="CHEST_XRAY_DIR=/nowhere/chest_xray: no such folder; correct"):
        open_run(name, say=pytest.fail)


def test_empty_variable_is_no_name(elsewhere, monkeypatch):
    monkeypatch.setenv("CHEST_XRAY_DIR", "")
    assert find_radiographs() is None


def test_data_folder_is_found(elsewhere):
    find.DEFAULT_DATA.mkdir(parents=True)
    run = open_run(say=pytest.fail)
    assert (run.name, run.data) == ("real", find.DEFAULT_DATA)


def test_missing_radiographs_are_fetched(elsewhere, monkeypatch):
    fetched: list = []
    monkeypatch.setattr(find, "download", lambda source, target: fetched.append((source, target)) or target)
    run = open_run(say=pytest.fail)
    assert fetched == [("mendeley", find.DEFAULT_DATA)]
    assert (run.name, run.data) == ("real", find.DEFAULT_DATA)


def test_without_radiographs_and_network_the_run_is_simulated_and_says_so_in_two_lines(elsewhere):
    lines: list[str] = []
    run = open_run(say=lines.append)
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)
    assert lines[0].startswith("SIMULATED: ")
    assert "no connection" in lines[0]
    assert "make download" in lines[1]
    assert "CHEST_XRAY_DIR" in lines[1]
    assert run.is_simulated
    assert (run.data / "train" / "NORMAL").is_dir()


def test_simulated_run_lives_in_a_home_of_its_own(elsewhere):
    run = open_run("simulated", say=pytest.fail)
    home = elsewhere / "build" / "simulated"
    assert run.home == home
    for path in (run.data, run.cache, run.results_dir, run.images_dir, run.models_dir):
        assert path.is_relative_to(home)
    assert [folder.name for folder in elsewhere.iterdir()] == ["build"]


def test_real_run_without_radiographs_is_an_error_and_never_a_simulation(elsewhere):
    with pytest.raises(PneumoniaError, match="no connection"):
        open_run("real", say=pytest.fail)
    assert not (elsewhere / "build").exists()


def test_committed_results_need_no_radiographs(elsewhere):
    run = open_run("results", say=pytest.fail)
    assert (run.name, run.data) == ("real", None)


def test_unknown_run_is_an_error(elsewhere):
    with pytest.raises(PneumoniaError, match="simulatd"):
        open_run("simulatd", say=lambda line: None)


def test_data_folder_of_the_project_is_where_the_documentation_says():
    assert Path(ROOT / "data" / "chest_xray") == Path(find.__file__).resolve().parents[2] / "data" / "chest_xray"
