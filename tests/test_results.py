"""The result files: same bytes for the same numbers, refused when they do not match. And the steps of the pipeline."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN, tiny_run

from pneumonia import pipeline as steps
from pneumonia import results as results_module
from pneumonia.config import PneumoniaError, Run
from pneumonia.data.catalog import build_catalog, hash_catalog
from pneumonia.models import prediction
from pneumonia.records import load_record
from pneumonia.results import (
    TABLES,
    check_hashes,
    is_current,
    lengthen,
    name_final_model,
    read_run_record,
    read_table,
    record_test_look,
    widen,
    write_measured,
    write_run_record,
    write_table,
)
from pneumonia.studies import load_results
from pneumonia.studies.ablation import hash_ablation

FOLLOWING = (
    *("subgroups", "operating_points", "per_1000", "decision_curve", "published_comparisons", "power"),
    *("reading_list", "criteria"),
)


@pytest.fixture(scope="module")
def finished(finished) -> Run:
    """A run that has gone through all steps; to be looked at only."""
    return finished[0]


@pytest.fixture
def run(tmp_path) -> Run:
    return tiny_run(None, tmp_path, ("majority", CNN))


@pytest.fixture(scope="module")
def catalog(simulated_tree, tmp_path_factory) -> pd.DataFrame:
    """With left-out files, other modes and PNGs without a quality."""
    return build_catalog(tiny_run(simulated_tree, tmp_path_factory.mktemp("home")))


# --- tables -------------------------------------------------------------------------------------------------------


def contents(run: Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(run.results_dir.iterdir())}


def test_every_table_has_the_same_bytes_after_a_round_trip(finished):
    before = contents(finished)
    assert set(before) == {f"{name}.csv" for name in TABLES} | {f"{name}.csv" for name in FOLLOWING} | {"run.json"}
    copy = replace(finished, home=finished.home / "copy")
    for name in (*TABLES, *FOLLOWING):
        write_table(copy, name, read_table(finished, name))
    assert contents(copy) == {name: data for name, data in before.items() if name != "run.json"}


def test_catalog_comes_back_as_it_was(run, catalog):
    write_table(run, "catalog", catalog)
    back = read_table(run, "catalog")
    pd.testing.assert_frame_equal(back, catalog.fillna({"mode": ""}), check_dtype=False)  # unreadable: no mode
    assert hash_catalog(back) == hash_catalog(catalog)
    assert set(back["duplicate_of"].map(type)) == {str}


def test_tables_have_unix_line_ends_on_every_system(run, catalog):
    write_table(run, "catalog", catalog)
    assert b"\r" not in (run.results_dir / "catalog.csv").read_bytes()


def test_fractions_keep_all_their_digits(run):
    numbers = [1 / 3, math.pi * 1e-9, 0.1 + 0.2]
    write_table(run, "metrics", pd.DataFrame({"seed": ["mean", "0", "1"], "value": numbers}))
    assert read_table(run, "metrics")["value"].tolist() == numbers


def test_seeds_of_metrics_are_text_and_those_of_predictions_numbers(finished):
    assert {"mean", "sd", "ensemble", "0", "1"} <= set(read_table(finished, "metrics")["seed"])
    assert set(read_table(finished, "predictions")["seed"]) == {0, 1}


@pytest.mark.parametrize("content", [None, b"", b'a,b\n"1', b"\xff\xfe\x00broken"])
def test_missing_or_broken_table_names_the_file_and_the_command(run, content):
    if content is not None:
        run.results_dir.mkdir(parents=True)
        (run.results_dir / "metrics.csv").write_bytes(content)
    with pytest.raises(PneumoniaError, match=r"metrics\.csv: missing or unreadable.*run `make run`"):
        read_table(run, "metrics")


@pytest.mark.parametrize("content", [None, "", '{"run": "real'])
def test_missing_or_broken_run_record_names_the_file_and_the_command(run, content):
    if content is not None:
        run.results_dir.mkdir(parents=True)
        (run.results_dir / "run.json").write_text(content)
    with pytest.raises(PneumoniaError, match=r"run\.json: missing or unreadable; run `make run`"):
        read_run_record(run)


# --- do they belong together? -------------------------------------------------------------------------------------


def test_results_of_a_finished_run_are_loaded(finished):
    results = load_results(finished)
    assert results.final_model == CNN
    assert len(results.catalog) == 58
    for name in TABLES:
        assert len(getattr(results, name)) > 0


def test_results_of_another_configuration_are_refused(finished):
    changed = tuple(replace(config, learning_rate=0.5) if config.is_cnn else config for config in finished.models)
    with pytest.raises(PneumoniaError, match=rf"another configuration of {CNN}; run `make run`"):
        load_results(replace(finished, models=changed))


def test_results_without_a_model_of_the_series_are_refused(finished):
    more = (*finished.models, replace(finished.models[-1], name="new_cnn"))
    with pytest.raises(PneumoniaError, match="another configuration of new_cnn"):
        load_results(replace(finished, models=more))


def test_results_of_other_radiographs_are_refused(finished):
    record, catalog = read_run_record(finished), read_table(finished, "catalog")
    check_hashes(finished, record, catalog)
    with pytest.raises(PneumoniaError, match=r"run\.json and catalog\.csv are of different radiographs"):
        check_hashes(finished, record, catalog.iloc[1:])


def test_estimate_finds_a_metric(finished):
    results = load_results(finished)
    found = results.estimate(CNN, "test", "roc_auc")
    rows = results.metrics.query("model == @CNN and split == 'test' and metric == 'roc_auc'")
    values = rows.set_index("seed")["value"]
    assert values.nunique() > 2, "the seeds must differ, or anything would pass"
    assert found.value == values["ensemble"]
    for seed in ("mean", "sd", "1"):
        assert results.estimate(CNN, "test", "roc_auc", seed=seed).value == values[seed]


def test_estimate_before_calibration_is_of_the_other_table(finished):
    results = load_results(finished)
    rows = results.metrics_uncalibrated.query("model == @CNN and split == 'test' and metric == 'brier'")
    expected = rows.set_index("seed")["value"]["ensemble"]
    assert results.estimate(CNN, "test", "brier", calibrated=False).value == expected
    assert results.estimate(CNN, "test", "brier").value != expected


def test_estimate_of_a_baseline_is_that_of_its_only_seed(finished):
    found = load_results(finished).estimate("majority", "test", "accuracy")
    assert found.value == pytest.approx(10 / 16)
    assert found.n == 16


@pytest.mark.parametrize(
    "wanted",
    [
        ("no_model", "test", "f1"),
        (CNN, "no_split", "f1"),
        (CNN, "test", "no_metric"),
        (CNN, "test", "f1", "7"),
        ("majority", "test", "f1", "sd"),
    ],
)
def test_estimate_that_is_not_there_is_an_error(finished, wanted):
    with pytest.raises(PneumoniaError, match=r"metrics\.csv: no "):
        load_results(finished).estimate(*wanted)


def test_a_measured_table_counts_only_beside_the_weights_it_was_measured_with(finished, tmp_path):
    """One that is listed in run.json by its hash, or that follows from predictions.csv and is made with metrics.csv."""
    run = replace(finished, home=tmp_path)
    shutil.copytree(finished.results_dir, run.results_dir)
    os.symlink(finished.models_dir, run.models_dir, target_is_directory=True)
    table, record = pd.DataFrame({"value": [1.0]}), read_run_record(run)
    write_measured(run, "masking", table, record["weights_hash"])
    write_measured(run, "robustness", table, "weights of long ago")
    write_table(run, "outliers", table)
    (run.results_dir / "notes.csv").touch()
    results = load_results(run)
    assert set(results.measured) == {*FOLLOWING, "masking"}
    with pytest.raises(PneumoniaError, match=r"robustness\.csv: missing or out of date"):
        results.table("robustness")


def test_a_table_whose_writing_was_interrupted_is_never_current(finished, tmp_path, monkeypatch):
    """Killed between the table and run.json: not beside these weights, nor beside those of the table before."""
    run = replace(finished, home=tmp_path)
    shutil.copytree(finished.results_dir, run.results_dir)
    write_measured(run, "masking", pd.DataFrame({"value": [1.0]}), "old weights")

    def stop(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        write = results_module.write_table
        interrupted.setattr(results_module, "write_table", lambda *table: (write(*table), stop()))
        write_measured(run, "masking", pd.DataFrame({"value": [2.0]}), "new weights")
    assert read_table(run, "masking")["value"].tolist() == [2.0]
    for digest in ("old weights", "new weights"):
        assert not is_current(run, read_run_record(run), "masking", digest)


def test_a_study_that_depends_on_more_than_radiographs_is_current_by_its_own_hash(finished, tmp_path):
    run = replace(finished, home=tmp_path)
    shutil.copytree(finished.results_dir, run.results_dir)
    os.symlink(finished.models_dir, run.models_dir, target_is_directory=True)
    table, record = pd.DataFrame({"value": [1.0]}), read_run_record(run)
    write_measured(run, "ablation", table, record["catalog_hash"])
    assert "ablation" not in load_results(run).measured
    write_measured(run, "ablation", table, hash_ablation(record))
    assert "ablation" in load_results(run).measured


def test_tables_that_lie_about_without_a_run_record_are_of_unknown_weights(finished, tmp_path):
    run = replace(finished, home=tmp_path)
    shutil.copytree(finished.results_dir, run.results_dir)
    os.symlink(finished.models_dir, run.models_dir, target_is_directory=True)
    (run.results_dir / "run.json").unlink()
    write_table(run, "masking", pd.DataFrame({"value": [1.0]}))
    records = [load_record(run, config, seed) for config in run.models for seed in run.seeds_of(config)]
    steps.make_predictions(run, read_table(run, "catalog"), records, why="scored again")
    steps.make_metrics(run)
    assert set(load_results(run).measured) == set(FOLLOWING)


# --- looks at the test split --------------------------------------------------------------------------------------


def looked_at(*weights: str) -> list[dict]:
    return [{"model": CNN, "weights_hash": digest} for digest in weights]


def test_a_look_is_recorded_once_per_weights(run):
    record_test_look(run, looked_at("a", "b"), why="first")
    record_test_look(run, looked_at("a", "b"), why="again")
    assert read_table(run, "test_looks")["why"].tolist() == ["first"]
    record_test_look(run, looked_at("a", "c"), why="retrained")
    looks = read_table(run, "test_looks")
    assert looks["why"].tolist() == ["first", "retrained"]
    assert looks["models"].tolist() == [CNN, CNN]
    assert pd.to_datetime(looks["when"]).notna().all()


def test_looks_before_the_project_stay_as_they_are(run):
    earlier = pd.DataFrame({"when": ["2025"], "models": ["probe"], "weights_hash": [""], "why": ["feasibility probe"]})
    write_table(run, "test_looks", earlier)
    record_test_look(run, looked_at("a"), why="first")
    looks = read_table(run, "test_looks")
    assert looks.iloc[0].tolist() == ["2025", "probe", "", "feasibility probe"]
    assert len(looks) == 2


# --- the run record -----------------------------------------------------------------------------------------------


def test_run_record_says_what_was_run(run, catalog):
    spent = [{"wall_seconds": 1.25, "cpu_seconds": 2.0}, {"wall_seconds": 2.5, "cpu_seconds": 3.0}]
    records = [{"weights_hash": str(index), "device": "cpu"} | row for index, row in enumerate(spent)]
    write_run_record(run, catalog, records, {}, "a machine")
    record = read_run_record(run)
    assert record["run"] == "simulated"
    assert record["config_hashes"] == {config.name: config.hash() for config in run.models}
    assert record["catalog_hash"] == hash_catalog(catalog)
    assert (record["training_wall_seconds"], record["training_cpu_seconds"]) == (3.8, 5.0)
    assert record["training_device"] == "cpu"
    assert record["versions"]["python"]
    name_final_model(run, CNN, "the rule")
    named = read_run_record(run)
    assert named.pop("metrics")["final_model"] == CNN
    assert named == record | {"final_model": CNN, "final_model_rule": "the rule"}


# --- the steps ----------------------------------------------------------------------------------------------------


def test_steps_change_nothing_when_nothing_changed(finished):
    """`make run` on a finished tree: the same bytes, and no further look at the test split."""
    before = contents(finished)
    catalog = steps.make_catalog(finished)
    records = steps.make_models(finished, catalog, say=lambda line: None)
    steps.make_predictions(finished, catalog, records, why="a second time")
    steps.make_metrics(finished)
    assert contents(finished) == before


def test_metrics_are_made_without_radiographs_and_models(finished, tmp_path):
    alone = replace(finished, home=tmp_path, data=None, cache=tmp_path / "cache")
    alone.results_dir.mkdir()
    for name in ("catalog", "history", "training", "predictions", "test_looks"):
        write_table(alone, name, read_table(finished, name))
    (alone.results_dir / "run.json").write_bytes((finished.results_dir / "run.json").read_bytes())
    steps.make_metrics(alone)
    assert contents(alone) == contents(finished)


def test_metrics_are_made_again_when_a_size_or_the_code_changes(finished, monkeypatch):
    """What they are kept by has more in it than the predictions."""
    asked = []
    monkeypatch.setattr(steps, "read_kept_final_model", lambda run, digest: asked.append(digest) or CNN)
    monkeypatch.setattr(steps, "name_final_model", lambda *_: None)
    steps.make_metrics(finished)
    count = steps.count_pixels
    monkeypatch.setattr(steps, "count_pixels", lambda catalog: count(catalog) | {"a path": 1})
    steps.make_metrics(finished)
    monkeypatch.setattr(steps, "hash_sources", lambda *_: "other code")
    steps.make_metrics(finished)
    assert len(set(asked)) == 3


def test_metrics_made_on_another_machine_leave_the_run_record_alone(finished, monkeypatch):
    """`make report` recomputes metrics from committed predictions; what trained and scored them stays what it was."""
    before = contents(finished)
    monkeypatch.setattr(results_module, "installed_versions", lambda: {"python": "4.0"})
    monkeypatch.setattr("pneumonia.models.weights.describe_device", lambda: "another machine")
    (finished.results_dir / "metrics.csv").write_text("edited by hand\n")  # so it is made again
    try:
        steps.make_metrics(finished)
        assert contents(finished) == before
    finally:
        (finished.results_dir / "run.json").write_bytes(before["run.json"])


def test_look_is_recorded_before_anyone_can_see_the_predictions(finished, tmp_path, monkeypatch):
    unlucky = replace(finished, home=tmp_path)
    os.symlink(finished.models_dir, unlucky.models_dir, target_is_directory=True)
    catalog = read_table(finished, "catalog")
    records = [json.loads(file.read_text()) for file in sorted(finished.models_dir.glob("*.json"))]
    write = results_module.write_table

    def fail_at_predictions(run, name, frame):
        if name == "predictions":
            raise PneumoniaError("predictions.csv: cannot be written (No space left on device)")
        write(run, name, frame)

    monkeypatch.setattr(steps, "write_table", fail_at_predictions)
    with pytest.raises(PneumoniaError):
        steps.make_predictions(unlucky, catalog, records, why="unlucky")
    assert read_table(unlucky, "test_looks")["why"].tolist() == ["unlucky"]


# --- a run again changes nothing ------------------------------------------------------------------------------------


def test_predictions_are_kept_where_nothing_that_they_depend_on_changed(finished, monkeypatch):
    before = contents(finished)
    records = [load_record(finished, config, seed) for config in finished.models for seed in finished.seeds_of(config)]
    monkeypatch.setattr("pneumonia.models.prediction.predict_all", lambda *_: pytest.fail("scored again"))
    monkeypatch.setattr(steps, "compute_metrics", lambda *_: pytest.fail("measured again"))
    steps.make_predictions(finished, read_table(finished, "catalog"), records, why="again")
    steps.make_metrics(finished)
    assert contents(finished) == before


@pytest.mark.parametrize(("change", "rewritten"), [(1e-6, False), (5e-3, True)])
def test_the_last_digits_of_another_processor_rewrite_nothing(finished, tmp_path, monkeypatch, change, rewritten):
    """Code that changed means scoring again; only what moves by more than the noise of processors is written."""
    run = replace(finished, home=tmp_path)
    shutil.copytree(finished.results_dir, run.results_dir)
    os.symlink(finished.models_dir, run.models_dir, target_is_directory=True)
    score = prediction.predict_pixels

    def score_elsewhere(*arguments) -> np.ndarray:
        y_prob = score(*arguments)
        return np.where(y_prob > 0.5, y_prob - change, y_prob + change)

    monkeypatch.setattr(prediction, "predict_pixels", score_elsewhere)
    monkeypatch.setattr(prediction, "hash_sources", lambda *patterns: "other code")
    records = [load_record(run, config, seed) for config in run.models for seed in run.seeds_of(config)]
    steps.make_predictions(run, read_table(run, "catalog"), records, why="elsewhere")
    steps.make_metrics(run)
    names = ("predictions.csv", "metrics.csv", "test_looks.csv")
    assert (
        (finished.results_dir / "predictions.csv").read_bytes() != (run.results_dir / "predictions.csv").read_bytes()
    ) == rewritten
    if not rewritten:
        for name in names:
            assert (finished.results_dir / name).read_bytes() == (run.results_dir / name).read_bytes()


def test_only_what_changed_is_scored_again(finished, tmp_path, monkeypatch):
    run = replace(finished, home=tmp_path)
    shutil.copytree(finished.results_dir, run.results_dir)
    os.symlink(finished.models_dir, run.models_dir, target_is_directory=True)
    records = [load_record(run, config, seed) for config in run.models for seed in run.seeds_of(config)]
    other = [record | {"weights_hash": "other"} if record["model"] == CNN else record for record in records]
    scored = []
    score = prediction.predict_all
    monkeypatch.setattr(prediction, "predict_all", lambda *these: (scored.extend(these[2]), score(*these))[1])
    steps.make_predictions(run, read_table(run, "catalog"), other, why="one network anew")
    assert [(config.name, seed) for config, seed in scored] == [(CNN, 0), (CNN, 1)]
    pd.testing.assert_frame_equal(read_table(run, "predictions"), read_table(finished, "predictions"))


def test_predictions_are_written_with_a_column_for_each_member(finished):
    table = pd.read_csv(finished.results_dir / "predictions.csv")
    assert list(table.columns[:4]) == ["path", "patient_id", "split", "label"]
    assert list(table.columns[-2:]) == [f"{CNN}-0", f"{CNN}-1"]
    assert not table.duplicated(["split", "path"]).any()
    long = read_table(finished, "predictions")
    assert lengthen(widen(long)).equals(long)
    assert long["y_prob"].notna().all()
