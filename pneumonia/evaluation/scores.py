"""Predictions, checked and parsed: one model on one split, radiographs in order of path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import PneumoniaError
from .metrics import check_scores

PREDICTION_COLUMNS = ["path", "patient_id", "split", "label", "model", "seed", "y_prob"]


@dataclass(frozen=True)
class SplitScores:
    """One model on one split, radiographs in order of path."""

    paths: np.ndarray  # (n,)
    patient_ids: np.ndarray  # (n,)
    y_true: np.ndarray  # (n,) in {0, 1}
    y_prob: dict[str, np.ndarray]  # seed, and "ensemble" if there are several -> (n,)

    @property
    def ensemble(self) -> np.ndarray:
        """Mean probability over seeds; of a single seed its own."""
        return self.y_prob.get("ensemble", next(iter(self.y_prob.values())))


def check_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """The frame with numeric seed, label and y_prob; PneumoniaError if it breaks the contract of predictions.csv."""
    missing = [column for column in PREDICTION_COLUMNS if column not in predictions.columns]
    if missing:
        raise PneumoniaError(f"predictions.csv: column {', '.join(missing)} is missing; predict again")
    if predictions.empty:
        raise PneumoniaError("predictions.csv: no rows; predict again")
    numbers = ["label", "seed", "y_prob"]
    predictions = predictions.assign(**predictions[numbers].apply(pd.to_numeric, errors="coerce"))
    empty = [column for column in PREDICTION_COLUMNS if predictions[column].isna().any()]
    if empty:
        raise PneumoniaError(f"predictions.csv: {', '.join(empty)} has empty or unreadable (NaN) cells; predict again")
    if predictions.duplicated(["model", "seed", "split", "path"]).any():
        raise PneumoniaError("predictions.csv: a radiograph occurs twice for one model, seed and split; predict again")
    facts = predictions[["split", "path", "label", "patient_id"]].drop_duplicates()
    if facts.duplicated(["split", "path"]).any():
        path = facts.loc[facts.duplicated(["split", "path"]), "path"].iloc[0]
        raise PneumoniaError(f"predictions.csv: {path} has two labels or patients; predict all models from one catalog")
    return predictions.assign(seed=predictions["seed"].astype(int))


def load_scores(predictions: pd.DataFrame, model: str) -> dict[str, SplitScores]:
    """split -> scores of one model: train_fit, validation, its stress copies as they first appear, test."""
    rows = predictions[predictions["model"] == model]
    if rows.empty:
        raise PneumoniaError(f"predictions.csv: no rows of model {model} to evaluate; predict it, or leave it out")
    names = list(rows["split"].unique())
    unknown = [name for name in names if name not in ("train_fit", "test") and not _is_validation(name)]
    if unknown:
        raise PneumoniaError(f"predictions.csv: unknown split {unknown[0]}; use train_fit, validation(_*) or test")
    names.sort(key=lambda name: (name == "test", name != "train_fit", name != "validation"))
    splits = {name: _split_scores(rows[rows["split"] == name], f"{model}, {name}") for name in names}
    if len({tuple(scores.y_prob) for scores in splits.values()}) > 1:
        raise PneumoniaError(f"predictions.csv: {model} lacks a seed on some of its splits; predict all of them again")
    return splits


def _test_scores(predictions: pd.DataFrame, model: str) -> SplitScores:
    splits = load_scores(predictions, model)
    if "test" not in splits:
        raise PneumoniaError(f"predictions.csv: {model} has no test rows to compare; predict them, or leave it out")
    return splits["test"]


def _is_validation(split: str) -> bool:
    return split == "validation" or split.startswith("validation_")


def _split_scores(rows: pd.DataFrame, where: str) -> SplitScores:
    table = rows.pivot(index="path", columns="seed", values="y_prob").sort_index().sort_index(axis=1)
    if table.isna().any(axis=None):
        raise PneumoniaError(f"predictions.csv ({where}): the seeds have different radiographs; predict them all again")
    facts = rows.drop_duplicates("path").set_index("path").loc[table.index]
    y_prob = {str(seed): table[seed].to_numpy() for seed in table.columns}
    for seed, scores in y_prob.items():
        check_scores(facts["label"].to_numpy(), scores, f"predictions.csv ({where}, seed {seed})")
    if len(y_prob) > 1:
        y_prob["ensemble"] = table.mean(axis=1).to_numpy()
    return SplitScores(table.index.to_numpy(), facts["patient_id"].to_numpy(), facts["label"].to_numpy(), y_prob)
