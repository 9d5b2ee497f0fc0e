"""Learning curve: trained in miniature, scored, resumed; the fitted power law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_runs import make_study_twice, tiny_recipe

from pneumonia.data.catalog import check_no_patient_overlap, select_used
from pneumonia.studies import learning_curve
from pneumonia.studies.learning_curve import extrapolate, fit_power_law, power_law, reduce_catalog


@pytest.fixture(scope="module")
def base(finished):
    """A finished tiny run, its catalog, and the recipe that the study varies."""
    run, catalog = finished
    return run, catalog, tiny_recipe(run)


def test_learning_curve(base, monkeypatch):
    run, _, tiny = base
    study = replace(learning_curve.curve_run(run, tiny, fractions=(0.5, 1.0)), seeds=(1,))
    assert [config.epochs for config in study.models] == [2, 1], "every fraction gets the same number of steps"
    table = make_study_twice(run, "learning_curve", study, monkeypatch)
    assert list(table.columns) == learning_curve.COLUMNS
    assert {"validation", "test", "validation_shape"} <= set(table["split"])
    assert set(table["seed"]) == {"1", "mean"}
    sizes = table.groupby("fraction")["patients"].first()
    assert sizes[0.5] < sizes[1.0]
    monkeypatch.setattr("pneumonia.models.training.train_one", lambda *_: pytest.fail("trained what was there"))
    learning_curve.train_curve(study, base[1], lambda line: None)


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


def test_a_power_law_is_recovered():
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
