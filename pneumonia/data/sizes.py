"""How many pixels the original files have: a stretch to a square can be undone, and says nothing by itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from ..config import ROOT

TABLE = ROOT / "data" / "original_sizes.csv"  # path, width, height of the 5,856 files of the archive; data/README.md


@cache
def read_original_sizes(table: Path = TABLE) -> dict[str, tuple[int, int]]:
    """path within the archive -> (width, height) of the original file in pixels; empty where there is no table."""
    if not table.exists():
        return {}
    rows = pd.read_csv(table)
    return dict(zip(rows["path"], zip(rows["width"].tolist(), rows["height"].tolist(), strict=True), strict=True))


def find_original_sizes(rows: pd.DataFrame) -> np.ndarray:
    """Width and height of the original of every catalog row, int (n, 2).

    A square file is a stretched copy where the table knows its name; any other file is its own original.
    """
    own = rows[["width", "height"]].to_numpy(dtype=int)
    known = read_original_sizes()
    return np.array(
        [
            known.get(path, (width, height)) if width == height else (width, height)
            for path, (width, height) in zip(rows["path"], own.tolist(), strict=True)
        ],
        dtype=int,
    ).reshape(-1, 2)


def count_pixels(rows: pd.DataFrame) -> dict[str, int]:
    """path -> pixels of the original file of every catalog row; without those of square files that are in no table.

    Such a file may be a stretched copy, whose own size says nothing.
    """
    known, sizes = read_original_sizes(), find_original_sizes(rows)
    return {
        path: int(width * height)
        for path, (width, height) in zip(rows["path"], sizes, strict=True)
        if width != height or path in known
    }


FOLDS, MOST = 5, 10  # of the cross-fit; the largest weight of an example, as a multiple of the mean


def weigh_by_size(rows: pd.DataFrame) -> np.ndarray:
    """Inverse propensity of the class of each catalog row given its original width and height: (n,), mean 1.

    With these weights size says little about the class, and there is little to gain from recognising it. The propensity
    is a logistic regression on splines of log width and log height, fitted without the patients it is used on; both
    classes get the same total (Robins et al., 2000: stabilised inverse probability weights).
    """
    labels = rows["label"].to_numpy()
    model = make_pipeline(
        SplineTransformer(n_knots=5), LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    )
    features, groups = np.log(find_original_sizes(rows)), rows["patient_id"]
    propensity = cross_val_predict(
        model, features, labels, groups=groups, cv=GroupKFold(FOLDS), method="predict_proba"
    )[np.arange(len(rows)), labels]
    weights = 1 / propensity
    for label in (0, 1):
        of_class = labels == label
        weights[of_class] = np.minimum(weights[of_class] / weights[of_class].mean(), MOST)
        weights[of_class] *= len(rows) / 2 / weights[of_class].sum()
    return weights


def effective_sample_size(weights: np.ndarray) -> float:
    """How many equally weighted examples are as good (Kish, 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
