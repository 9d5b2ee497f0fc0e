"""The final model against published figures, as far as that is possible without the calls that others made."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from .evaluation import DECIMALS, SplitScores, load_scores
from .metrics import accuracy, apply_threshold, bootstrap_weights, holm, percentile_interval, roc_auc, threshold_metrics
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
    latter, corrected over all of them). Both take n / design_effect radiographs, since several of one child tell less
    than as many children (Rao & Scott 1992, Biometrics 48: 577); a rate that is a mean over seeds is taken for that of
    one network. ROC AUC: the interval.
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


def bound_mcnemar(right_a: int, right_b: int, n: int) -> tuple[float, float]:
    """Lowest and highest exact McNemar p-value of two classifiers of which only the numbers of right calls are known.

    The more radiographs both get wrong, the fewer are discordant: the errors nest at one end, are disjoint (or as
    disjoint as n allows) at the other.
    """
    wrong_a, wrong_b = n - right_a, n - right_b
    most_shared, least_shared = min(wrong_a, wrong_b), max(0, wrong_a + wrong_b - n)
    values = [_sign_test(wrong_a - shared, wrong_b - shared) for shared in range(least_shared, most_shared + 1)]
    return min(values), max(values)


def compute_power(predictions: pd.DataFrame, model: str, draws: int) -> pd.DataFrame:
    """How many test radiographs would tell TOLD_APART apart, by three designs: the frame of power.csv.

    Paired (McNemar, formula of Connor 1987): with the share of discordant calls seen between two trainings of `model`,
    and between it and the network before it. Unpaired: two test sets, or two publications without calls. All are
    multiplied by the design effect: several radiographs of one child tell less than as many children.
    """
    a, b = TOLD_APART
    scores = load_scores(predictions, model)["test"]
    calls = scores.y_true, scores.ensemble
    samples = accuracy(*calls, bootstrap_weights(scores.patient_ids, draws))
    effect = design_effect(accuracy(*calls), samples, len(scores.y_true))
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


def design_effect(rate: float, samples: np.ndarray, n: int) -> float:
    """Variance of a rate over resampled patients, over that of n independent radiographs; at least 1."""
    independent = rate * (1 - rate) / n
    return max(1.0, float(np.var(samples)) / independent) if independent else 1.0


def discordance_of_seeds(scores: SplitScores) -> float:
    """Share of radiographs that two trainings call differently, mean over pairs; 0 for a single training."""
    seeds = [y_prob for seed, y_prob in scores.y_prob.items() if seed != "ensemble"]
    shares = [_discordance(one, other) for one, other in combinations(seeds, 2)]
    return float(np.mean(shares)) if shares else 0.0


def _discordance(one: np.ndarray, other: np.ndarray) -> float:
    return float((apply_threshold(one, 0.5) != apply_threshold(other, 0.5)).mean())


def _sign_test(one: int, other: int) -> float:
    return binomtest(one, one + other).pvalue if one + other else 1.0


def _compare_work(published: tuple, scores: SplitScores, draws: int) -> list[tuple]:
    """A row for every metric that one work states."""
    weights, y_true, y_prob = bootstrap_weights(scores.patient_ids, draws), scores.y_true, scores.ensemble
    ours, samples = (threshold_metrics(y_true, y_prob, 0.5, w) for w in (None, weights))
    rows = []
    for metric, n in (("accuracy", len(y_true)), ("sensitivity", sum(y_true == 1)), ("specificity", sum(y_true == 0))):
        stated = read_share(getattr(published, metric))
        if not np.isnan(stated):
            rate, interval = ours[metric], percentile_interval(samples[metric])
            effect = design_effect(rate, samples[metric], n)
            row = (published.work, metric, int(n), stated, rate, *interval, rate - stated, effect)
            rows.append((*row, *_test_rates(rate, stated, round(n / effect))))
    if published.roc_auc:
        stated, area = float(published.roc_auc), roc_auc(y_true, y_prob)
        interval = percentile_interval(roc_auc(y_true, y_prob, weights))
        row = (published.work, "roc_auc", len(y_true), stated, area, *interval, area - stated)
        rows.append((*row, *[np.nan] * 4))
    return rows


def _test_rates(ours: float, stated: float, n: int) -> tuple[float, float, float]:
    """p_one_sample, p_pairing_low, p_pairing_high of two rates on n independent radiographs."""
    right = round(ours * n)
    return binomtest(right, n, stated).pvalue, *bound_mcnemar(right, round(stated * n), n)


def read_share(percent: str) -> float:
    """ "91.1 ± 1.0" -> 0.911; nan where nothing is stated."""
    found = re.match(r"[\d.]+", percent)
    return float(found[0]) / 100 if found else np.nan
