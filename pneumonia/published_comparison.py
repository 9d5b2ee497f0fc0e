"""The final model against published figures, as far as that is possible without the calls that others made."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import betainc, betaincinv
from scipy.stats import norm

from .evaluation import DECIMALS, SplitScores, load_scores
from .metrics import apply_threshold, bootstrap_weights, holm, percentile_interval, roc_auc, threshold_metrics
from .published import PUBLISHED

COLUMNS = [
    *("work", "metric", "n", "published", "ours", "ci_low", "ci_high", "difference", "design_effect"),
    *("p_one_sample", "p_holm", "p_pairing_low", "p_pairing_high", "p_pairing_holm", "verdict"),
]
POWER_COLUMNS = ["design", "discordant", "design_effect", "accuracy_a", "accuracy_b", "n_radiographs", "n_test"]
SIGNIFICANCE, POWER = 0.05, 0.80  # two-sided level of a test, and its chance to find the difference
TOLD_APART = (0.95, 0.96)  # the two accuracies of the power question


def compare_published(predictions: pd.DataFrame, model: str, draws: int) -> pd.DataFrame:
    """The ensemble of `model` on test against every published figure: the frame of published_comparisons.csv.

    Others publish rates, not calls, so no paired test is possible. What is: an exact binomial test that takes their
    figure for the truth (p_one_sample, p_holm over all of them), and the bounds of McNemar's p-value over every pairing
    that their rate allows (p_pairing_low: the errors nest; p_pairing_high: they do not overlap; p_pairing_holm: the
    latter, corrected over all of them). Both divide their counts by design_effect, since several radiographs of one
    child tell less than as many children (Rao & Scott 1992, Biometrics 48: 577). This takes it that a child's films
    cluster in the errors of others as they do in ours, and a rate that is a mean over seeds for that of one network.
    ROC AUC: the interval.
    """
    scores = load_scores(predictions, model)["test"]
    rows = [row for published in PUBLISHED for row in _compare_work(published, scores, draws)]
    table = pd.DataFrame(
        rows, columns=[name for name in COLUMNS if name not in ("p_holm", "p_pairing_holm", "verdict")]
    )
    tested = table["p_one_sample"].notna()
    for corrected, p in (("p_holm", "p_one_sample"), ("p_pairing_holm", "p_pairing_high")):
        table[corrected] = np.nan
        table.loc[tested, corrected] = holm(table.loc[tested, p])
    table["verdict"] = [judge(row) for _, row in table.iterrows()]
    for name in (name for name in COLUMNS if name.startswith("p_")):  # digits: 1e-9 is small, not 0
        table[name] = [float(f"{p:.{DECIMALS}g}") for p in table[name]]
    numbers = ["published", "ours", "ci_low", "ci_high", "difference", "design_effect"]
    table[numbers] = table[numbers].astype(float).round(DECIMALS) + 0.0
    return table[COLUMNS]


def judge(row: pd.Series) -> str:
    """What can be said of one row, in words that turn with the sign."""
    better = "above" if row["difference"] > 0 else "below"
    if np.isnan(row["p_pairing_low"]):
        inside = row["ci_low"] <= row["published"] <= row["ci_high"]
        return "inside our interval" if inside else f"outside our interval, which lies {better}"
    if row["p_pairing_holm"] < SIGNIFICANCE:
        return f"{better}, however the errors pair"
    if row["p_pairing_low"] >= SIGNIFICANCE:
        return "not distinguishable, however the errors pair"
    return f"{better}, but undecided without their calls"


def bound_mcnemar(right_a: int, right_b: int, n: int, effect: float = 1.0) -> tuple[float, float]:
    """Lowest and highest exact McNemar p-value of two classifiers of which only the numbers of right calls are known.

    The more radiographs both get wrong, the fewer are discordant: the errors nest at one end, are disjoint (or as
    disjoint as n allows) at the other. Args: effect: design effect, by which discordant calls are divided.
    """
    wrong_a, wrong_b = n - right_a, n - right_b
    most_shared, least_shared = min(wrong_a, wrong_b), max(0, wrong_a + wrong_b - n)
    pairs = [(wrong_a - shared, wrong_b - shared) for shared in range(least_shared, most_shared + 1)]
    values = [binomial_test(one / effect, (one + other) / effect, 0.5) for one, other in pairs]
    return min(values), max(values)


def binomial_test(k: float, n: float, rate: float) -> float:
    """Exact p-value, twice the smaller tail, of k of n; both may be broken numbers: counts over a design effect."""
    at_most = betainc(n - k, k + 1, 1 - rate) if k < n else 1.0
    at_least = betainc(k, n - k + 1, rate) if k > 0 else 1.0
    return float(min(1.0, 2 * min(at_most, at_least)))


def binomial_interval(k: float, n: float) -> tuple[float, float]:
    """95 % interval of the rate k / n (Clopper & Pearson 1934); as `binomial_test`, also of broken numbers."""
    low = betaincinv(k, n - k + 1, SIGNIFICANCE / 2) if k > 0 else 0.0
    return float(low), float(betaincinv(k + 1, n - k, 1 - SIGNIFICANCE / 2)) if k < n else 1.0


def compute_power(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """How many test radiographs would tell TOLD_APART apart, by three designs: the frame of power.csv.

    Paired (McNemar, formula of Connor 1987): with the share of discordant calls seen between two trainings of `model`,
    and between it and the network before it. Unpaired: two test sets, or two publications without calls. All are
    multiplied by the design effect: several radiographs of one child tell less than as many children.
    """
    a, b = TOLD_APART
    scores = load_scores(predictions, model)["test"]
    effect = design_effect(find_right(scores), scores.patient_ids)
    discordant = {"paired, two trainings of the final model": discordance_of_seeds(scores)}
    names = list(predictions["model"].unique())
    if names.index(model) > 0:
        before = names[names.index(model) - 1]
        other = load_scores(predictions, before)["test"].ensemble
        discordant[f"paired, final model and {before}"] = _discordance(scores.ensemble, other)
    rows = []
    for design, share in discordant.items():
        share = max(share, b - a)  # fewer discordant calls than the difference itself cannot be
        rows.append((design, share, effect, a, b, int(np.ceil(effect * paired_size(share, b - a))), len(scores.y_true)))
    rows.append(("unpaired", np.nan, effect, a, b, int(np.ceil(effect * unpaired_size(a, b))), len(scores.y_true)))
    return pd.DataFrame(rows, columns=POWER_COLUMNS).round(DECIMALS)


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

    Linearised: the squared sums of the residuals of each patient. Args: right: bool (n,), the calls that are right.
    """
    residuals = right - right.mean()
    independent = np.sum(residuals**2)
    clustered = pd.Series(residuals).groupby(np.asarray(patient_ids)).sum().pow(2).sum()
    return max(1.0, float(clustered / independent)) if independent else 1.0


