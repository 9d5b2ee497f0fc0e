"""Another site: calibration drift, how different its films are, and how many of them re-calibration needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..config import PneumoniaError
from ..evaluation.calibration import apply_platt
from ..evaluation.metrics import DRAWS_SEED, bootstrap_weights, percentile_interval, roc_auc, threshold_metrics
from ..evaluation.probability import to_logit

SAMPLE_SIZES = (10, 20, 50, 100, 200, 500, 1000)  # radiographs with a known diagnosis, for re-calibration
REPEATS = 40  # random samples of each size
FIT_DRAWS = 200  # bootstrap samples of a fit: each takes a few milliseconds
ENOUGH = 0.1  # a sample is enough when it leaves at most this share of what re-calibration can gain
RECALIBRATION_COLUMNS = ["n", "repeats", "log_loss", "change_low", "change_high", "accuracy", "slope", "intercept"]


def fit_shift(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """slope, intercept of logit -> re-calibrated logit, shrunk towards (1, 0), which is no change.

    The pull is that of one standard normal prior on slope - 1 and on intercept: ten radiographs cannot throw the model
    over, hundreds can. Both classes get the same total weight, as in calibration.fit_platt.
    """
    logit, weights = to_logit(y_prob), np.ones(len(y_true)) if weights is None else weights
    totals = [max(weights[y_true == label].sum(), 1e-9) for label in (0, 1)]
    balanced = weights * weights.sum() / 2 / np.where(y_true == 1, totals[1], totals[0])
    sign = 2 * np.asarray(y_true) - 1

    def loss(change: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * ((1 + change[0]) * logit + change[1])
        pull = -sign * balanced * expit(-margin)
        gradient = np.array([pull @ logit, pull.sum()]) + change
        return float(balanced @ np.logaddexp(0, -margin) + change @ change / 2), gradient

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B").x
    return float(1 + found[0]), float(found[1])


def balanced_log_loss(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Mean log loss (nats) of the two classes: 0 at best, 0.693 for a coin toss."""
    chance = np.clip(np.where(y_true == 1, y_prob, 1 - y_prob), 1e-6, 1)
    return float(-np.mean([np.log(chance[y_true == label]).mean() for label in (0, 1)]))


def measure_drift(y_true: np.ndarray, y_prob: np.ndarray, patient_ids: np.ndarray) -> dict[str, tuple]:
    """ "slope" and "intercept" that this site would need, each (value, ci_low, ci_high); (1, 0) is no drift."""
    weights = bootstrap_weights(patient_ids, FIT_DRAWS)
    both = [w for w in weights if all(w[y_true == label].sum() for label in (0, 1))]
    drawn = np.array([fit_shift(y_true, y_prob, w) for w in both])
    value = fit_shift(y_true, y_prob)
    return {name: (value[i], *percentile_interval(drawn[:, i])) for i, name in enumerate(("slope", "intercept"))}


def measure_recalibration(y_true: np.ndarray, y_prob: np.ndarray, patient_ids: np.ndarray) -> pd.DataFrame:
    """Balanced log loss and accuracy on the rest of the site after fit_shift on n of its radiographs.

    Whole patients are drawn, REPEATS times, at most half of the site. n = 0 is the model as it is. change_low and
    change_high: the middle 95 % of the repeats of what fit_shift changes in the log loss of the very same rest.
    Returns: a frame with RECALIBRATION_COLUMNS.
    """
    rng, rows = np.random.default_rng(DRAWS_SEED), [(0, *_judge([_score(y_true, y_prob, 1.0, 0.0)]))]
    for n in (size for size in SAMPLE_SIZES if size <= len(y_true) // 2):
        scores = []
        for _ in range(REPEATS):
            chosen = draw_sample(patient_ids, n, rng)
            sides = [y_true[chosen], y_true[~chosen]]
            if all(len(np.unique(side)) == 2 for side in sides):
                change = fit_shift(y_true[chosen], y_prob[chosen])
                scores.append(_score(y_true[~chosen], y_prob[~chosen], *change))
        if scores:
            rows.append((n, *_judge(scores)))
    return pd.DataFrame(rows, columns=RECALIBRATION_COLUMNS).round(6)


def draw_sample(patient_ids: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(radiographs,) bool: random patients, one after the other, until at least n radiographs are chosen."""
    patients, index, sizes = np.unique(patient_ids, return_inverse=True, return_counts=True)
    order = rng.permutation(len(patients))
    taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), n)) + 1]
    return np.isin(index, taken)


def find_enough(table: pd.DataFrame) -> int | None:
    """The smallest sample that gains for certain, within ENOUGH of the gain of the largest one; None: none gains.

    For certain: in the middle 95 % of the repeats the log loss falls.
    """
    losses, highest = (table.set_index("n")[name] for name in ("log_loss", "change_high"))
    before, after = losses.loc[0], losses.iloc[-1]
    enough = (losses <= after + ENOUGH * (before - after)) & (highest < 0)
    return int(losses.index[enough][0]) if enough.iloc[-1] else None


def measure_site_shift(home: np.ndarray, away: np.ndarray, home_ids: np.ndarray, away_ids: np.ndarray) -> tuple:
    """ROC AUC (value, ci_low, ci_high) at which a logistic regression distinguishes the films of two sites.

    0.5: not distinguished; 1: always. Cross-validated by patient. Args: home, away: thumbnails, uint8 (n, h, w).
    Raises: PneumoniaError when a site has fewer than five patients.
    """
    if min(len(set(home_ids)), len(set(away_ids))) < 5:
        raise PneumoniaError("site against site: fewer than five patients on one side; add radiographs")
    features = np.concatenate([images.reshape(len(images), -1) / 255 for images in (home, away)])
    site = np.repeat([0, 1], [len(home), len(away)])
    patients = np.concatenate([np.char.add("home ", home_ids.astype(str)), np.char.add("away ", away_ids.astype(str))])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced"))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=DRAWS_SEED)
    y_prob = cross_val_predict(model, features, site, groups=patients, cv=folds, method="predict_proba")[:, 1]
    samples = roc_auc(site, y_prob, bootstrap_weights(patients, 500))
    return roc_auc(site, y_prob), *percentile_interval(samples)


def _score(y_true: np.ndarray, y_prob: np.ndarray, slope: float, intercept: float) -> tuple:
    changed = apply_platt(y_prob, slope, intercept)
    before, after = (balanced_log_loss(y_true, each) for each in (y_prob, changed))
    return after, after - before, threshold_metrics(y_true, changed)["accuracy"], slope, intercept


def _judge(scores: list[tuple]) -> tuple:
    losses, changes, *others = np.array(scores).T
    return len(scores), losses.mean(), *percentile_interval(changes), *(values.mean() for values in others)
