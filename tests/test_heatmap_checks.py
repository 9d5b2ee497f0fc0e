"""Heatmap checks: pointing, correlation, and what the committed results must show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pneumonia.config import ROOT
from pneumonia.studies.heatmap_checks import check_agreement, check_pointing, correlate, plant_opacities


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


def test_committed_heatmaps_show_what_was_learned():
    found = pd.read_csv(ROOT / "results" / "heatmap_checks.csv").set_index(["check", "method", "metric"])["value"]
    randomised = found["randomised weights"]
    learned = randomised["another seed"].item()
    assert all(value.item() < learned / 2 for method, value in randomised.groupby("method") if "randomised" in method)
    rates = found["pointing"].unstack()
    assert rates.loc["Grad-CAM", "hit rate"] > 2 * rates.loc["Grad-CAM", "share of the picture"]
