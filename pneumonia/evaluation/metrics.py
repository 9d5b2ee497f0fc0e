"""How good the scores are: metrics at a threshold, metrics over all thresholds, bootstrap intervals over patients.

Arrays in, numbers out; no file is read here. Everywhere `y_true` is (n,) in {0, 1}, `y_prob` is (n,) in [0, 1] and
`weights` is None, (n,) or (draws, n). With (draws, n) a metric returns (draws,) values at once, which is what makes
2,000 bootstrap draws cheap. An undefined value (ppv when nothing is predicted positive) is nan, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..config import CLASS_NAMES, PneumoniaError

THRESHOLD_METRICS = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "balanced_accuracy")
SCORE_METRICS = (
    "roc_auc",
    "size_adjusted_auc",
    "average_precision",
    "brier",
    "ece",
    "calibration_intercept",
    "calibration_slope",
)
HALF = 0.5  # the threshold of every prediction, unless a figure says otherwise
ECE_BINS = 15  # as in Guo et al. 2017
SIZES = 5  # groups of radiographs of similar size in size_adjusted_auc
DRAWS_SEED = 2018  # one seed for every split and model, so that all of them see the same resampled patients
INTERVAL = (2.5, 97.5)  # percentiles of a 95 % interval
DECIMALS = 6  # of every published value: far below the intervals, and the CSV is the same to the byte on every machine

Values = float | np.ndarray  # one number, or (draws,) of them
Metric = Callable[[ArrayLike, ArrayLike, ArrayLike | None], Values]


def check_scores(y_true: ArrayLike, y_prob: ArrayLike, where: str = "scores") -> tuple[np.ndarray, np.ndarray]:
    """Both as (n,) float arrays. PneumoniaError (from `where`): empty, one class, misaligned, no probabilities."""
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, dtype=float)
    if y_true.ndim != 1 or y_true.shape != y_prob.shape:
        raise PneumoniaError(f"{where}: {y_true.shape} labels but {y_prob.shape} scores; give one per radiograph")
    if len(y_true) == 0:
        raise PneumoniaError(f"{where}: no radiographs to score; run the step that predicts them again")
    if not np.isin(y_true, (0, 1)).all():
        raise PneumoniaError(f"{where}: labels must be 0 or 1 ({' or '.join(CLASS_NAMES)}); correct the catalog")
    if np.all(y_true == y_true[0]):
        name = CLASS_NAMES[int(y_true[0])]
        raise PneumoniaError(f"{where}: only the class {name} is present; metrics need both, so add the other")
    if not ((y_prob >= 0) & (y_prob <= 1)).all():  # also catches NaN
        raise PneumoniaError(f"{where}: y_prob must lie in [0, 1] without NaN; retrain or predict that model again")
    return y_true.astype(float), y_prob


def apply_threshold(y_prob: ArrayLike, threshold: float) -> np.ndarray:
    """Which radiographs are predicted to be PNEUMONIA. The only place where a probability becomes a decision."""
    return np.asarray(y_prob) >= threshold


def threshold_metrics(
    y_true: ArrayLike, y_prob: ArrayLike, threshold: float = HALF, weights: ArrayLike | None = None
) -> dict[str, Values]:
    """The THRESHOLD_METRICS at one operating point, in that order.

    sensitivity, specificity, ppv and npv are nan when their denominator is 0; f1 is nan where ppv or sensitivity is
    (scikit-learn gives 0 when nothing is predicted positive), balanced_accuracy where sensitivity or specificity is.
    """
    y_true, y_prob = check_scores(y_true, y_prob)
    positive, predicted = y_true == 1, apply_threshold(y_prob, threshold)
    cells = [positive & predicted, ~positive & predicted, ~positive & ~predicted, positive & ~predicted]
    cells = np.stack(cells, axis=1).astype(float)
    tp, fp, tn, fn = np.moveaxis(_as_weights(weights, len(y_true)) @ cells, -1, 0)
    sensitivity, specificity, ppv = _ratio(tp, tp + fn), _ratio(tn, tn + fp), _ratio(tp, tp + fp)
    f1 = np.where(np.isnan(ppv + sensitivity), np.nan, _ratio(2 * tp, 2 * tp + fp + fn))
    accuracy, npv = _ratio(tp + tn, tp + fp + tn + fn), _ratio(tn, tn + fn)
    values = (accuracy, sensitivity, specificity, ppv, npv, f1, (sensitivity + specificity) / 2)
    return {name: _plain(value) for name, value in zip(THRESHOLD_METRICS, values, strict=True)}


def accuracy(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Share of radiographs predicted right at threshold 0.5."""
    return threshold_metrics(y_true, y_prob, HALF, weights)["accuracy"]


