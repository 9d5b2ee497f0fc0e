"""Weights of training examples under which the size of a file says little about its class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from ..config import CLASS_NAMES, PneumoniaError
from .sizes import find_original_sizes

FOLDS = 5  # of the cross-fit
LARGEST_WEIGHT = 10  # as a multiple of the mean of the class; what is larger is clipped to it


def weigh_by_size(rows: pd.DataFrame) -> np.ndarray:
    """Inverse propensity of the class of each catalog row given its original width and height: (n,), mean 1.

    With these weights size says little about the class, and there is little to gain from recognising it. The propensity
    is a logistic regression on splines of log width and log height, fitted without the patients it is used on. Weights
    are clipped at LARGEST_WEIGHT; then both classes are scaled to the same total, which lifts what was clipped as well
    (Robins et al., 2000: stabilised inverse probability weights).

    Raises: PneumoniaError where a class is missing, or the patients are too few for FOLDS folds with both classes.
    """
    labels, groups = rows["label"].to_numpy(), rows["patient_id"]
    enough = groups.nunique() >= FOLDS
    folds = list(GroupKFold(FOLDS).split(rows, groups=groups)) if enough else []
    if not folds or any(len(set(labels[fitted])) < 2 for fitted, _ in folds):
        counts = " and ".join(f"{groups[labels == label].nunique()} {name}" for label, name in enumerate(CLASS_NAMES))
        raise PneumoniaError(
            f"weigh_by_size: {counts} patients are too few for {FOLDS} folds with both classes in each; "
            "train on more radiographs, or without weigh_by_size"
        )
    model = make_pipeline(
        SplineTransformer(n_knots=5), LogisticRegression(C=10, max_iter=2000, class_weight="balanced")
    )
    features = np.log(find_original_sizes(rows))
    propensity = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    weights = 1 / propensity[np.arange(len(rows)), labels]
    for label in range(len(CLASS_NAMES)):
        of_class = labels == label
        weights[of_class] = np.minimum(weights[of_class] / weights[of_class].mean(), LARGEST_WEIGHT)
        weights[of_class] *= len(rows) / 2 / weights[of_class].sum()
    return weights


def effective_sample_size(weights: np.ndarray) -> float:
    """How many equally weighted examples are as good (Kish, 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
