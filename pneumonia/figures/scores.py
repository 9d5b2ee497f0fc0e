"""What several figures need from predictions.csv and metrics.csv."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..config import ModelConfig, Run
from ..evaluation import load_scores
from ..metrics import apply_threshold
from ..results import Results

ENSEMBLE_COLUMNS = ["split", "path", "patient_id", "label", "y_prob"]
HALF = 0.5  # the threshold of every call, unless a figure says otherwise


def cnns(run: Run) -> list[ModelConfig]:
    return [config for config in run.models if config.is_cnn]


def title_of(results: Results, model: str) -> str:
    return results.run.model(model).title


def twin_splits(results: Results) -> list[str]:
    """The names of the stress copies of validation, as they first appear."""
    return [str(split) for split in results.predictions["split"].unique() if str(split).startswith("validation_")]


def compute_ensemble(results: Results, model: str, split: str) -> pd.DataFrame:
    """Mean probability over the seeds of a model on one split, or on "twins": all stress copies together.

    Returns: a frame (split, path, patient_id, label, y_prob) in order of split and path.
    """
    names = twin_splits(results) if split == "twins" else [split]
    predictions = results.predictions
    rows = predictions[(predictions["model"] == model) & predictions["split"].isin(names)]
    frames = [
        pd.DataFrame(
            {
                "split": name,
                "path": scores.paths,
                "patient_id": scores.patient_ids,
                "label": scores.y_true,
                "y_prob": scores.ensemble,
            }
        )
        for name, scores in (load_scores(rows, model).items() if len(rows) else ())
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=ENSEMBLE_COLUMNS)


def compute_counts(frame: pd.DataFrame, threshold: float = HALF) -> np.ndarray:
    """Confusion matrix of an ensemble frame: [[tn, fp], [fn, tp]], whole numbers."""
    called = apply_threshold(frame["y_prob"], threshold).astype(int)
    return np.bincount(2 * frame["label"].to_numpy(dtype=int) + called, minlength=4).reshape(2, 2)
