"""Conditions: scored as in predictions, scored once, and counted as one look at test."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_runs import CNN

from pneumonia.config import PneumoniaError
from pneumonia.data.radiograph import decode
from pneumonia.data.simulate import simulate_radiograph
from pneumonia.evaluation.metrics import threshold_metrics
from pneumonia.evaluation.scores import Scores
from pneumonia.pipeline import make_study
from pneumonia.records import write_json
from pneumonia.results import is_current, read_run_record, read_table, write_run_record
from pneumonia.studies import conditions, load_results
from pneumonia.studies.conditions import (
    COLUMNS,
    Condition,
    measure_conditions,
    score_conditions,
)
from pneumonia.studies.masking import MASKS
from pneumonia.transforms.corruptions import SIDE

RNG = np.random.default_rng(3)


def test_radiographs_as_they_are_score_as_in_predictions(finished, monkeypatch):
    monkeypatch.setattr(conditions, "SIDE", 96)
    run, catalog = finished
    plain = Condition("none", 0, lambda images, digests: images)
    scored = score_conditions(run, catalog, "test", [plain])
    scores = Scores.parse(read_table(run, "predictions")).calibrated(read_table(run, "calibration"))
    assert set(scored.y_prob["none", 0]) == {"thumbnail_logistic", CNN}, "only what looks at the picture"
    for model, y_prob in scored.y_prob["none", 0].items():
        expected = pd.DataFrame(scores.test(model).seeds, columns=scores.test(model).paths)
        np.testing.assert_allclose(y_prob, expected[scored.rows["path"]], atol=0.03)


def test_a_model_with_a_window_sees_true_proportions_after_the_change(finished, monkeypatch):
    config = finished[0].model(CNN)
    members = {(replace(config, window=window), 0): None for window in (0.0, 1.25)}
    shapes, original = [(900, 600), (600, 600)], Image.fromarray(simulate_radiograph("virus", RNG, 512))
    rows = pd.DataFrame(shapes, columns=["width", "height"]).assign(sha256=["a", "b"], path=["x.png", "y.png"])
    squares = np.stack([np.asarray(original.resize(shape).resize((SIDE, SIDE))) for shape in shapes])
    seen = []
    monkeypatch.setattr("pneumonia.models.prediction.predict_pixels", lambda _, pixels: seen.append(pixels) or [0, 0])
    conditions.score_members(members, Condition("none", 0, lambda images, digests: 255 - images), squares, rows)
    for pixels, window in zip(seen, (0.0, 1.25), strict=True):
        for found, shape in zip(pixels, shapes, strict=True):
            given = 255 - np.asarray(original.resize(shape))
            assert np.abs(decode(given, "x", config.image_size, window).pixels - found.astype(int)).mean() < 2


def test_what_is_kept_is_not_scored_again(finished, monkeypatch):
    run, catalog = finished
    shown = [Condition("none", 0, lambda images, digests: images)]
    first = score_conditions(run, catalog, "validation", shown)
    monkeypatch.setattr("pneumonia.models.weights.load_trained", lambda *_: pytest.fail("scored again"))
    again = score_conditions(run, catalog, "validation", shown)
    for model, y_prob in first.y_prob["none", 0].items():
        np.testing.assert_array_equal(again.y_prob["none", 0][model], y_prob)


def test_measured_values_are_those_of_the_mean_probability():
    rows = pd.DataFrame({"label": [0, 0, 1, 1], "patient_id": list("abcd")})
    y_prob = np.array([[0.1, 0.9, 0.9, 0.9], [0.1, 0.1, 0.9, 0.2]])
    measured = measure_conditions(conditions.Scored(rows, {("x", 1): {"net": y_prob}}), draws=20, with_roc_auc=True)
    assert measured["net", "x", 1, "accuracy"].value == pytest.approx(0.75)
    assert measured["net", "x", 1, "specificity"].value == pytest.approx(0.5)  # of single seeds: 0.5 and 1
    assert measured["net", "x", 1, "roc_auc"].value == pytest.approx(1.0)  # 0.75 and 1
    assert measured["net", "x", 1, "accuracy"].seeds == 2
    assert measured["net", "x", 1, "accuracy"].samples.shape == (20,)
    assert threshold_metrics(rows["label"], y_prob[0])["accuracy"] == 0.75


def interrupt(*_) -> None:
    raise KeyboardInterrupt


def test_a_measurement_is_one_look_and_is_not_made_twice(finished, monkeypatch):
    run, catalog = finished
    monkeypatch.setattr("pneumonia.studies.masking.MASKS", {"nothing": MASKS["nothing"], "lungs": MASKS["lungs"]})
    looks = len(read_table(run, "test_looks"))
    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr("pneumonia.studies.conditions.score_members", interrupt)
        make_study(run, "masking", seeds=1)
    assert len(read_table(run, "test_looks")) == looks + 1, "recorded before anything is scored"
    table = make_study(run, "masking", seeds=1)
    assert list(table.columns) == COLUMNS and set(table["split"]) == {"validation", "test"}
    assert table.groupby("model")["seeds"].first().to_dict() == {"thumbnail_logistic": 1, CNN: 2}
    monkeypatch.setattr("pneumonia.studies.conditions.score_members", lambda *_: pytest.fail("scored again"))
    pd.testing.assert_frame_equal(make_study(run, "masking"), table)
    assert len(read_table(run, "test_looks")) == looks + 2
    assert "masking" in load_results(run).measured
    newer = tuple(replace(config, epochs=9) if config.is_cnn else config for config in run.models)
    with pytest.raises(PneumoniaError, match="made with another configuration"):
        make_study(replace(run, models=newer), "masking")  # even though the table is there


def test_without_a_final_model_only_a_limit_of_seeds_is_refused(finished, tmp_path, monkeypatch):
    """As after an `evaluate` that was interrupted between predictions and metrics."""
    run = replace(finished[0], home=tmp_path)
    shutil.copytree(finished[0].home, run.home, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setattr("pneumonia.studies.masking.MASKS", {"nothing": MASKS["nothing"]})
    record = read_run_record(run)
    del record["final_model"]
    write_json(run.results_dir / "run.json", record)
    with pytest.raises(PneumoniaError, match=r"names no final model yet; run `make report`"):
        make_study(run, "masking", again=True, seeds=1)
    pd.testing.assert_frame_equal(read_table(run, "test_looks"), read_table(finished[0], "test_looks"))
    assert len(make_study(run, "masking", again=True))


def test_a_measurement_of_other_weights_does_not_count(finished, tmp_path):
    run, catalog = finished
    make_study(run, "masking")
    before = (run.results_dir / "run.json").read_text()
    record = read_run_record(run)
    try:
        members = [{"weights_hash": "other", "wall_seconds": 1.0, "cpu_seconds": 1.0, "device": "cpu"}]
        write_run_record(run, catalog, members, {}, "a machine")
        changed = read_run_record(run)
        assert changed["measured"] == record["measured"], "a new scoring keeps what was measured"
        assert not is_current(run, changed, "masking", changed["weights_hash"])
    finally:
        (run.results_dir / "run.json").write_text(before)
    results = replace(load_results(run), measured={})
    with pytest.raises(PneumoniaError, match=r"masking.csv: missing or out of date; run its step"):
        results.table("masking")
