"""Subgroups: the right children in the right group, shares and intervals against counts by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pneumonia.evaluation.scores import Scores
from pneumonia.studies.subgroups import COLUMNS, compute_subgroups

PATIENTS = {  # patient -> (label, probabilities of its radiographs)
    "person-1-bacteria": (1, (0.9, 0.8, 0.2)),
    "person-2-bacteria": (1, (0.7,)),
    "person-1-virus": (1, (0.6, 0.4)),
    "IM-1": (0, (0.1, 0.2)),
    "NORMAL2-IM-1": (0, (0.7, 0.1)),
    "somebody": (0, (0.3,)),
}


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    rows = [
        {"path": f"{patient}/{n}", "patient_id": patient, "split": split, "label": label, "seed": seed, "y_prob": p}
        for split in ("validation", "test", "validation_tones")
        for seed in (0, 1)
        for patient, (label, scores) in PATIENTS.items()
        for n, p in enumerate(scores)
    ]
    table = pd.DataFrame(rows).assign(model="net")
    second = (table["seed"] == 1) & (table["patient_id"] == "IM-1") & (table["path"] == "IM-1/0")
    return table.assign(y_prob=table["y_prob"].mask(second, 0.9))  # one seed is wrong about one radiograph


@pytest.fixture(scope="module")
def table(predictions) -> pd.DataFrame:
    return compute_subgroups(Scores.parse(predictions), draws=200).query("split == 'test'").set_index("subgroup")


def test_shares_are_those_counted_by_hand(table):
    expected = {"bacteria": 3 / 4, "virus": 1 / 2, "IM": 1 / 2, "NORMAL2-IM": 1 / 2, "unknown": 1.0}
    for name, share in expected.items():
        assert table.loc[name, "value"] == pytest.approx(share, abs=1e-6)
    assert table.loc["virus - bacteria", "value"] == pytest.approx(-1 / 4)
    assert table.loc["NORMAL2-IM - IM", "value"] == 0


def test_sizes_are_radiographs_and_patients(table):
    assert table[["n", "patients"]].T.to_dict("list") == {
        "bacteria": [4, 2],
        "virus": [2, 1],
        "virus - bacteria": [6, 3],
        "IM": [2, 1],
        "NORMAL2-IM": [2, 1],
        "NORMAL2-IM - IM": [4, 2],
        "unknown": [1, 1],
    }


def test_the_interval_of_two_patients_spans_them(table):
    """Either patient alone can fill a draw: 2 of 3 right, or 1 of 1."""
    assert table.loc["bacteria", ["ci_low", "ci_high"]].tolist() == pytest.approx([2 / 3, 1.0], abs=1e-6)
    assert table.loc["virus", ["ci_low", "ci_high"]].tolist() == pytest.approx([0.5, 0.5])


def test_thirds_of_the_normal_films_by_size(predictions):
    pixels = {"IM-1/0": 100, "IM-1/1": 200, "NORMAL2-IM-1/0": 300, "NORMAL2-IM-1/1": 400, "person-1-virus/0": 5}
    scores = Scores.parse(predictions, pixels)  # of somebody's film the size is unknown
    table = compute_subgroups(scores, draws=200).query("split == 'test'").set_index("subgroup")
    expected = {"small": (1 / 2, 2), "middle": (0.0, 1), "large": (1.0, 1), "large - small": (1 / 2, 3)}
    for name, (share, n) in expected.items():
        assert table.loc[name, ["metric", "value", "n"]].tolist() == ["specificity", share, n]


def test_intervals_draw_seeds_too():
    """Two seeds of which one is always right about the normal children: a draw has all of it right, or none."""
    rows = [
        {"path": f"{label}-{n}", "patient_id": f"IM-{n}" if not label else f"person-{n}-virus", "label": label}
        for label in (0, 1)
        for n in range(30)
    ]
    frames = [pd.DataFrame(rows).assign(split="test", model="net", seed=seed) for seed in (0, 1)]
    frames = [frames[0].assign(y_prob=frames[0]["label"]), frames[1].assign(y_prob=1.0)]
    table = compute_subgroups(Scores.parse(pd.concat(frames)), draws=200).set_index("subgroup")
    assert table.loc["IM", ["value", "ci_low", "ci_high"]].tolist() == [0.0, 0.0, 1.0]
    assert table.loc["virus", ["value", "ci_low", "ci_high"]].tolist() == [1.0, 1.0, 1.0]


def test_columns_and_splits(predictions):
    table = compute_subgroups(Scores.parse(predictions), draws=10)
    assert list(table.columns) == COLUMNS
    assert set(table["split"]) == {"validation", "test"}, "stress copies are not further patients"


def test_archives_without_patients_have_one_group_per_class(predictions):
    anonymous = predictions.assign(patient_id=predictions["path"].str.replace("/", "-") + "-x")
    table = compute_subgroups(Scores.parse(anonymous.assign(patient_id="x-" + anonymous["patient_id"])), draws=20)
    assert set(table["subgroup"]) == {"unknown"}
    assert np.isfinite(table["value"]).all()
