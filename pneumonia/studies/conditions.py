"""Every model on the same radiographs under many conditions (corrupted, resampled, masked).

Radiographs are changed at corruptions.SIDE pixels, stretched to a square, and only then brought to each model's own
size and window, as a file would be; the window is that of the original, whose shape is known.
A model that does not look at the picture (majority class, file metadata) is left out: nothing here can move it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..config import ModelConfig, Run, short_hash
from ..data.dataset import load_radiographs
from ..data.radiograph import find_window
from ..data.sizes import find_original_sizes
from ..evaluation.calibration import calibrate
from ..evaluation.metrics import (
    HALF,
    balanced_ece,
    bootstrap_weights,
    percentile_interval,
    roc_auc,
    round_columns,
    threshold_metrics,
)
from ..records import load_record, save_atomically
from ..results import read_table
from ..transforms.corruptions import SIDE, VERSION

COLUMNS = ["model", "split", "condition", "severity", "metric", "value", "ci_low", "ci_high", "n", "seeds"]
Boxes = list[tuple[float, float, float, float]]  # left, top, right, bottom in pixels, of each image
Shrink = Callable[[np.ndarray, int, Boxes], np.ndarray]  # (n, SIDE, SIDE) uint8, size -> (n, size, size) uint8


def shrink_as_trained(images: np.ndarray, size: int, boxes: Boxes) -> np.ndarray:
    """The antialiased bilinear stretch of radiograph.read_radiograph, of a box of each image."""
    pairs = zip(images, boxes, strict=True)
    small = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box) for image, box in pairs]
    return np.stack([np.asarray(image) for image in small])


class Condition(NamedTuple):
    """One way to show the radiographs: (n, SIDE, SIDE) uint8 and their SHA-256 -> the same shape; then to size."""

    name: str
    severity: int
    change: Callable[[np.ndarray, list[str]], np.ndarray]
    shrink: Shrink = shrink_as_trained


class Scored(NamedTuple):
    """The rows of one split (n), and for each condition and model the calibrated probabilities (seeds, n)."""

    rows: pd.DataFrame
    y_prob: dict[tuple[str, int], dict[str, np.ndarray]]


def sees_pixels(config: ModelConfig) -> bool:
    return config.is_cnn or config.builder == "build_thumbnail_logistic"


def score_conditions(run: Run, catalog: pd.DataFrame, split: str, conditions: Iterable[Condition]) -> Scored:
    """Score one split under every condition, with every seed of every model that sees pixels.

    What is scored is kept in the cache, condition by condition: an interrupted measurement resumes.
    Raises: PneumoniaError when a member is not trained, or when there are no radiographs.
    """
    from ..models.weights import load_trained

    radiographs = load_radiographs(run, catalog[catalog["split"] == split], SIDE)
    rows, images, digests = radiographs.rows, np.asarray(radiographs.pixels), radiographs.rows["sha256"].tolist()
    members = [(config, seed) for config in run.models if sees_pixels(config) for seed in run.seeds_of(config)]
    weights = [(load_record(run, *member) or {}).get("weights_sha256") for member in members]
    folder = run.cache / f"conditions-{short_hash([VERSION, SIDE, weights, digests, rows['path'].tolist()])}"
    calibration = read_table(run, "calibration")
    models, scored = {}, {}
    for condition in tqdm(list(conditions), f"conditions on {split}", unit="condition"):
        kept = folder / f"{condition.name}-{condition.severity}.npy".replace(" ", "_")
        if not kept.exists():
            models = models or {member: load_trained(run, *member) for member in members}
            y_prob = score_members(models, condition, images, rows)
            save_atomically(kept, lambda partial, y_prob=y_prob: _save(partial, y_prob))
        y_prob = [
            calibrate(one, calibration, config.name, seed)
            for one, (config, seed) in zip(np.load(kept), members, strict=True)
        ]
        scored[condition.name, condition.severity] = _by_model(members, np.stack(y_prob))
    return Scored(rows, scored)


def score_members(models: dict, condition: Condition, images: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    """Probabilities (members, n) under one condition; each size and window is made once."""
    from ..models.baselines import flatten_pixels
    from ..models.prediction import predict_pixels

    changed, shapes = condition.change(images, rows["sha256"].tolist()), find_original_sizes(rows).tolist()
    small, y_prob = {}, []
    for (config, _), model in models.items():
        view = config.image_size, config.window
        if view not in small:
            boxes = [find_window(changed.shape[:0:-1], config.window, shape) for shape in shapes]
            small[view] = condition.shrink(changed, config.image_size, boxes)
        if config.is_cnn:
            y_prob.append(predict_pixels(model, small[view]))
        else:
            y_prob.append(model.predict_proba(flatten_pixels(small[view]))[:, 1])
    return np.stack(y_prob)


class Measured(NamedTuple):
    """One metric of the mean probability of all seeds under one condition, and its bootstrap samples (draws,)."""

    value: float
    samples: np.ndarray
    seeds: int


def measure_conditions(scored: Scored, draws: int, with_roc_auc: bool = False) -> dict[tuple, Measured]:
    """(model, condition, severity, metric) -> Measured; all see the same resampled patients."""
    y_true = scored.rows["label"].to_numpy()
    weights = bootstrap_weights(scored.rows["patient_id"], draws).astype(float)
    measured = {}
    for (name, severity), by_model in scored.y_prob.items():
        for model, y_prob in by_model.items():
            found = _all_metrics(y_true, y_prob.mean(axis=0), weights, with_roc_auc)
            for metric, (value, samples) in found.items():
                measured[model, name, severity, metric] = Measured(float(value), samples, len(y_prob))
    return measured


def tabulate_conditions(measured: dict[tuple, Measured], split: str, n: int) -> pd.DataFrame:
    """Measured values with 95 % intervals over patients: a frame with COLUMNS."""
    rows = [
        (model, split, name, severity, metric, m.value, *percentile_interval(m.samples), n, m.seeds)
        for (model, name, severity, metric), m in measured.items()
    ]
    return round_columns(pd.DataFrame(rows, columns=COLUMNS), ["value", "ci_low", "ci_high"])


def _all_metrics(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray, with_roc_auc: bool) -> dict:
    """metric -> (value, samples)."""
    plain, drawn = (threshold_metrics(y_true, y_prob, HALF, w) for w in (None, weights))
    found = {name: (plain[name], drawn[name]) for name in ("accuracy", "sensitivity", "specificity")}
    extra = {"ece": balanced_ece} | ({"roc_auc": roc_auc} if with_roc_auc else {})
    return found | {name: (metric(y_true, y_prob), metric(y_true, y_prob, weights)) for name, metric in extra.items()}


def _by_model(members: list[tuple[ModelConfig, int]], y_prob: np.ndarray) -> dict[str, np.ndarray]:
    names = np.array([config.name for config, _ in members])
    return {name: y_prob[names == name] for name in dict.fromkeys(names)}


def _save(partial, y_prob: np.ndarray) -> None:
    with partial.open("wb") as file:
        np.save(file, y_prob)
