"""Who is missed: sensitivity by kind of pneumonia, specificity by series of normal films, from predictions alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from .evaluation import DECIMALS, SplitScores, check_predictions, load_scores
from .metrics import apply_threshold, bootstrap_weights, percentile_interval

COLUMNS = ["model", "split", "subgroup", "metric", "value", "ci_low", "ci_high", "n", "patients"]
SPLITS = ("validation", "test")
HALF = 0.5
# What a patient's name tells (catalog.parse_name), by metric; archives such as MedMNIST name nobody: "unknown".
SUBGROUPS = {
    "sensitivity": {"bacteria": r"^person-\d+-bacteria$", "virus": r"^person-\d+-virus$"},
    "specificity": {"IM": r"^IM-\d+$", "NORMAL2-IM": r"^NORMAL2-IM-\d+$"},
}


def compute_subgroups(predictions: pd.DataFrame, draws: int) -> pd.DataFrame:
    """Share called right in every subgroup, of every model on validation and test: the frame of subgroups.csv.

    Values are means over seeds at threshold 0.5, intervals 95 % over patients, all subgroups seeing the same draws.
    "virus - bacteria" and "NORMAL2-IM - IM" are the differences, in the same units (shares of 1).
    """
    predictions = check_predictions(predictions)
    rows = []
    for model in predictions["model"].unique():
        for split, scores in load_scores(predictions, model).items():
            if split in SPLITS:
                rows += [(model, split, *row) for row in split_subgroups(scores, draws)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    shares = ["value", "ci_low", "ci_high"]
    table[shares] = table[shares].astype(float).round(DECIMALS) + 0.0
    return table


def split_subgroups(scores: SplitScores, draws: int) -> list[tuple]:
    """(subgroup, metric, value, ci_low, ci_high, n, patients) of one model on one split; empty subgroups have none."""
    weights, right = bootstrap_weights(scores.patient_ids, draws), share_right(scores)
    rows = []
    for label, metric in ((1, "sensitivity"), (0, "specificity")):
        members = name_members(scores, label, SUBGROUPS[metric])
        measured = {name: _mean(right[chosen], weights[:, chosen]) for name, chosen in members.items()}
        for name, (value, samples) in measured.items():
            rows.append((name, metric, value, *percentile_interval(samples), *_sizes(scores, members[name])))
        for a, b in pairwise(name for name in measured if name != "unknown"):
            value, samples = measured[b][0] - measured[a][0], measured[b][1] - measured[a][1]
            both = members[a] | members[b]
            rows.append((f"{b} - {a}", metric, value, *percentile_interval(samples), *_sizes(scores, both)))
    return rows


def name_members(scores: SplitScores, label: int, patterns: dict[str, str]) -> dict[str, np.ndarray]:
    """subgroup -> which radiographs (n,) bool; only subgroups that have any. The rest of the class is "unknown"."""
    patients, of_class = pd.Series(scores.patient_ids).astype(str), scores.y_true == label
    members = {name: patients.str.contains(pattern).to_numpy() & of_class for name, pattern in patterns.items()}
    members["unknown"] = of_class & ~np.any(list(members.values()), axis=0)
    return {name: chosen for name, chosen in members.items() if chosen.any()}


def share_right(scores: SplitScores) -> np.ndarray:
    """(n,) share of the seeds that call each radiograph right at 0.5."""
    seeds = [y_prob for seed, y_prob in scores.y_prob.items() if seed != "ensemble"]
    return np.mean([apply_threshold(y_prob, HALF) == (scores.y_true == 1) for y_prob in seeds], axis=0)


def _mean(right: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean and (draws,) resampled means; nan in a draw without anybody of the subgroup."""
    with np.errstate(invalid="ignore"):
        return float(right.mean()), weights @ right / weights.sum(axis=1)


def _sizes(scores: SplitScores, chosen: np.ndarray) -> tuple[int, int]:
    return int(chosen.sum()), len(set(scores.patient_ids[chosen]))
