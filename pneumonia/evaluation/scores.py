"""Predictions, checked and parsed once: what every model says about every split, radiographs in order of path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..config import PneumoniaError
from .calibration import calibrate, fit_platt
from .metrics import check_scores, round_columns

PREDICTION_COLUMNS = ["path", "patient_id", "split", "label", "model", "seed", "y_prob"]
CALIBRATION_COLUMNS = ["model", "seed", "slope", "intercept"]
ENSEMBLE = "ensemble"  # beside the seeds: the mean of their probabilities
STRESS_COPIES = "stress copies"  # of validation, all together


@dataclass(frozen=True)
class SplitScores:
    """One model on one split, radiographs in order of path."""

    paths: np.ndarray  # (n,)
    patient_ids: np.ndarray  # (n,)
    y_true: np.ndarray  # (n,) in {0, 1}
    y_prob: dict[str, np.ndarray]  # seed, and "ensemble" if there are several -> (n,)
    pixels: np.ndarray  # (n,) of the original file; nan where unknown

    @property
    def ensemble(self) -> np.ndarray:
        """Mean probability over seeds, (n,); of a single seed its own."""
        return self.y_prob.get(ENSEMBLE, next(iter(self.y_prob.values())))

    @property
    def seeds(self) -> list[np.ndarray]:
        """The probabilities (n,) of each seed."""
        return [y_prob for seed, y_prob in self.y_prob.items() if seed != ENSEMBLE]

    def to_frame(self) -> pd.DataFrame:
        """path, patient_id, label and y_prob of the ensemble."""
        columns = {"path": self.paths, "patient_id": self.patient_ids, "label": self.y_true, "y_prob": self.ensemble}
        return pd.DataFrame(columns)


class Scores(Mapping[str, dict[str, SplitScores]]):
    """model -> split -> SplitScores, in the order of predictions.csv; `Scores.parse(predictions)` makes it.

    Splits come as train_fit, validation, its stress copies as they first appear, test.
    """

    def __init__(self, by_model: dict[str, dict[str, SplitScores]]):
        self._by_model = by_model

    @classmethod
    def parse(cls, predictions: pd.DataFrame, pixels: Mapping[str, float] | None = None) -> Scores:
        """Check and parse the frame of predictions.csv.

        Args: pixels: path -> pixels of the original file, where it is known.
        Raises: PneumoniaError when columns are missing, rows repeated or misaligned, a split is unknown, only one class
        is present, or a y_prob is no probability.
        """
        predictions = check_predictions(predictions)
        labels = predictions.drop_duplicates(["split", "path"]).set_index(["split", "path"])[["patient_id", "label"]]
        table = predictions.pivot(index=["split", "path"], columns=["model", "seed"], values="y_prob")
        table, splits = table.sort_index(axis=1), predictions.groupby("model", sort=False)["split"].unique()
        by_split = {split: table.loc[split].sort_index() for split in predictions["split"].unique()}
        labels = labels.assign(pixels=labels.index.get_level_values("path").map(dict(pixels or {})).astype(float))
        facts = {split: labels.loc[split].sort_index() for split in by_split}
        by_model = {}
        for model, names in splits.items():
            parts = {name: by_split[name][model].dropna(how="all").dropna(axis=1, how="all") for name in _order(names)}
            by_model[model] = {
                name: _split_scores(part, facts[name].loc[part.index], f"{model}, {name}")
                for name, part in parts.items()
            }
            if len({tuple(part.columns) for part in parts.values()}) > 1:
                raise PneumoniaError(
                    f"predictions.csv: {model} lacks a seed on some of its splits; predict all of them again"
                )
        return cls(by_model)

    def __getitem__(self, model: str) -> dict[str, SplitScores]:
        if model not in self._by_model:
            raise PneumoniaError(f"predictions.csv: no rows of model {model} to evaluate; predict it, or leave it out")
        return self._by_model[model]

    def __contains__(self, model: object) -> bool:
        return model in self._by_model

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_model)

    def __len__(self) -> int:
        return len(self._by_model)

    @property
    def models(self) -> list[str]:
        return list(self._by_model)

    @property
    def stress_copies(self) -> list[str]:
        """The splits that are stress copies of validation, as they first appear."""
        names = dict.fromkeys(split for splits in self.values() for split in splits)
        return [name for name in names if name.startswith("validation_")]

    def test(self, model: str) -> SplitScores:
        """Raises: PneumoniaError when the model has no test rows."""
        if "test" not in self[model]:
            raise PneumoniaError(f"predictions.csv: {model} has no test rows to compare; predict them, or leave it out")
        return self[model]["test"]

    def pooled(self, model: str) -> SplitScores:
        """Validation and its stress copies together: what thresholds, bands and limits are chosen on.

        Raises: PneumoniaError when the model has no validation rows.
        """
        seen = [scores for split, scores in self[model].items() if is_validation(split)]
        if not seen:
            raise PneumoniaError(
                f"predictions.csv: {model} has no validation rows to choose a threshold on; predict them"
            )
        return join_scores(seen)

    def fit_calibration(self) -> pd.DataFrame:
        """Platt scaling of every seed on validation and all its stress copies: the frame of calibration.csv.

        Both classes weigh the same. The copies count as much as validation itself, which alone sets a threshold that
        fails where radiographs come from another pipeline. A model whose probability is constant has no row.

        Raises: PneumoniaError when a model has no validation rows.
        """
        rows = []
        for model in self:
            pooled = self.pooled(model)
            for seed, y_prob in pooled.y_prob.items():
                if seed != ENSEMBLE and np.ptp(y_prob) > 0:
                    rows.append((model, seed, *fit_platt(pooled.y_true, y_prob)))
        return round_columns(pd.DataFrame(rows, columns=CALIBRATION_COLUMNS), ["slope", "intercept"])

    def calibrated(self, calibration: pd.DataFrame | None = None) -> Scores:
        """The scores after Platt scaling of every seed; the ensemble is the mean of the calibrated seeds.

        Args: calibration: as `fit_calibration` returns it, which is the default; a seed without a row stays as it is.
        """
        calibration = self.fit_calibration() if calibration is None else calibration

        def change(model: str, scores: SplitScores) -> SplitScores:
            y_prob = {
                seed: calibrate(values, calibration, model, seed)
                for seed, values in scores.y_prob.items()
                if seed != ENSEMBLE
            }
            return replace(scores, y_prob=_with_ensemble(y_prob))

        return Scores(
            {model: {name: change(model, part) for name, part in splits.items()} for model, splits in self.items()}
        )

    def ensemble(self, model: str, split: str) -> pd.DataFrame:
        """path, patient_id, label and y_prob of the ensemble on one split, or on all STRESS_COPIES together.

        No rows where it was not predicted.
        """
        splits = self._by_model.get(model, {})
        names = [name for name in (self.stress_copies if split == STRESS_COPIES else [split]) if name in splits]
        if not names:
            return pd.DataFrame(columns=["path", "patient_id", "label", "y_prob"])
        return join_scores([splits[name] for name in names]).to_frame()


def is_validation(split: str) -> bool:
    """Whether a split is validation or one of its stress copies."""
    return split == "validation" or split.startswith("validation_")


def join_scores(parts: list[SplitScores]) -> SplitScores:
    """Several splits of one model, one after the other."""
    paths, patient_ids, y_true, pixels = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("paths", "patient_ids", "y_true", "pixels")
    )
    y_prob = {seed: np.concatenate([part.y_prob[seed] for part in parts]) for seed in parts[0].y_prob}
    return SplitScores(paths, patient_ids, y_true, y_prob, pixels)


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


def _order(splits: np.ndarray) -> list[str]:
    unknown = [name for name in splits if name not in ("train_fit", "test") and not is_validation(name)]
    if unknown:
        raise PneumoniaError(f"predictions.csv: unknown split {unknown[0]}; use train_fit, validation(_*) or test")
    return sorted(splits, key=lambda name: (name == "test", name != "train_fit", name != "validation"))


def _split_scores(table: pd.DataFrame, facts: pd.DataFrame, where: str) -> SplitScores:
    """Args: table: (paths, seeds). facts: patient_id, label and pixels of the same paths."""
    if table.isna().any(axis=None):
        raise PneumoniaError(f"predictions.csv ({where}): the seeds have different radiographs; predict them all again")
    y_prob = {str(seed): table[seed].to_numpy() for seed in table.columns}
    for seed, scores in y_prob.items():
        check_scores(facts["label"].to_numpy(), scores, f"predictions.csv ({where}, seed {seed})")
    columns = (facts[name].to_numpy() for name in ("patient_id", "label"))
    return SplitScores(table.index.to_numpy(), *columns, _with_ensemble(y_prob), facts["pixels"].to_numpy())


def _with_ensemble(y_prob: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """seed -> (n,), and of several seeds their mean."""
    return y_prob | ({ENSEMBLE: np.mean(list(y_prob.values()), axis=0)} if len(y_prob) > 1 else {})
