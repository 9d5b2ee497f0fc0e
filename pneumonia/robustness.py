"""Every model on the official test split as other machines would have delivered it: results/robustness.csv."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pandas as pd

from .conditions import Condition, Measured, measure_conditions, score_conditions, tabulate_conditions
from .config import Run
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt

REFERENCE = "basic_cnn"  # whose errors are 1 in the corruption error
CLEAN, ALL = "none", "mean of all"
REALISTIC = 3  # up to this severity a hospital may well deliver it
RESAMPLING = {  # as OpenCV does it: but for "area" without antialiasing, which is what many loaders do
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
}


def build_conditions() -> list[Condition]:
    """The radiographs as they are, resampled in four ways, and under 16 corruptions of five severities."""
    plain = [Condition(CLEAN, 0, lambda images, digests: images)]
    plain += [
        Condition(f"resampled {name}", 0, lambda images, digests: images, partial(resample, method=method))
        for name, method in RESAMPLING.items()
    ]
    return plain + [
        Condition(name, severity, partial(corrupt, name=name, severity=severity))
        for name in CORRUPTIONS
        for severity in SEVERITIES
    ]


def resample(images: np.ndarray, size: int, method: int) -> np.ndarray:
    """(n, h, w) -> (n, size, size) by one of OpenCV's methods."""
    return np.stack([cv2.resize(image, (size, size), interpolation=method) for image in images])


def compute_robustness(run: Run, catalog: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Accuracy, sensitivity, specificity and ece (mean over seeds, threshold 0.5) of every model and condition.

    Rows of metric "corruption_error" are relative to REFERENCE (Hendrycks & Dietterich 2019): the errors over five
    severities, over those of REFERENCE, per corruption and as their mean; 1 is as bad, 0 is perfect.
    Returns: a frame with conditions.COLUMNS. Raises as `score_conditions`.
    """
    scored = score_conditions(run, catalog, split, build_conditions())
    measured = measure_conditions(scored, run.bootstrap_draws)
    return tabulate_conditions(measured | compute_corruption_errors(measured), split, len(scored.rows))


def compute_corruption_errors(measured: dict[tuple, Measured]) -> dict[tuple, Measured]:
    """(model, corruption or ALL, 0, "corruption_error") -> Measured, and the mean accuracy over all corruptions."""
    models = list(dict.fromkeys(model for model, *_ in measured))
    found = {}
    for model in models:
        cells = [measured[model, name, severity, "accuracy"] for name in CORRUPTIONS for severity in SEVERITIES]
        mean = np.mean([cell.value for cell in cells]), np.mean([cell.samples for cell in cells], axis=0)
        found[model, ALL, 0, "accuracy"] = Measured(float(mean[0]), mean[1], cells[0].seeds)
        if REFERENCE not in models:
            continue
        ratios = {name: _error(measured, model, name) for name in CORRUPTIONS}
        for name, (value, samples) in ratios.items():
            found[model, name, 0, "corruption_error"] = Measured(value, samples, cells[0].seeds)
        values, samples = zip(*ratios.values(), strict=True)
        found[model, ALL, 0, "corruption_error"] = Measured(
            float(np.mean(values)), np.mean(samples, axis=0), cells[0].seeds
        )
    return found


def find_worst(table: pd.DataFrame, model: str, up_to: int = REALISTIC, metric: str = "accuracy") -> pd.Series:
    """The row of the lowest `metric` of a model among corruptions of severity 1 to `up_to`."""
    rows = table.query("model == @model and metric == @metric and 1 <= severity <= @up_to")
    return rows.loc[rows["value"].idxmin()]


def describe_resampling(table: pd.DataFrame, model: str) -> tuple[str, float]:
    """(method, change of the accuracy in points) of the resampling that moves a model most from how it was trained."""
    rows = table.query("model == @model and metric == 'accuracy'").set_index("condition")["value"]
    moved = {name: 100 * (rows[f"resampled {name}"] - rows[CLEAN]) for name in RESAMPLING}
    worst = max(moved, key=lambda name: abs(moved[name]))
    return worst, float(moved[worst])


def _error(measured: dict[tuple, Measured], model: str, name: str) -> tuple[float, np.ndarray]:
    """Errors of a model over the severities of one corruption, as a share of those of REFERENCE."""
    ours, theirs = (
        [measured[who, name, severity, "accuracy"] for severity in SEVERITIES] for who in (model, REFERENCE)
    )
    values = [sum(1 - cell.value for cell in cells) for cells in (ours, theirs)]
    samples = [sum(1 - cell.samples for cell in cells) for cells in (ours, theirs)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(*values)), np.divide(*samples)