def roc_auc(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Probability that a PNEUMONIA scores above a NORMAL, ties counting one half (Hanley & McNeil 1982)."""
    return _plain(_ratio(*_count_pairs(*check_scores(y_true, y_prob), weights)))


def size_adjusted_auc(
    y_true: ArrayLike, y_prob: ArrayLike, pixels: ArrayLike, weights: ArrayLike | None = None
) -> Values:
    """ROC AUC among radiographs of similar size, so that recognising the size counts for less (not for nothing).

    Only pairs within the same fifth of the pixel count are compared, each pair weighing the same: the mean of the five
    ROC AUC, weighted by their pairs of a PNEUMONIA and a NORMAL (a covariate-adjusted AUC: Janes & Pepe, 2009).

    Args: pixels: (n,) pixels of the original file; nan, which leaves a radiograph out, where unknown.
    """
    y_true, y_prob = check_scores(y_true, y_prob)
    groups, counted = group_by_size(pixels, SIZES), []
    for group in range(SIZES):
        chosen = groups == group
        of_group = None if weights is None else np.asarray(weights)[..., chosen]
        counted.append(_count_pairs(y_true[chosen], y_prob[chosen], of_group))
    return _plain(_ratio(*(sum(counts) for counts in zip(*counted, strict=True))))


def group_by_size(pixels: ArrayLike, count: int) -> np.ndarray:
    """(n,) int, the group of each radiograph: from 0, the smallest, to count - 1; -1 where the size is nan.

    The groups are as equal in number as ties allow: a size is never split.
    """
    pixels = np.asarray(pixels, dtype=float)
    known = ~np.isnan(pixels)
    if not known.any():
        return np.full(len(pixels), -1)
    edges = np.quantile(pixels[known], np.arange(1, count) / count)
    return np.where(known, np.searchsorted(edges, pixels), -1)


def average_precision(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Mean ppv over the steps in sensitivity, without interpolation (the definition of scikit-learn)."""
    (positive, positive_weights), (negative, negative_weights) = _rank_classes(*check_scores(y_true, y_prob), weights)
    found = _cumulate(positive_weights)
    tp = found[..., _count_from(positive, positive, "right")]
    predicted = tp + _cumulate(negative_weights)[..., _count_from(negative, positive, "right")]
    # Before the first drawn radiograph none is positive: no step in sensitivity, so 0 keeps it out of the sum.
    ppv = tp / (predicted + (predicted == 0))
    return _plain(_ratio(np.einsum("...i,...i->...", positive_weights, ppv), found[..., -1]))


def brier(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Mean squared distance between probability and outcome, 0 at best (Brier 1950)."""
    y_true, y_prob = check_scores(y_true, y_prob)
    weights = _as_weights(weights, len(y_true))
    return _plain(_ratio(weights @ (y_prob - y_true) ** 2, weights.sum(axis=-1)))


def weigh_classes_equally(y_true: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Weights (n,) or (draws, n) changed so that either class holds half of their sum: a prevalence of 50 %."""
    y_true = np.asarray(y_true)
    weights = _as_weights(weights, len(y_true)).astype(float)
    totals = np.stack([weights @ (y_true == label) for label in (0, 1)], axis=-1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan on purpose: a draw without one of the classes
        return weights / (2 * totals[..., y_true.astype(int)])


def ece(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Expected calibration error: mean gap between observed frequency and mean y_prob (Guo et al. 2017, binary case).

    ECE_BINS equal-width bins of y_prob, open below as in Guo. It is biased upwards, the more so in a bootstrap sample,
    so the percentile interval of a well calibrated model may lie above its own estimate.
    """
    y_true, y_prob = check_scores(y_true, y_prob)
    weights = _as_weights(weights, len(y_true))
    bins = np.digitize(y_prob, np.linspace(0, 1, ECE_BINS + 1)[1:-1], right=True)
    gaps = np.eye(ECE_BINS)[bins] * (y_true - y_prob)[:, None]
    return _plain(_ratio(np.abs(weights @ gaps).sum(axis=-1), weights.sum(axis=-1)))


def balanced_ece(y_true: ArrayLike, y_prob: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """`ece` at a prevalence of 50 %, which calibrated probabilities refer to; nan without one of the classes."""
    return ece(y_true, y_prob, weigh_classes_equally(y_true, weights))


def choose_threshold(y_true: ArrayLike, y_prob: ArrayLike) -> float:
    """The threshold of highest balanced accuracy (Youden's J, Youden 1950).

    Candidates lie midway between neighbouring scores (0 and 1 count as scores), rounded to 6 decimals so that the
    published threshold is the applied one. Of equally good ones the nearest to 0.5 is taken, then the lower.
    """
    y_true, y_prob = check_scores(y_true, y_prob)
    scores = np.unique(np.r_[0.0, y_prob, 1.0])
    candidates = np.unique(((scores[1:] + scores[:-1]) / 2).round(6))
    positives, negatives = np.sort(y_prob[y_true == 1]), np.sort(y_prob[y_true == 0])
    tp = len(positives) - np.searchsorted(positives, candidates)
    tn = np.searchsorted(negatives, candidates)
    youden = tp * len(negatives) + tn * len(positives)  # whole numbers, so that ties are exact
    best = candidates[youden == youden.max()]
    return float(best[np.abs(best - HALF).round(6).argmin()])


def bootstrap_weights(patient_ids: ArrayLike, draws: int, seed: int = DRAWS_SEED) -> np.ndarray:
    """How often each radiograph occurs in each bootstrap sample: (draws, n) whole numbers as float32.

    Every draw takes as many patients as there are, with replacement, each with all of its radiographs
    (cluster bootstrap: Field & Welsh 2007). Equal patients and seed give equal draws, in whatever order rows come.
    """
    patient_ids = np.asarray(patient_ids)
    if draws < 1 or patient_ids.size == 0:
        raise PneumoniaError(f"bootstrap: {draws} draws of {patient_ids.size} radiographs; give at least one of each")
    return _draw_weights(tuple(patient_ids.tolist()), draws, seed)


@lru_cache(maxsize=4)  # every model asks for those of the same three splits
def _draw_weights(patient_ids: tuple, draws: int, seed: int) -> np.ndarray:
    patients, row_patient = np.unique(np.asarray(patient_ids), return_inverse=True)
    size = len(patients)
    drawn = np.random.default_rng(seed).integers(size, size=(draws, size))
    drawn += np.arange(draws)[:, None] * size
    counts = np.bincount(drawn.ravel(), minlength=draws * size).astype(np.float32).reshape(draws, size)
    weights = counts[:, row_patient]
    weights.flags.writeable = False
    return weights


def draw_seeds(seeds: int, draws: int) -> np.ndarray:
    """Which seeds each bootstrap sample takes, with replacement: int (draws, seeds), independent of the patients.

    The same for every model of so many seeds.
    """
    return np.random.default_rng([DRAWS_SEED, seeds]).integers(seeds, size=(draws, seeds))


def draw_ensembles(y_prob: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean probabilities of the seeds that each bootstrap sample takes (`draw_seeds`), each way of taking once.

    Args: y_prob: (seeds, n). Returns: (ways, n), of 5 seeds 126 ways, and which of them each draw takes, (draws,).
    """
    drawn = np.sort(draw_seeds(len(y_prob), draws), axis=1)
    ways, way_of = np.unique(drawn, axis=0, return_inverse=True)
    return np.stack([y_prob[way].mean(axis=0) for way in ways]), way_of.ravel()


def resample_ensemble(
    seeds: Sequence[np.ndarray], weights: np.ndarray, compute: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What `compute` gives in every bootstrap sample, each of which takes seeds as well as children.

    Args:
        seeds: the probabilities of each seed, (seeds, n).
        weights: of `bootstrap_weights`, (draws, n).
        compute: (y_prob (n,), weights (some draws, n)) -> name -> (those draws, ...).
    Returns: name -> (draws, ...).
    """
    ensembles, way_of = draw_ensembles(np.stack(seeds), len(weights))
    samples: dict[str, np.ndarray] = {}
    for way, y_prob in enumerate(ensembles):
        of_way = way_of == way
        for name, values in compute(y_prob, weights[of_way]).items():
            samples.setdefault(name, np.full((len(weights), *np.shape(values)[1:]), np.nan))[of_way] = values
    return samples


def percentile_interval(samples: ArrayLike) -> tuple[float, float]:
    """The 95 % percentile interval (Efron & Tibshirani 1993), nan ignored; (nan, nan) if all are nan."""
    samples = np.asarray(samples)
    samples = samples[~np.isnan(samples)]
    if len(samples) == 0:
        return math.nan, math.nan
    low, high = np.percentile(samples, INTERVAL)
    return float(low), float(high)


def compute_counts(frame: pd.DataFrame, threshold: float = HALF) -> np.ndarray:
    """Confusion matrix of an ensemble frame: [[tn, fp], [fn, tp]], whole numbers."""
    predicted = apply_threshold(frame["y_prob"], threshold).astype(int)
    return np.bincount(2 * frame["label"].to_numpy(dtype=int) + predicted, minlength=4).reshape(2, 2)


def round_columns(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The frame with `columns` as they are published: DECIMALS digits, and no "-0.0"."""
    return frame.assign(**(frame[columns].astype(float).round(DECIMALS) + 0.0))


def _as_weights(weights: ArrayLike | None, n: int) -> np.ndarray:
    """Weights as float64, (n,) or (draws, n); None weighs every radiograph alike."""
    return np.ones(n) if weights is None else np.asarray(weights, dtype=float)


def _count_pairs(y_true: np.ndarray, y_prob: np.ndarray, weights: ArrayLike | None) -> tuple[Values, Values]:
    """Weight of the pairs of a PNEUMONIA and a NORMAL in which the PNEUMONIA scores higher, and of all pairs."""
    (positive, positive_weights), (negative, negative_weights) = _rank_classes(y_true, y_prob, weights)
    found = _cumulate(positive_weights)
    above, tied = _count_from(positive, negative, "left"), _count_from(positive, negative, "right")
    outranking = found[..., above] if (above == tied).all() else (found[..., above] + found[..., tied]) / 2
    won = np.einsum("...i,...i->...", negative_weights, outranking, dtype=float)
    return won, found[..., -1] * negative_weights.sum(axis=-1, dtype=float)


def _rank_classes(y_true: np.ndarray, y_prob: np.ndarray, weights: ArrayLike | None) -> list[tuple]:
    """Of PNEUMONIA, then of NORMAL: the scores (m,) from the highest down, and their weights (..., m)."""
    whole = weights is not None and np.issubdtype(np.asarray(weights).dtype, np.integer)  # exact, and faster to add up
    weights = np.asarray(weights) if whole else _as_weights(weights, len(y_true))
    order = np.argsort(-y_prob, kind="stable")
    classes = (order[y_true[order] == label] for label in (1, 0))
    return [(y_prob[chosen], weights[..., chosen]) for chosen in classes]


def _cumulate(weights: np.ndarray) -> np.ndarray:
    """(..., m) -> (..., m + 1), the sum of the first 0, 1, ... weights, whole if they are."""
    sums = np.zeros((*weights.shape[:-1], weights.shape[-1] + 1), weights.dtype)
    np.cumsum(weights, axis=-1, out=sums[..., 1:])
    return sums


def _count_from(scores: np.ndarray, at: np.ndarray, side: str) -> np.ndarray:
    """How many of `scores`, sorted from the highest down, lie above each of `at` ("left"), or there too ("right")."""
    return np.searchsorted(-scores, -at, side)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan on purpose
        return np.asarray(numerator) / np.asarray(denominator)


def _plain(values: np.ndarray) -> Values:
    return float(values) if np.ndim(values) == 0 else values
