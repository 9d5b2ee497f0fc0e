"""Outliers: reproducible pictures, which the final model flags."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pneumonia.config import ROOT
from pneumonia.studies import outliers
from pneumonia.studies.outliers import CORRUPTIONS, draw_outliers


def test_outliers_are_reproducible_and_leave_their_source_unchanged(monkeypatch):
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


def test_committed_outliers_are_distinguished_from_radiographs_of_children():
    """The measured values as a lower bound, which a new final model must reach before it is committed."""
    found = pd.read_csv(ROOT / "results" / "outliers.csv").set_index("kind")
    alarms = found.loc["validation", "flagged"]
    assert alarms <= 0.05
    for kind in ("photograph", "CT slice", "noise", "inverted"):
        assert found.loc[kind, "roc_auc"] > 0.95 and found.loc[kind, "flagged"] > 10 * alarms
