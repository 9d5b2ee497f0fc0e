"""What to do with a probability: three operating points, and when to refer instead of deciding.

Everything is chosen on validation and its stress copies together; test only shows what came of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..config import PneumoniaError
from .metrics import (
    DECIMALS,
    HALF,
    THRESHOLD_METRICS,
    apply_threshold,
    bootstrap_weights,
    percentile_interval,
    resample_ensemble,
    threshold_metrics,
)
from .scores import Scores, SplitScores

WANTED = 0.98  # sensitivity of screening, specificity of rule-in
COVERAGES = (0.90, 0.95, 0.99)  # how often a conformal answer must contain the truth, in each class
COLUMNS = ["point", "low", "high", "split", "metric", "value", "ci_low", "ci_high", "n"]
REFERRAL_METRICS = ("referred", "accuracy", "sensitivity", "specificity")


class Band(NamedTuple):
    """Probabilities from `low` up to, but not including, `high` are referred; below NORMAL, above PNEUMONIA."""

    low: float
    high: float


def choose_operating_points(y_true: ArrayLike, y_prob: ArrayLike) -> dict[str, float]:
    """screening, balanced and rule-in -> threshold.

    Screening has the highest threshold that still finds WANTED of the children with pneumonia, rule-in the lowest that
    clears WANTED of the normal ones; both rounded, to the safe side, to 6 decimals.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, dtype=float)
    positive, negative = np.sort(y_prob[y_true == 1]), np.sort(y_prob[y_true == 0])
    if len(positive) == 0 or len(negative) == 0:
        raise PneumoniaError("operating points: only one class is present; give radiographs of both")
    missed = int((1 - WANTED) * len(positive) + 1e-9)
    alarms = int((1 - WANTED) * len(negative) + 1e-9)
    return {
        "screening": np.floor(positive[missed] * 1e6) / 1e6,
        "balanced": HALF,  # the probabilities are calibrated for it
        "rule-in": np.floor(negative[len(negative) - 1 - alarms] * 1e6 + 1) / 1e6,
    }


def choose_band(y_true: ArrayLike, y_prob: ArrayLike, coverage: float) -> Band:
    """The referral band of split conformal prediction, class by class (Vovk et al., 2005; Sadinle et al., 2019).

    A class stays possible while no more than 1 - coverage of its own calibration radiographs lie further out. Where
    exactly one class is possible it is predicted; where both are, or neither is, the radiograph is referred.

    Conformal prediction guarantees its coverage for exchangeable radiographs. Those of one patient, and a radiograph
    and its stress copies, depend on each other: here it is a rule of thumb with a measured outcome, not a guarantee.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, dtype=float)
    lowest_positive = -_conformal_quantile(-y_prob[y_true == 1], coverage)
    highest_negative = _conformal_quantile(y_prob[y_true == 0], coverage)
    low, high = sorted((lowest_positive, highest_negative))
    return Band(round(low, 6), round(high, 6))


def _conformal_quantile(scores: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) * coverage)-th smallest score, or the largest when there are too few."""
    rank = min(int(np.ceil((len(scores) + 1) * coverage)), len(scores))
    return float(np.sort(scores)[rank - 1])


def compute_operating_points(scores: Scores, model: str, draws: int) -> pd.DataFrame:
    """operating_points.csv: what each point and each band does on validation and test, for the ensemble of a model.

    Intervals are over patients and seeds. low and high are both the threshold at an operating point, and the band where
    radiographs are referred.
    """
    pooled = scores.pooled(model)
    y_true, y_prob = pooled.y_true, pooled.ensemble
    bands = {name: Band(at, at) for name, at in choose_operating_points(y_true, y_prob).items()}
    bands |= {f"conformal {100 * share:.0f} %": choose_band(y_true, y_prob, share) for share in COVERAGES}
    rows = []
    for split in ("validation", "test"):
        of_split = scores[model][split]
        weights = bootstrap_weights(of_split.patient_ids, draws)
        for point, band in bands.items():
            rows += [(point, *band, split, *row) for row in _measure(of_split, band, weights)]
    return pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)


def _measure(scores: SplitScores, band: Band, weights: np.ndarray) -> list[tuple]:
    """(metric, value, ci_low, ci_high, n) of one band on one split."""
    y_true = scores.y_true

    def measure(y_prob: np.ndarray, drawn: np.ndarray) -> dict[str, np.ndarray]:
        if band.low == band.high:
            return threshold_metrics(y_true, y_prob, band.low, drawn)
        return _measure_referral(y_true, y_prob, band, drawn)

    value = measure(scores.ensemble, np.ones((1, len(y_true))))
    samples = resample_ensemble(scores.seeds, weights.astype(float), measure)
    names = THRESHOLD_METRICS if band.low == band.high else REFERRAL_METRICS
    return [(name, float(value[name][0]), *percentile_interval(samples[name]), len(y_true)) for name in names]


def _measure_referral(y_true: np.ndarray, y_prob: np.ndarray, band: Band, weights: np.ndarray) -> dict:
    """The share referred, the rest as predicted, for each row of weights (draws, n); nan where none is left."""
    decided, right = ~refers(y_prob, band), apply_threshold(y_prob, band.high) == (y_true == 1)
    groups = {"accuracy": decided, "sensitivity": decided & (y_true == 1), "specificity": decided & (y_true == 0)}
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan on purpose
        shares = {name: weights @ (group & right) / (weights @ group) for name, group in groups.items()}
    return {"referred": 1 - weights @ decided / weights.sum(axis=1)} | shares


def refers(y_prob: ArrayLike, band: Band) -> np.ndarray:
    """Whether each probability is in the referral band."""
    return apply_threshold(y_prob, band.low) & ~apply_threshold(y_prob, band.high)
