"""Platt scaling, and how well probabilities are calibrated. Both classes always weigh the same: a prevalence of 50 %.

Arrays in, numbers out, as in metrics.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from .metrics import Values, check_scores
from .probability import to_logit

STEPS = 50  # of Newton's method for a value, from far away
FEW_STEPS = {1: 2, 2: 5}  # by number of coefficients; for a bootstrap sample, from the value of all radiographs


def fit_platt(y_true: ArrayLike, y_prob: ArrayLike) -> tuple[float, float]:
    """slope, intercept of logit -> calibrated logit (Platt, 1999), the classes weighted to the same total.

    The calibrated probability is that of a child from a group of which half have pneumonia. A slope has a bound
    (C=1e6) where the classes are separated and the likelihood has none.
    """
    y_true, y_prob = check_scores(y_true, y_prob, "calibration")
    model = LogisticRegression(C=1e6, class_weight="balanced", solver="newton-cholesky", tol=1e-8)
    fitted = model.fit(to_logit(y_prob)[:, None], y_true)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def apply_platt(y_prob: ArrayLike, slope: float, intercept: float) -> np.ndarray:
    """Probabilities (n,) after logit -> slope * logit + intercept; the logit is clipped as in `to_logit`."""
    return expit(slope * to_logit(np.asarray(y_prob, dtype=float)) + intercept)


def calibrate(y_prob: np.ndarray, calibration: pd.DataFrame, model: str, seed: int | str) -> np.ndarray:
    """Probabilities (n,) of one seed as calibration.csv changes them; without a row there they stay as they are."""
    rows = calibration[(calibration["model"] == model) & (calibration["seed"].astype(str) == str(seed))]
    return apply_platt(y_prob, *rows[["slope", "intercept"]].iloc[0]) if len(rows) else y_prob


def calibration_slope(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Slope of a logistic regression of the outcome on the logit (Cox, 1958): 1 at best, below 1 if too extreme.

    nan where the classes are separated, since no slope is steep enough, and where all scores are equal.
    """
    y_true, y_prob = check_scores(y_true, y_prob)
    positive, negative = y_prob[y_true == 1], y_prob[y_true == 0]
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return np.nan if np.ndim(weights) < 2 else np.full(len(weights), np.nan)
    logit = to_logit(y_prob)
    return _fit(y_true, np.stack([np.ones_like(logit), logit]), np.zeros_like(logit), weights)


def calibration_intercept(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """What to add to the logit, its slope fixed at 1, so that the probabilities are right on average: 0 at best.

    Calibration in the large (Van Calster et al., 2019); below 0 the probabilities are too high.
    """
    y_true, y_prob = check_scores(y_true, y_prob)
    logit = to_logit(y_prob)
    middle = -(logit[y_true == 1].mean() + logit[y_true == 0].mean()) / 2  # the start, near enough to converge
    return middle + _fit(y_true, np.ones((1, len(logit))), logit + middle, weights)


def _fit(y_true: np.ndarray, features: np.ndarray, offset: np.ndarray, weights: ArrayLike | None) -> Values:
    """The last coefficient of a logistic regression, by Newton's method: one number, or (draws,) of them.

    Args: features: (1 or 2, n). offset: (n,), a part of the logit that is taken as it is.
    """
    start = _descend(np.zeros((1, len(features))), y_true, features, offset, np.ones((1, len(y_true))), STEPS)
    if weights is None:
        return float(start[0, -1])
    weights = np.asarray(weights, dtype=float)
    steps = FEW_STEPS[len(features)] if weights.ndim > 1 else STEPS
    found = _descend(start, y_true, features, offset, np.atleast_2d(weights), steps)
    return float(found[0, -1]) if weights.ndim == 1 else found[:, -1]


def _descend(
    start: np.ndarray, y_true: np.ndarray, features: np.ndarray, offset: np.ndarray, weights: np.ndarray, steps: int
) -> np.ndarray:
    """Coefficients (draws, 1 or 2) after so many steps from `start` (draws or 1, ...); weights: (draws, n)."""
    found = start
    products = np.stack([one * other for one in features for other in features], axis=1)
    with np.errstate(all="ignore"):  # a draw without one of the classes is nan on purpose
        totals = weights @ np.stack([y_true == 0, y_true == 1], axis=1)
        weights = weights / totals[:, y_true.astype(int)]
        observed = (weights * y_true) @ features.T
        for _ in range(steps):
            chance = 1 / (1 + np.exp(-(found @ features) - offset))
            expected = weights * chance
            gradient = observed - expected @ features.T
            hessian = (expected - expected * chance) @ products
            found = found + (gradient / hessian if len(features) == 1 else _solve(hessian, gradient))
    return found


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cramer's rule for matrices of two by two, (draws, 4) and (draws, 2) -> (draws, 2); nan where singular."""
    (a, b, c, d), (x, y) = matrix.T, right.T
    return np.stack([d * x - b * y, a * y - c * x], axis=1) / (a * d - b * c)[:, None]
