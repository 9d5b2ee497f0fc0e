"""Learning curve, Pareto grid and three outputs, in miniature: trained, scored, resumed; and the fitted laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import CNN

from pneumonia import pipeline as steps
from pneumonia.config import KINDS, PneumoniaError
from pneumonia.data.catalog import check_no_patient_overlap, select_used
from pneumonia.results import load_results, read_table
from pneumonia.studies import STUDIES, learning_curve, pareto, three_class
from pneumonia.studies.learning_curve import extrapolate, fit_power_law, power_law, reduce_catalog
from pneumonia.studies.pareto import find_front


@pytest.fixture(scope="module")
def base(finished):
    """A finished run of the tiny series, its catalog, and the recipe of the studies in miniature."""
    run, catalog = finished
    return run, catalog, replace(run.model(CNN), augmentations=("aspect", "flip"), epochs=1, seeds=())


def quiet(line: str) -> None:
    """Say nothing."""


def make_twice(run, name, study, monkeypatch) -> pd.DataFrame:
    """A study made once and asked for again: the second time neither trains nor looks."""
    place, small = f"pneumonia.studies.{name}.STUDY", replace(STUDIES[name].load(), networks=lambda base: study)
    monkeypatch.setattr(place, small)
    looks = len(read_table(run, "test_looks"))
    table = steps.make_study(run, name, say=quiet)
    monkeypatch.setattr(place, replace(small, compute=lambda *_, **__: pytest.fail("made again")))
    pd.testing.assert_frame_equal(steps.make_study(run, name, say=quiet), table)
    assert len(read_table(run, "test_looks")) == looks + 1
    assert read_table(run, "test_looks")["why"].iloc[-1] == small.looks_at_test
    pd.testing.assert_frame_equal(load_results(run).table(name), table)
    return table


def test_learning_curve(base, monkeypatch):
    run, _, tiny = base
    study = replace(learning_curve.curve_run(run, tiny, fractions=(0.5, 1.0)), seeds=(1,))
    assert [config.epochs for config in study.models] == [2, 1], "every fraction gets the same number of steps"
    table = make_twice(run, "learning_curve", study, monkeypatch)
    assert list(table.columns) == learning_curve.COLUMNS
    assert {"validation", "test", "validation_exchange"} <= set(table["split"])
    assert set(table["seed"]) == {"1", "mean"}
    sizes = table.groupby("fraction")["patients"].first()
    assert sizes[0.5] < sizes[1.0]
    monkeypatch.setattr("pneumonia.models.training.train_one", lambda *_: pytest.fail("trained what was there"))
    learning_curve.train_curve(study, base[1], quiet)


def test_reduced_catalogs_keep_whole_patients_and_all_else(base):
    _, catalog, _ = base
    half, other = (reduce_catalog(catalog, 0.5, seed) for seed in (0, 1))
    check_no_patient_overlap(half)
    kept, used = select_used(half), select_used(catalog)
    for split in ("validation", "test"):
        assert (kept["split"] == split).sum() == (used["split"] == split).sum()
    train, all_train = kept[kept["split"] == "train_fit"], used[used["split"] == "train_fit"]
    assert 0.3 < len(train) / len(all_train) <= 0.5
    whole = all_train[all_train["patient_id"].isin(set(train["patient_id"]))]
    assert set(whole["path"]) == set(train["path"])
    assert set(select_used(other)["path"]) != set(kept["path"]), "another seed draws other patients"
    assert reduce_catalog(catalog, 1.0, 0).equals(catalog)


def test_a_power_law_is_found_again():
    patients = np.array([150.0, 300, 750, 1500, 3000])
    law = fit_power_law(patients, power_law(patients, 0.03, 0.2, 0.7))
    assert law == pytest.approx([0.03, 0.2, 0.7], rel=0.05)


def test_the_next_point_costs_what_the_law_says():
    patients, rng = np.array([150.0, 300, 750, 1500, 3000]), np.random.default_rng(0)
    rows = [
        {
            "split": "test",
            "metric": "accuracy",
            "seed": str(seed),
            "patients": n,
            "value": 1 - error - rng.normal(0, 5e-4),
        }
        for seed in range(3)
        for n, error in zip(patients, power_law(patients, 0.0, 0.25, 0.5), strict=True)
    ]
    found = extrapolate(pd.DataFrame(rows))
    error = power_law(3000, 0.0, 0.25, 0.5)
    expected = 100 * (0.25 / (error - 0.01)) ** 2  # the law solved by hand
    assert found["next_point"][0] == pytest.approx(expected, rel=0.3)
    assert found["exponent"][1] <= found["exponent"][0] <= found["exponent"][2]


def test_pareto(base, monkeypatch):
    run, _, tiny = base
    grid = (("build_half_cnn", 32, 1),)
    table = make_twice(run, "pareto", pareto.pareto_run(run, tiny, grid), monkeypatch)
    assert list(table.columns) == pareto.COLUMNS
    assert set(table["width"]) == {0.5} and table["parameters"].max() < 888_673 / 3, "a third of the deep CNN"
    both = pareto.add_series(table, load_results(run), "validation", "accuracy")
    assert set(both["model"]) == {*table["model"], CNN}


def test_the_front_is_what_nothing_beats():
    table = pd.DataFrame({"cpu_seconds": [1, 2, 3, 4, 2], "value": [0.5, 0.7, 0.6, 0.8, 0.65]})
    assert find_front(table).tolist() == [True, True, False, True, False]


def test_three_class(base, monkeypatch):
    run, catalog, tiny = base
    study = replace(three_class.three_class_run(run, tiny), seeds=(0,))
    study = replace(study, models=tuple(replace(config, seeds=(0,)) for config in study.models))
    table = make_twice(run, "three_class", study, monkeypatch)
    assert list(table.columns) == three_class.COLUMNS
    three = table.query("model == 'three_class' and split == 'test'").set_index("metric")["value"]
    for kind in KINDS:
        assert sum(three[f"{kind} as {other}"] for other in KINDS) == pytest.approx(1, abs=1e-5)
    assert set(table.query("model == 'two_class'")["metric"]) == {"accuracy", "sensitivity", "specificity", "roc_auc"}
    monkeypatch.setattr(three_class, "fit_three_class", lambda *_: pytest.fail("trained what was there"))
    monkeypatch.setattr("pneumonia.models.training.train_one", lambda *_: pytest.fail("trained what was there"))
    three_class.train_members(study, catalog, quiet)


def test_outputs_are_counted_by_hand():
    kinds = np.array([0, 0, 1, 1, 2, 2])
    calls = np.array([0, 1, 1, 2, 2, 0])
    output = np.full((6, 3), 0.1)
    output[np.arange(6), calls] = 0.8
    found = three_class.measure_outputs(kinds, output, np.ones((2, 6)))
    assert found["sensitivity"][0] == pytest.approx(3 / 4) and found["specificity"][0] == pytest.approx(1 / 2)
    assert found["roc_auc"][0] == pytest.approx(5 / 8)
    assert found["accuracy of three"][0] == pytest.approx(3 / 6)
    assert found["bacteria as virus"][0] == pytest.approx(1 / 2)
    assert found["virus as NORMAL"][1] == pytest.approx([1 / 2, 1 / 2])


def test_files_that_name_no_kind_cannot_be_trained_on(base):
    with pytest.raises(PneumoniaError, match="kind unknown is unknown; use files that name the kind"):
        three_class.kind_labels(base[1].assign(kind="unknown"))
