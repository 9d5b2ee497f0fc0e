"""Predictions -> metrics, comparisons and the final model. Nothing but the predictions frame is read."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..config import PneumoniaError
from .calibration import calibration_intercept, calibration_slope
from .metrics import (
    DECIMALS,
    HALF,
    SCORE_METRICS,
    THRESHOLD_METRICS,
    accuracy,
    apply_threshold,
    average_precision,
    balanced_ece,
    bootstrap_weights,
    brier,
    choose_threshold,
    draw_ensembles,
    draw_seeds,
    percentile_interval,
    roc_auc,
    round_columns,
    size_adjusted_auc,
    threshold_metrics,
)
from .probability import to_logit
from .scores import ENSEMBLE, Scores, SplitScores
from .significance import Difference, holm, mcnemar, paired_auc_difference, paired_difference

METRIC_COLUMNS = ["model", "seed", "split", "metric", "value", "ci_low", "ci_high", "n"]
COMPARISON_COLUMNS = ["model_a", "model_b", "split", "test", *Difference._fields, "p_holm", "n"]
METRICS = (*THRESHOLD_METRICS, *(f"{name}@chosen" for name in THRESHOLD_METRICS), "threshold", *SCORE_METRICS)
CHUNK = 256  # bootstrap draws evaluated at once; bounds the memory
NEARLY_BEST = 0.01  # ROC AUC
FINAL_MODEL_RULE = (
    "Of the candidates whose worst ROC AUC over the validation split and its stress copies is within 0.01 of the best, "
    "the final model is the one whose logits on validation and on its stress copies correlate best, averaged over the "
    "copies. Both are measured on the ensemble. The test split is not consulted. Candidates are networks that see true "
    "proportions and whose recipe passes the noise control, a ROC AUC of at most 0.60 (docs/protocol.md)."
)


class Summary(NamedTuple):
    """A value and its bootstrap samples for each entry of METRICS."""

    value: np.ndarray  # (metrics,)
    samples: np.ndarray  # (metrics, draws)


def compute_metrics(scores: Scores, draws: int, splits: tuple[str, ...] | None = None) -> pd.DataFrame:
    """All METRICS of every model, seed and split, with 95 % intervals: the frame of metrics.csv.

    seed is "0", "1", ..., then "mean" (over seeds) and, of several seeds, "sd" (ddof 1, no interval) and "ensemble"
    (the mean probability). Each bootstrap sample draws patients, the same for all seeds; for "mean" and "ensemble" it
    also draws as many seeds as there are. So the interval of a seed says how far other patients would move the value,
    theirs how far other patients and other seeds would. Calibration and chosen threshold are taken as given.

    Args: splits: only these; None: all.
    Raises: PneumoniaError when a model has no validation rows.
    """
    rows = []
    with threadpool_limits(1, "blas"):  # products this narrow take longer, and several times the CPU, on two threads
        for model, all_splits in scores.items():
            thresholds = choose_thresholds(scores.pooled(model))
            wanted = {split: part for split, part in all_splits.items() if splits is None or split in splits}
            summaries = {split: _summarise_split(of_split, thresholds, draws) for split, of_split in wanted.items()}
            for seed in next(iter(summaries.values()), ()):
                for split, of_split in wanted.items():
                    rows += _metric_rows(model, seed, split, summaries[split][seed], len(of_split.y_true))
    return round_columns(pd.DataFrame(rows, columns=METRIC_COLUMNS), ["value", "ci_low", "ci_high"])


def compare_models(scores: Scores, order: list[str], draws: int) -> pd.DataFrame:
    """Each model of `order` against the one before it, on test, ensemble probabilities: the frame of comparisons.csv.

    mcnemar rows: difference in accuracy at 0.5 (b - a) with the exact p-value of McNemar's test for films clustered in
    children. roc_auc_difference rows: difference and p-value from the bootstrap that gives both their intervals. It
    resamples patients alone: these ensembles are compared, not others of the same recipe. p_holm adjusts over all rows.
    PneumoniaError: a model without test rows, or two models scored on different radiographs.
    """
    test = {model: scores.test(model) for model in order}
    rows = []
    for model_a, model_b in pairwise(order):
        a, b = test[model_a], test[model_b]
        if not np.array_equal(a.paths, b.paths):
            raise PneumoniaError(f"predictions.csv: {model_a} and {model_b} differ in test rows; predict both again")
        for name, result in _paired_tests(a, b, draws).items():
            rows.append((model_a, model_b, "test", name, *result, np.nan, len(a.y_true)))
    comparisons = pd.DataFrame(rows, columns=COMPARISON_COLUMNS)
    comparisons["p_holm"] = holm(comparisons["p_value"])
    for column in ("p_value", "p_holm"):  # significant digits, not decimals: 1e-9 is small, not 0
        comparisons[column] = [float(f"{p:.{DECIMALS}g}") for p in comparisons[column]]
    return round_columns(comparisons, ["difference", "ci_low", "ci_high"])


def choose_final_model(scores: Scores, candidates: list[str]) -> str:
    """The candidate that FINAL_MODEL_RULE picks.

    Raises: PneumoniaError without candidates, or where one was not scored on a stress copy that others have.
    """
    if not candidates:
        raise PneumoniaError("final model: no candidates; name at least one model that was evaluated")
    wanted = ["validation", *scores.stress_copies]
    for model in candidates:
        if missing := [split for split in wanted if split not in scores[model]]:
            raise PneumoniaError(
                f"predictions.csv: {model} has no {', '.join(missing)}; predict it or drop the candidate"
            )
    worst = {
        model: min(roc_auc(part.y_true, part.ensemble) for part in parts_of(scores, model)) for model in candidates
    }
    good = [model for model in candidates if worst[model] >= max(worst.values()) - NEARLY_BEST]
    return max(good, key=lambda model: measure_agreement([part.ensemble for part in parts_of(scores, model)]))


def parts_of(scores: Scores, model: str) -> list[SplitScores]:
    """One model on validation, then on each of its stress copies."""
    return [scores[model][split] for split in ("validation", *scores.stress_copies)]


def measure_agreement(y_prob: list[np.ndarray]) -> float:
    """Mean correlation of the logits on validation, the first (n,), with those on each copy of the same radiographs."""
    first, *copies = map(to_logit, y_prob)
    return float(np.mean([np.corrcoef(first, copy)[0, 1] for copy in copies])) if copies else 1.0


def choose_thresholds(pooled: SplitScores) -> dict[str, float]:
    """seed (and "ensemble") -> the threshold chosen on validation and its stress copies together."""
    return {seed: choose_threshold(pooled.y_true, y_prob) for seed, y_prob in pooled.y_prob.items()}


def _summarise_split(scores: SplitScores, thresholds: dict[str, float], draws: int) -> dict[str, Summary]:
    """seed, "mean", "sd", "ensemble" -> summary, all from the same resampled patients."""
    weights = bootstrap_weights(scores.patient_ids, draws).astype(np.int32)
    drawn = draw_seeds(len(scores.seeds), draws)
    summaries = {
        seed: _summarise(scores, y_prob, thresholds[seed], weights)
        for seed, y_prob in scores.y_prob.items()
        if seed != ENSEMBLE
    }
    values, samples = (np.stack(parts) for parts in zip(*summaries.values(), strict=True))
    of_mean = samples[drawn, :, np.arange(draws)[:, None]].mean(axis=1).T
    summaries["mean"] = Summary(values.mean(axis=0), of_mean)
    if ENSEMBLE in scores.y_prob:
        summaries["sd"] = Summary(values.std(axis=0, ddof=1), np.full_like(of_mean, np.nan))
        summaries[ENSEMBLE] = _summarise_ensemble(scores, thresholds[ENSEMBLE], weights)
    return summaries


def _summarise(scores: SplitScores, y_prob: np.ndarray, threshold: float, weights: np.ndarray) -> Summary:
    chunks = (weights[start : start + CHUNK] for start in range(0, len(weights), CHUNK))
    samples = np.concatenate([_all_metrics(scores, y_prob, threshold, chunk) for chunk in chunks], axis=1)
    return Summary(_all_metrics(scores, y_prob, threshold, None), _without_threshold(samples))


def _summarise_ensemble(scores: SplitScores, threshold: float, weights: np.ndarray) -> Summary:
    """Each draw has the mean probability of its own seeds; draws of the same seeds go together."""
    samples = np.empty((len(METRICS), len(weights)))
    ensembles, way_of = draw_ensembles(np.stack(scores.seeds), len(weights))
    for way, y_prob in enumerate(ensembles):
        of_way = np.flatnonzero(way_of == way)
        for part in np.array_split(of_way, -(-len(of_way) // CHUNK)):
            samples[:, part] = _all_metrics(scores, y_prob, threshold, weights[part])
    return Summary(_all_metrics(scores, scores.ensemble, threshold, None), _without_threshold(samples))


def _without_threshold(samples: np.ndarray) -> np.ndarray:
    """The threshold is chosen elsewhere and not resampled here: no interval."""
    samples[METRICS.index("threshold")] = np.nan
    return samples


def _all_metrics(scores: SplitScores, y_prob: np.ndarray, threshold: float, weights: np.ndarray | None) -> np.ndarray:
    """METRICS in order, (metrics,) or (metrics, draws)."""
    y_true, real = scores.y_true, None if weights is None else weights.astype(float)
    at_half, at_chosen = (threshold_metrics(y_true, y_prob, cut, real).values() for cut in (HALF, threshold))
    over_all = {
        "roc_auc": roc_auc(y_true, y_prob, weights),
        "size_adjusted_auc": size_adjusted_auc(y_true, y_prob, scores.pixels, weights),
        "average_precision": average_precision(y_true, y_prob, weights),
        "brier": brier(y_true, y_prob, real),
        "ece": balanced_ece(y_true, y_prob, real),
        "calibration_intercept": calibration_intercept(y_true, y_prob, real),
        "calibration_slope": calibration_slope(y_true, y_prob, real),
    }
    at_all = np.full(np.shape(over_all["roc_auc"]), threshold)
    return np.stack([*at_half, *at_chosen, at_all, *(over_all[name] for name in SCORE_METRICS)])


def _metric_rows(model: str, seed: str, split: str, summary: Summary, n: int) -> list[tuple]:
    return [
        (model, seed, split, metric, value, *percentile_interval(samples), n)
        for metric, value, samples in zip(METRICS, *summary, strict=True)
    ]


def _paired_tests(a: SplitScores, b: SplitScores, draws: int) -> dict[str, Difference]:
    arguments = (a.y_true, a.ensemble, b.ensemble, a.patient_ids, draws)
    calls_a, calls_b = (apply_threshold(one.ensemble, HALF) for one in (a, b))
    return {
        "mcnemar": paired_difference(accuracy, *arguments)._replace(
            p_value=mcnemar(a.y_true, calls_a, calls_b, a.patient_ids)
        ),
        "roc_auc_difference": paired_auc_difference(*arguments),
    }
