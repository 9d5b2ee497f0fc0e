"""Re-calibration: drift and its interval, and how many local radiographs are enough."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pneumonia.config import PneumoniaError
from pneumonia.evaluation.calibration import apply_platt
from pneumonia.studies.external import (
    describe_recalibration,
)
from pneumonia.studies.recalibration import (
    balanced_log_loss,
    draw_sample,
    find_enough,
    fit_shift,
    measure_drift,
    measure_recalibration,
    measure_site_shift,
)

RNG = np.random.default_rng(4)


LABELS = np.repeat([0, 1], [300, 300])


LOGITS = RNG.normal(size=600) * 1.5 + 2.2 * (2 * LABELS - 1)


HONEST = apply_platt(1 / (1 + np.exp(-LOGITS)), *fit_shift(LABELS, 1 / (1 + np.exp(-LOGITS))))


PATIENTS = np.repeat(np.arange(300), 2).astype(str)


def test_a_calibrated_site_needs_no_change_and_a_shifted_one_is_corrected():
    assert fit_shift(LABELS, HONEST) == pytest.approx((1, 0), abs=0.03)
    shifted = apply_platt(HONEST, 2.0, 1.5)
    slope, intercept = fit_shift(LABELS, shifted)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert balanced_log_loss(LABELS, apply_platt(shifted, slope, intercept)) < balanced_log_loss(LABELS, shifted) - 0.05


def test_few_radiographs_cannot_upset_the_calibration():
    slope, intercept = fit_shift(np.array([0, 1]), np.array([0.01, 0.99]))
    assert 0.9 < slope < 2 and abs(intercept) < 0.2


def test_drift_is_seen_in_its_interval():
    drift = measure_drift(LABELS, apply_platt(HONEST, 1.0, 1.5), PATIENTS)
    assert drift["intercept"][0] == pytest.approx(-1.5, abs=0.1)
    assert drift["intercept"][2] < 0 < 0.5 < drift["slope"][1] < 1 < drift["slope"][2]


def test_recalibration_finds_how_many_radiographs_are_enough():
    table = measure_recalibration(LABELS, apply_platt(HONEST, 2.5, 2.5), PATIENTS)
    assert table["n"].tolist() == [0, 10, 20, 50, 100, 200]
    assert table["log_loss"].iloc[0] > table["log_loss"].iloc[3] > table["log_loss"].iloc[-1] - 0.01
    enough = find_enough(table)
    assert enough in (20, 50, 100)
    assert f"{enough} local radiographs" in describe_recalibration(table)
    assert find_enough(measure_recalibration(LABELS, HONEST, PATIENTS)) is None


def test_a_gain_within_the_spread_of_the_samples_is_none():
    table = pd.DataFrame({"n": [0, 10, 20], "log_loss": [0.30, 0.25, 0.24], "change_high": [0.0, 0.03, -0.02]})
    assert find_enough(table) == 20
    assert find_enough(table.assign(change_high=[0.0, 0.03, 0.01])) is None
    assert find_enough(table.head(1)) is None


def test_samples_are_whole_patients():
    chosen = draw_sample(PATIENTS, 11, np.random.default_rng(0))
    assert chosen.sum() == 12
    assert set(PATIENTS[chosen]).isdisjoint(PATIENTS[~chosen])


def test_sites_are_distinguished_only_where_they_differ():
    home, same = (RNG.integers(0, 256, (60, 16, 16), dtype=np.uint8) for _ in range(2))
    ids = np.arange(60)
    value, low, high = measure_site_shift(home, same, ids, ids)
    assert low < 0.5 < high
    darker = measure_site_shift(home, same // 2, ids, ids)
    assert darker[1] > 0.9
    with pytest.raises(PneumoniaError, match="fewer than five patients"):
        measure_site_shift(home, same, np.zeros(60), ids)


def test_losses_are_those_of_the_definition():
    assert balanced_log_loss(np.array([0, 1, 1]), np.array([0.5, 0.5, 0.5])) == pytest.approx(np.log(2))
    assert isinstance(measure_recalibration(LABELS[250:350], HONEST[250:350], PATIENTS[250:350]), pd.DataFrame)
