"""Corruptions, masks and what is measured under them: drawn once, stronger with severity, kept, one look each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import CNN, train_once

from pneumonia import pipeline as steps
from pneumonia.config import PneumoniaError
from pneumonia.evaluation.metrics import threshold_metrics
from pneumonia.pipeline import make_study
from pneumonia.results import is_current, load_results, read_run_record, read_table, write_run_record
from pneumonia.studies import conditions, robustness
from pneumonia.studies.conditions import (
    COLUMNS,
    Condition,
    Measured,
    measure_conditions,
    score_conditions,
    shrink_as_trained,
)
from pneumonia.studies.masking import MASKS, hide, mask_area
from pneumonia.studies.robustness import (
    ALL,
    RESAMPLING,
    compute_corruption_errors,
    find_worst,
    find_worst_resampling,
    resample,
)
from pneumonia.transforms.corruptions import CORRUPTIONS, SEVERITIES, corrupt

DIGESTS = [f"{number:064x}"[::-1] for number in range(1, 13)]


# --- corruptions --------------------------------------------------------------------------------------------------


def test_there_are_sixteen_kinds_of_five_severities():
    assert len(CORRUPTIONS) == 16
    assert all(len(kind.amounts) == len(SEVERITIES) == 5 for kind in CORRUPTIONS.values())
    rises = [np.diff(kind.amounts) for kind in CORRUPTIONS.values()]
    assert all((rise > 0).all() or (rise < 0).all() for rise in rises), "severity goes one way"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_keep_form_and_input_and_grow(name, chests):
    before = chests.copy()
    levels = [corrupt(chests, DIGESTS, name, severity) for severity in SEVERITIES]
    np.testing.assert_array_equal(chests, before)
    assert all(level.shape == chests.shape and level.dtype == np.uint8 for level in levels)
    moved = [np.abs(level.astype(float) - chests).mean() for level in levels]
    assert moved[4] > 1.1 * moved[0] and moved[4] > 2
    assert moved == sorted(moved) or name == "window clipping", "it clips more, but these are narrow anyway"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_draw_hangs_on_the_file_alone(name, chests):
    np.testing.assert_array_equal(
        corrupt(chests[::-1], DIGESTS[::-1], name, 3)[::-1], corrupt(chests, DIGESTS, name, 3)
    )


def test_the_same_films_stay_inverted_at_a_higher_severity(chests):
    digests = [f"{number * 7919:012x}{'0' * 52}" for number in range(12)]
    inverted = [(corrupt(chests, digests, "inversion", s) != chests).any(axis=(1, 2)) for s in SEVERITIES]
    assert all((low <= high).all() for low, high in zip(inverted, inverted[1:], strict=False))
    assert inverted[-1].all()


def test_quantum_noise_has_the_variance_of_photons():
    flat = np.full((1, 200, 200), 128, np.uint8)
    noisy = corrupt(flat, DIGESTS[:1], "quantum noise", 2)
    photons = CORRUPTIONS["quantum noise"].amounts[1]
    assert noisy.std() == pytest.approx(255 * np.sqrt(128 / 255 / photons), rel=0.05)


# --- masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 224])
def test_masks_and_their_counterparts_fill_the_picture(side):
    for name in ("lungs", "border"):
        np.testing.assert_array_equal(MASKS[name](side), ~MASKS[f"all but {name}"](side))
    assert mask_area("nothing") == 0 and mask_area("whole") == 1
    assert mask_area("centre") == pytest.approx(0.25) and mask_area("border") == pytest.approx(1 - 0.8**2, abs=0.01)


def test_hidden_pixels_are_gray_and_the_others_as_they_were(chests):
    hidden, where = hide(chests, DIGESTS, "lungs"), MASKS["lungs"](64)
    assert (hidden[:, where] == 128).all()
    np.testing.assert_array_equal(hidden[:, ~where], chests[:, ~where])
    assert 0.3 < where.mean() < 0.5


# --- measuring -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(clean_tree, tmp_path_factory):
    """A finished run of the tiny series, scored at 96 px, which is what its files have."""
    trained, _, records = train_once(clean_tree, clean_tree.parent / "trained")
    run = replace(trained, home=tmp_path_factory.mktemp("conditions"))
    run.models_dir.symlink_to(trained.models_dir, target_is_directory=True)
    catalog = steps.make_catalog(run)
    steps.make_models(run, catalog, say=lambda line: None)
    steps.make_predictions(run, catalog, records, why="the test of the conditions")
    steps.make_metrics(run)
    return run, catalog


def test_radiographs_as_they_are_score_as_in_predictions(finished, monkeypatch):
    monkeypatch.setattr(conditions, "SIDE", 96)
    run, catalog = finished
    plain = Condition("none", 0, lambda images, digests: images)
    scored = score_conditions(run, catalog, "test", [plain])
    predictions = read_table(run, "predictions").query("split == 'test'")
    assert set(scored.y_prob["none", 0]) == {"thumbnail_logistic", CNN}, "only what looks at the picture"
    for model, y_prob in scored.y_prob["none", 0].items():
        expected = predictions[predictions["model"] == model].pivot(index="seed", columns="path", values="y_prob")
        np.testing.assert_allclose(y_prob, expected[scored.rows["path"]], atol=0.01)


def test_what_is_kept_is_not_scored_again(finished, monkeypatch):
    run, catalog = finished
    shown = [Condition("none", 0, lambda images, digests: images)]
    first = score_conditions(run, catalog, "validation", shown)
    monkeypatch.setattr("pneumonia.models.weights.load_trained", lambda *_: pytest.fail("scored again"))
    again = score_conditions(run, catalog, "validation", shown)
    for model, y_prob in first.y_prob["none", 0].items():
        np.testing.assert_array_equal(again.y_prob["none", 0][model], y_prob)


def test_measured_values_are_means_over_seeds():
    rows = pd.DataFrame({"label": [0, 0, 1, 1], "patient_id": list("abcd")})
    y_prob = np.array([[0.1, 0.9, 0.9, 0.9], [0.1, 0.1, 0.9, 0.2]])
    measured = measure_conditions(conditions.Scored(rows, {("x", 1): {"net": y_prob}}), draws=20, with_roc_auc=True)
    assert measured["net", "x", 1, "accuracy"].value == pytest.approx(0.75)
    assert measured["net", "x", 1, "specificity"].value == pytest.approx(0.75)
    assert measured["net", "x", 1, "roc_auc"].value == pytest.approx((0.75 + 1.0) / 2)
    assert measured["net", "x", 1, "accuracy"].samples.shape == (20,)
    assert threshold_metrics(rows["label"], y_prob[0])["accuracy"] == 0.75


def made_up(errors: dict[str, float]) -> dict:
    """Every corruption and severity costs a model the same error."""
    return {
        (model, name, severity, "accuracy"): Measured(1 - error, np.full(5, 1 - error), 2)
        for model, error in errors.items()
        for name in CORRUPTIONS
        for severity in SEVERITIES
    }


def test_corruption_errors_are_relative_to_the_basic_network():
    found = compute_corruption_errors(made_up({"basic_cnn": 0.2, "net": 0.05}))
    assert found["net", ALL, 0, "corruption_error"].value == pytest.approx(0.25)
    assert found["basic_cnn", "blur", 0, "corruption_error"].value == pytest.approx(1)
    assert found["net", ALL, 0, "accuracy"].value == pytest.approx(0.95)
    alone = compute_corruption_errors(made_up({"net": 0.05}))
    assert ("net", ALL, 0, "corruption_error") not in alone


def test_the_worst_realistic_case_and_the_resampling_are_found():
    rows = [("net", "blur", s, "accuracy", 0.9 - s / 10) for s in SEVERITIES]
    rows += [("net", "none", 0, "accuracy", 0.95)] + [
        ("net", f"resampled {m}", 0, "accuracy", 0.95) for m in RESAMPLING
    ]
    table = pd.DataFrame(rows, columns=["model", "condition", "severity", "metric", "value"])
    table.loc[table["condition"] == "resampled nearest", "value"] = 0.93
    assert find_worst(table, "net")["severity"] == 3
    assert find_worst_resampling(table, "net") == ("nearest", pytest.approx(-2.0))


def test_resampling_goes_to_the_size_of_the_model(chests):
    for method in RESAMPLING.values():
        assert resample(chests, 32, method).shape == (12, 32, 32)
    assert shrink_as_trained(chests, 32).shape == (12, 32, 32)


def test_a_measurement_is_one_look_and_is_not_made_twice(finished, monkeypatch):
    run, catalog = finished
    monkeypatch.setattr("pneumonia.studies.masking.MASKS", {"nothing": MASKS["nothing"], "lungs": MASKS["lungs"]})
    looks = len(read_table(run, "test_looks"))
    table = make_study(run, "masking", seeds=1)
    assert list(table.columns) == COLUMNS and set(table["split"]) == {"validation", "test"}
    assert table.groupby("model")["seeds"].first().to_dict() == {"thumbnail_logistic": 1, CNN: 2}
    monkeypatch.setattr("pneumonia.studies.conditions.score_members", lambda *_: pytest.fail("scored again"))
    pd.testing.assert_frame_equal(make_study(run, "masking"), table)
    assert len(read_table(run, "test_looks")) == looks + 1
    assert "masking" in load_results(run).measured


def test_a_measurement_of_other_weights_does_not_count(finished, tmp_path):
    run, catalog = finished
    make_study(run, "masking")
    before = (run.results_dir / "run.json").read_text()
    record = read_run_record(run)
    try:
        members = [{"weights_hash": "other", "wall_seconds": 1.0, "cpu_seconds": 1.0, "device": "cpu"}]
        write_run_record(run, catalog, members, "a machine")
        changed = read_run_record(run)
        assert changed["measured"] == record["measured"], "a new scoring keeps what was measured"
        assert not is_current(run, changed, "masking")
    finally:
        (run.results_dir / "run.json").write_text(before)
    results = replace(load_results(run), measured={})
    with pytest.raises(PneumoniaError, match=r"masking.csv: missing or out of date; run its step"):
        results.table("masking")


def test_every_condition_is_named_once():
    named = [(condition.name, condition.severity) for condition in robustness.build_conditions()]
    assert len(named) == len(set(named)) == 1 + 4 + 16 * 5
