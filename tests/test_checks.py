"""Outliers and heatmap checks: they tell good from bad, on pictures where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pneumonia.config import ROOT
from pneumonia.studies import outliers
from pneumonia.studies.heatmap_checks import check_agreement, check_pointing, correlate, plant_opacities
from pneumonia.studies.outliers import CORRUPTIONS, draw_outliers


def test_pointing_counts_peaks_within_the_opacity():
    masks = np.zeros((4, 64, 64), bool)
    masks[:, 10:20, 40:50] = True
    maps = np.zeros((4, 64, 64), np.float32)
    for number, (y, x) in enumerate([(15, 45), (8, 39), (40, 10), (63, 63)]):  # in it, just beside it, far, far
        maps[number, y, x] = 1
    (_, _, _, rate, low, high, n), (_, _, _, share, *_) = check_pointing("x", maps, masks)
    assert (rate, n) == (0.5, 4) and low < 0.5 < high
    assert 100 / 64**2 < share < 400 / 64**2


def test_planted_opacities_are_brighter_than_the_lungs():
    images, masks = plant_opacities(64)
    assert len(images) == len(masks) > 100 and 0.005 < masks.mean() < 0.2
    assert masks.any(axis=(1, 2)).all()


def test_correlation():
    rng = np.random.default_rng(0)
    one = rng.random((32, 32))
    assert correlate(one, one**3) == pytest.approx(1) and correlate(one, -one) == pytest.approx(-1)
    assert abs(correlate(one, rng.random((32, 32)))) < 0.2
    assert correlate(one, np.zeros((32, 32))) == 0
    (row,) = check_agreement(np.stack([one, one]), np.stack([one, -one]))
    assert row[3] == pytest.approx(0)


def test_outliers_are_the_same_every_time_and_leave_their_source_alone(monkeypatch):
    monkeypatch.setattr(outliers, "COUNT", 6)
    validation = np.random.default_rng(0).integers(0, 256, (9, 64, 64), dtype=np.uint8)
    before = validation.copy()
    first, second = (draw_outliers(validation, 64) for _ in range(2))
    assert np.array_equal(validation, before) and {*CORRUPTIONS, "photograph", "CT slice"} < set(first)
    for kind, images in first.items():
        assert images.shape == (6, 64, 64) and images.dtype == np.uint8, kind
        assert np.array_equal(images, second[kind]), kind
    assert not any(
        (first[kind] == first["upside down"][:, ::-1, ::-1]).all() for kind in CORRUPTIONS if "up" not in kind
    )


def test_committed_outliers_are_told_from_children():
    """What was measured, as a floor that a new final model has to reach before it is committed."""
    found = pd.read_csv(ROOT / "results" / "outliers.csv").set_index("kind")
    alarms = found.loc["validation", "flagged"]
    assert alarms <= 0.05
    for kind in ("photograph", "CT slice", "noise", "inverted"):
        assert found.loc[kind, "roc_auc"] > 0.95 and found.loc[kind, "flagged"] > 10 * alarms


def test_committed_heatmaps_show_what_was_learned():
    found = pd.read_csv(ROOT / "results" / "heatmap_checks.csv").set_index(["check", "method", "metric"])["value"]
    randomised = found["randomised weights"]
    learned = randomised["another seed"].item()
    assert all(value.item() < learned / 2 for method, value in randomised.groupby("method") if "randomised" in method)
    rates = found["pointing"].unstack()
    assert rates.loc["Grad-CAM", "hit rate"] > 2 * rates.loc["Grad-CAM", "share of the picture"]
