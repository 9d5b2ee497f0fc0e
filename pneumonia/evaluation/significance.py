"""Is a difference real? Paired tests, binomial tests, corrections for many comparisons, and sample sizes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincinv
from scipy.stats import norm

from ..config import PneumoniaError
from .metrics import DRAWS_SEED, Metric, bootstrap_weights, percentile_interval, roc_auc


class Difference(NamedTuple):
    """How much more b has than a: b - a, its 95 % interval and the two-sided p-value."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float


def paired_difference(
    metric: Metric,
    y_true: ArrayLike,
    prob_a: ArrayLike,
    prob_b: ArrayLike,
    patient_ids: ArrayLike,
    draws: int,
    seed: int = DRAWS_SEED,
) -> Difference:
    """metric(b) - metric(a) on the same radiographs, bootstrapped over patients.

    The p-value is twice the smaller share of draws on either side of 0, one draw added to each, so that it is never 0
    (Davison & Hinkley 1997, ch. 4): with 2,000 draws at least 0.001.
    """
    weights = bootstrap_weights(patient_ids, draws, seed)
    difference = metric(y_true, prob_b, None) - metric(y_true, prob_a, None)
    samples = metric(y_true, prob_b, weights) - metric(y_true, prob_a, weights)
    defined = samples[~np.isnan(samples)]
    tail = min((defined <= 0).sum(), (defined >= 0).sum())
    p_value = min(1.0, 2 * (tail + 1) / (len(defined) + 1))
    return Difference(difference, *percentile_interval(defined), float(p_value))


def paired_auc_difference(
    y_true: ArrayLike, prob_a: ArrayLike, prob_b: ArrayLike, patient_ids: ArrayLike, draws: int, seed: int = DRAWS_SEED
) -> Difference:
    """ROC AUC of b minus that of a; see paired_difference."""
    return paired_difference(roc_auc, y_true, prob_a, prob_b, patient_ids, draws, seed)


def mcnemar(y_true: ArrayLike, pred_a: ArrayLike, pred_b: ArrayLike, patient_ids: ArrayLike) -> float:
    """Exact two-sided p-value for equal accuracy of two classifiers on radiographs that are clustered in children.

    The statistic is that of Obuchowski (1998, Statistics in Medicine 17: 1495): how many more radiographs b has right
    than a, summed over children. If the two are equally good they can be exchanged within any child, which turns the
    sign of its sum; the p-value is exact over all these exchanges, instead of from a normal approximation to them. With
    one radiograph a child this is the exact test of McNemar (1947).
    """
    y_true, pred_a, pred_b = (np.asarray(values).astype(int) for values in (y_true, pred_a, pred_b))
    patient_ids = np.asarray(patient_ids)
    if len(y_true) == 0 or not y_true.shape == pred_a.shape == pred_b.shape == patient_ids.shape:
        raise PneumoniaError("mcnemar: needs the same radiographs, at least one, for labels, patients and both models")
    gains = (pred_b == y_true).astype(int) - (pred_a == y_true)
    sums = pd.Series(gains).groupby(patient_ids).sum().to_numpy()
    chances = np.ones(1)  # of the sums -size, -size + 2, ..., size, so far
    for size in np.abs(sums[sums != 0]):
        kept = np.zeros(len(chances) + size)
        kept[: len(chances)] += chances / 2
        kept[size:] += chances / 2
        chances = kept
    reached = 2 * np.arange(len(chances)) - (len(chances) - 1)
    return float(min(1.0, chances[np.abs(reached) >= abs(sums.sum())].sum()))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjusted p-values, (m,), that hold the family-wise error (Holm 1979)."""
    p_values = np.asarray(p_values, dtype=float)
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise PneumoniaError("holm: p-values must lie in [0, 1] without NaN; check the comparison that gave them")
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


SIGNIFICANCE, POWER = 0.05, 0.80  # two-sided level of a test, and its chance to find the difference


def bound_mcnemar(right_a: int, right_b: int, n: int, effect: float = 1.0) -> tuple[float, float]:
    """Lowest and highest exact McNemar p-value of two classifiers of which only the accuracies are known.

    The more radiographs both get wrong, the fewer are discordant: the errors nest at one end, are disjoint (or as
    disjoint as n allows) at the other. Args: effect: design effect, by which discordant predictions are divided.
    """
    wrong_a, wrong_b = n - right_a, n - right_b
    most_shared, least_shared = min(wrong_a, wrong_b), max(0, wrong_a + wrong_b - n)
    pairs = [(wrong_a - shared, wrong_b - shared) for shared in range(least_shared, most_shared + 1)]
    values = [binomial_test(one / effect, (one + other) / effect, 0.5) for one, other in pairs]
    return min(values), max(values)


def binomial_test(k: float, n: float, rate: float) -> float:
    """Exact p-value, twice the smaller tail, of k of n.

    Unlike those of scipy.stats.binomtest, k and n need not be whole: counts are divided by a design effect.
    """
    at_most = betainc(n - k, k + 1, 1 - rate) if k < n else 1.0
    at_least = betainc(k, n - k + 1, rate) if k > 0 else 1.0
    return float(min(1.0, 2 * min(at_most, at_least)))


def binomial_interval(k: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the exact 95 % interval of the rate k / n (Clopper & Pearson 1934), each of the shape of k and n.

    scipy.stats.binomtest has it for whole numbers alone; counts divided by a design effect are none.
    """
    k, n = np.asarray(k, dtype=float), np.asarray(n, dtype=float)
    none, all_ = k <= 0, k >= n  # betaincinv is not defined there
    low = betaincinv(np.where(none, 1, k), n - k + 1, SIGNIFICANCE / 2)
    high = betaincinv(k + 1, np.where(all_, 1, n - k), 1 - SIGNIFICANCE / 2)
    return np.where(none, 0.0, low), np.where(all_, 1.0, high)


def paired_size(discordant: float, difference: float) -> float:
    """Pairs that McNemar's test needs (Connor 1987, Biometrics 43: 207)."""
    low, high = norm.ppf(1 - SIGNIFICANCE / 2), norm.ppf(POWER)
    return (low * discordant**0.5 + high * (discordant - difference**2) ** 0.5) ** 2 / difference**2


def unpaired_size(a: float, b: float) -> float:
    """Radiographs per group that a comparison of two proportions needs (normal approximation, pooled variance)."""
    low, high, mean = norm.ppf(1 - SIGNIFICANCE / 2), norm.ppf(POWER), (a + b) / 2
    spread = low * (2 * mean * (1 - mean)) ** 0.5 + high * (a * (1 - a) + b * (1 - b)) ** 0.5
    return spread**2 / (b - a) ** 2


def design_effect(right: np.ndarray, patient_ids: np.ndarray) -> float:
    """Variance of a rate when patients are drawn, over that when its radiographs were independent; at least 1.

    Linearised: the squared sums of the residuals of each patient. Args: right: bool (n,), which predictions are right.
    """
    residuals = right - right.mean()
    independent = np.sum(residuals**2)
    clustered = pd.Series(residuals).groupby(np.asarray(patient_ids)).sum().pow(2).sum()
    return max(1.0, float(clustered / independent)) if independent else 1.0
