"""Calibrated probabilities: Platt scaling on validation and its stress copies, built into the model."""

from __future__ import annotations

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

from ..data.dataset import Radiographs
from ..evaluation.probability import to_logit
from .prediction import predict_pixels


def calibrate(model: keras.Model, radiographs: Radiographs) -> dict[str, float]:
    """Scale and shift the last logit so that 0.5 balances both errors on validation and its stress copies.

    Both classes weigh the same, so the probability is that of a child from a group of which half have pneumonia. The
    stress copies count as much as validation itself, which alone sets a threshold that fails where the pipeline
    differs.

    Returns: {"slope", "intercept"} of the change, for the training record.
    """
    parts = [radiographs["validation"], *radiographs.stress_copies().values()]
    y_prob = np.concatenate([predict_pixels(model, part.pixels) for part in parts])
    slope, intercept = fit_platt(np.concatenate([part.labels for part in parts]), y_prob)
    rescale_last_layer(model, slope, intercept)
    return {"slope": round(slope, 6), "intercept": round(intercept, 6)}


def fit_platt(y_true: np.ndarray, y_prob: np.ndarray) -> tuple[float, float]:
    """slope, intercept of logit -> calibrated logit (Platt, 1999), the classes weighted to the same total."""
    fitted = LogisticRegression(C=1e6, class_weight="balanced").fit(to_logit(y_prob)[:, None], y_true)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def rescale_last_layer(model: keras.Model, slope: float, intercept: float) -> None:
    """logit -> slope * logit + intercept, by changing the weights of the last dense layer in place."""
    layer = model.layers[-1]
    kernel, bias = layer.get_weights()
    layer.set_weights([slope * kernel, slope * bias + intercept])