def find_right(scores: SplitScores) -> np.ndarray:
    """bool (n,): which calls of the ensemble at threshold 0.5 are right."""
    return apply_threshold(scores.ensemble, 0.5) == (scores.y_true == 1)


def discordance_of_seeds(scores: SplitScores) -> float:
    """Share of radiographs that two trainings call differently, mean over pairs; 0 for a single training."""
    seeds = [y_prob for seed, y_prob in scores.y_prob.items() if seed != "ensemble"]
    shares = [_discordance(one, other) for one, other in combinations(seeds, 2)]
    return float(np.mean(shares)) if shares else 0.0


def _discordance(one: np.ndarray, other: np.ndarray) -> float:
    return float((apply_threshold(one, 0.5) != apply_threshold(other, 0.5)).mean())


def _compare_work(published: tuple, scores: SplitScores, draws: int) -> list[tuple]:
    """A row for every metric that one work states."""
    weights, y_true, y_prob = bootstrap_weights(scores.patient_ids, draws), scores.y_true, scores.ensemble
    samples, right, rows = threshold_metrics(y_true, y_prob, 0.5, weights), find_right(scores), []
    for metric, counted in (("accuracy", y_true >= 0), ("sensitivity", y_true == 1), ("specificity", y_true == 0)):
        stated = read_share(getattr(published, metric))
        if not np.isnan(stated):
            k, n, interval = int(right[counted].sum()), int(counted.sum()), percentile_interval(samples[metric])
            effect = design_effect(right[counted], scores.patient_ids[counted])
            tests = binomial_test(k / effect, n / effect, stated), *bound_mcnemar(k, round(stated * n), n, effect)
            rows.append((published.work, metric, n, stated, k / n, *interval, k / n - stated, effect, *tests))
    if published.roc_auc:
        stated, area = float(published.roc_auc), roc_auc(y_true, y_prob)
        interval = percentile_interval(roc_auc(y_true, y_prob, weights))
        row = (published.work, "roc_auc", len(y_true), stated, area, *interval, area - stated)
        rows.append((*row, *[np.nan] * 4))
    return rows


def read_share(percent: str) -> float:
    """ "91.1 ± 1.0" -> 0.911; nan where nothing is stated."""
    found = re.match(r"[\d.]+", percent)
    return float(found[0]) / 100 if found else np.nan
