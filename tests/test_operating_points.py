"""Operating points reach their targets, and referral bands their coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pneumonia.config import PneumoniaError
from pneumonia.evaluation.operating_points import (
    COLUMNS,
    choose_band,
    choose_operating_points,
    compute_operating_points,
    refers,
)
from pneumonia.evaluation.scores import Scores

RNG = np.random.default_rng(5)
LABELS = np.repeat([0, 1], [400, 600])
SCORES = np.round(1 / (1 + np.exp(-(RNG.normal(size=1000) + 3.0 * LABELS - 1.5))), 6)


def test_operating_points_keep_what_they_promise_and_no_more():
    points = choose_operating_points(LABELS, SCORES)
    assert list(points) == ["screening", "balanced", "rule-in"]
    pneumonia, normal = SCORES[LABELS == 1], SCORES[LABELS == 0]
    assert (pneumonia >= points["screening"]).mean() >= 0.98 > (pneumonia >= points["screening"] + 2e-6).mean()
    assert (normal < points["rule-in"]).mean() >= 0.98 > (normal < points["rule-in"] - 2e-6).mean()
    assert points["balanced"] == 0.5


def test_operating_points_need_both_classes():
    with pytest.raises(PneumoniaError, match="only one class"):
        choose_operating_points([1, 1], [0.2, 0.4])


@pytest.mark.parametrize("coverage", [0.9, 0.95, 0.99])
def test_a_called_radiograph_is_right_as_often_as_promised(coverage):
    band = choose_band(LABELS, SCORES, coverage)
    wrong = ((band.low > SCORES) & (LABELS == 1)) | ((band.high <= SCORES) & (LABELS == 0))
    for label in (0, 1):
        assert wrong[label == LABELS].mean() <= 1 - coverage + 1e-9
    assert refers(np.array([band.low, (band.low + band.high) / 2, band.high]), band).tolist() == [True, True, False]


def test_a_higher_coverage_refers_more_once_both_classes_stay_possible():
    shares = [refers(SCORES, choose_band(LABELS, SCORES, coverage)).mean() for coverage in (0.95, 0.97, 0.99)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] < 0.6


def test_the_table_has_every_point_on_both_splits():
    rows = {"path": np.arange(1000).astype(str), "patient_id": np.arange(1000) // 2, "label": LABELS}
    frames = [
        pd.DataFrame(rows).assign(split=split, model="net", seed=seed, y_prob=SCORES)
        for split in ("validation", "validation_noise", "test")
        for seed in (0, 1)
    ]
    table = compute_operating_points(Scores.parse(pd.concat(frames)), "net", draws=50)
    assert list(table.columns) == COLUMNS
    screening = table.query("point == 'screening' and split == 'test' and metric == 'sensitivity'").iloc[0]
    assert screening["value"] >= 0.98
    assert screening["ci_low"] <= screening["value"] <= screening["ci_high"]
    strict = table.query("point == 'conformal 99 %' and split == 'test'").set_index("metric")["value"]
    assert 0 < strict["referred"] < 1
    assert strict["accuracy"] > table.query("point == 'balanced' and metric == 'accuracy'")["value"].max()
