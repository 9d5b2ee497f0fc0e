"""Probabilities that can be taken at their word: Platt scaling, on validation and its twins, built into the model."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ..config import ModelConfig, Run
from ..data.catalog import select_used
from ..data.pixels import load_pixels
from ..evaluation.probability import to_logit
from ..transforms.stress_copies import build_twins
from .prediction import predict_pixels


def calibrate(model: keras.Model, run: Run, catalog: pd.DataFrame, config: ModelConfig) -> dict[str, float]:
    """Scale and shift the last logit so that 0.5 is the balance of both errors on validation and its twins.

    Both classes weigh the same, so the probability is that of a child from a group in which half are ill. The twins
    count as much as validation itself, which alone sets a threshold that fails where the pipeline differs.

    Returns: {"slope", "intercept"} of the change, for the training record.
    """
    used, pixels = select_used(catalog), load_pixels(run, catalog, config.image_size)
    validation = (used["split"] == "validation").to_numpy()
    sets = [(used[validation], pixels[validation]), *build_twins(pixels, used).values()]
    y_prob = np.concatenate([predict_pixels(model, images) for _, images in sets])
    slope, intercept = fit_platt(np.concatenate([rows["label"] for rows, _ in sets]), y_prob)
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
