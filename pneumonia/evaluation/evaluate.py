"""Predictions -> metrics, comparisons and the final model. Nothing but the predictions frame is read."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ..config import PneumoniaError
from .metrics import (
    DECIMALS,
    HALF,
    SCORE_METRICS,
    THRESHOLD_METRICS,
    accuracy,
    apply_threshold,
    average_precision,
    bootstrap_weights,
    brier,
    choose_threshold,
    ece,
    percentile_interval,
    roc_auc,
    round_columns,
    threshold_metrics,
)
from .scores import Scores, SplitScores, is_validation
from .significance import Difference, holm, mcnemar, paired_auc_difference, paired_difference

METRIC_COLUMNS = ["model", "seed", "split", "metric", "value", "ci_low", "ci_high", "n"]
COMPARISON_COLUMNS = ["model_a", "model_b", "split", "test", *Difference._fields, "p_holm", "n"]
METRICS = (*THRESHOLD_METRICS, *(f"{name}@chosen" for name in THRESHOLD_METRICS), "threshold", *SCORE_METRICS)
CHUNK = 256  # bootstrap draws evaluated at once; bounds the memory
FINAL_MODEL_RULE = (
    "The final model is the network whose worst ROC AUC is the highest: the ROC AUC is averaged over seeds on the "
    "validation split and on each of its stress copies, and the lowest of these counts. The test split is not "
    "consulted. Of equal networks the earlier in the series wins. Networks that begin with pretrained weights are no "
    "candidates. (This last sentence was added after a look at the test split.)"
)


class Summary(NamedTuple):
    """A value and its bootstrap samples for each entry of METRICS."""

    value: np.ndarray  # (metrics,)
    samples: np.ndarray  # (metrics, draws)


def compute_metrics(scores: Scores, draws: int) -> pd.DataFrame:
    """All METRICS of every model, seed and split, with 95 % intervals over patients: the frame of metrics.csv.

    seed is "0", "1", ..., then "mean" (over seeds; its interval from the mean of each draw, all seeds seeing the same
    patients) and, of several seeds, "sd" (ddof 1, no interval) and "ensemble" (the mean probability). Intervals say how
    far other patients would move the value; seeds and the chosen threshold are taken as given.
    Raises: PneumoniaError when a model has no validation rows.
    """
    rows = []
    with threadpool_limits(1, "blas"):  # products this narrow take longer, and several times the CPU, on two threads
        for model, splits in scores.items():
            thresholds = choose_thresholds(scores.pooled(model))
            summaries = {split: _summarise_split(of_split, thresholds, draws) for split, of_split in splits.items()}
            for seed in next(iter(summaries.values())):
                for split, of_split in splits.items():
                    rows += _metric_rows(model, seed, split, summaries[split][seed], len(of_split.y_true))
    return round_columns(pd.DataFrame(rows, columns=METRIC_COLUMNS), ["value", "ci_low", "ci_high"])


def compare_models(scores: Scores, order: list[str], draws: int) -> pd.DataFrame:
    """Each model of `order` against the one before it, on test, ensemble probabilities: the frame of comparisons.csv.

    mcnemar rows: difference in accuracy at 0.5 (b - a; bootstrap interval over patients) with the exact McNemar
    p-value. roc_auc_difference rows: difference and p-value from the same bootstrap. p_holm adjusts over all rows.
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


def choose_final_model(metrics: pd.DataFrame, candidates: list[str]) -> str:
    """The candidate that FINAL_MODEL_RULE picks from a metrics frame.

    PneumoniaError: no candidates, or one that lacks a validation split that another has (no worst case to compare).
    """
    if not candidates:
        raise PneumoniaError("final model: no candidates; name at least one model that was evaluated")
    of_validation = metrics["split"].map(is_validation).astype(bool)
    rows = metrics[of_validation & (metrics["metric"] == "roc_auc") & (metrics["seed"].astype(str) == "mean")]
    table = rows.pivot(index="model", columns="split", values="value").reindex(candidates)
    for model, scores in table.iterrows():
        if scores.empty or scores.isna().any():
            missing = ", ".join(scores.index[scores.isna()]) or "validation"
            raise PneumoniaError(f"metrics.csv: {model} has no ROC AUC on {missing}; predict it or drop the candidate")
    return str(table.min(axis=1).idxmax())  # idxmax: the first of equals


def choose_thresholds(pooled: SplitScores) -> dict[str, float]:
    """seed (and "ensemble") -> the threshold chosen on validation and its stress copies together."""
    return {seed: choose_threshold(pooled.y_true, y_prob) for seed, y_prob in pooled.y_prob.items()}


def _summarise_split(scores: SplitScores, thresholds: dict[str, float], draws: int) -> dict[str, Summary]:
    """seed, "mean", "sd", "ensemble" -> summary, all from the same resampled patients."""
    weights = bootstrap_weights(scores.patient_ids, draws).astype(np.int32)
    summaries = {seed: _summarise(scores.y_true, y, thresholds[seed], weights) for seed, y in scores.y_prob.items()}
    ensemble = summaries.pop("ensemble", None)
    values = np.stack([summary.value for summary in summaries.values()])
    samples = sum(summary.samples for summary in summaries.values()) / len(summaries)
    summaries["mean"] = Summary(values.mean(axis=0), samples)
    if ensemble is not None:
        summaries["sd"] = Summary(values.std(axis=0, ddof=1), np.full_like(samples, np.nan))
        summaries["ensemble"] = ensemble
    return summaries


def _summarise(y_true: np.ndarray, y_prob: np.ndarray, threshold: float, weights: np.ndarray) -> Summary:
    chunks = (weights[start : start + CHUNK] for start in range(0, len(weights), CHUNK))
    samples = np.concatenate([_all_metrics(y_true, y_prob, threshold, chunk) for chunk in chunks], axis=1)
    samples[METRICS.index("threshold")] = np.nan  # it is chosen elsewhere and not resampled here: no interval
    return Summary(_all_metrics(y_true, y_prob, threshold, None), samples)


def _all_metrics(y_true: np.ndarray, y_prob: np.ndarray, threshold: float, weights: np.ndarray | None) -> np.ndarray:
    """METRICS in order, (metrics,) or (metrics, draws)."""
    real = None if weights is None else weights.astype(float)
    at_half, at_chosen = (threshold_metrics(y_true, y_prob, cut, real).values() for cut in (HALF, threshold))
    ranked = [metric(y_true, y_prob, weights) for metric in (roc_auc, average_precision)]
    over_all = [*ranked, *(metric(y_true, y_prob, real) for metric in (brier, ece))]
    return np.stack([*at_half, *at_chosen, np.full(np.shape(over_all[0]), threshold), *over_all])


def _metric_rows(model: str, seed: str, split: str, summary: Summary, n: int) -> list[tuple]:
    return [
        (model, seed, split, metric, value, *percentile_interval(samples), n)
        for metric, value, samples in zip(METRICS, *summary, strict=True)
    ]


def _paired_tests(a: SplitScores, b: SplitScores, draws: int) -> dict[str, Difference]:
    arguments = (a.y_true, a.ensemble, b.ensemble, a.patient_ids, draws)
    calls_a, calls_b = (apply_threshold(one.ensemble, HALF) for one in (a, b))
    return {
        "mcnemar": paired_difference(accuracy, *arguments)._replace(p_value=mcnemar(a.y_true, calls_a, calls_b)),
        "roc_auc_difference": paired_auc_difference(*arguments),
    }
