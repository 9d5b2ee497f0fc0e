"""Probabilities and logits: another prevalence, and what a positive or negative call is worth there."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..config import PneumoniaError

REFERENCE_PREVALENCE = 0.5  # of the calibration, in which both classes weigh the same


def rebase(y_prob: ArrayLike, prevalence: float, reference: float = REFERENCE_PREVALENCE) -> np.ndarray:
    """Probabilities for children of whom a share `prevalence` has pneumonia, from those for a share `reference`.

    Saerens et al., 2002: odds are multiplied by the ratio of the odds of the two shares.
    Raises: PneumoniaError unless 0 < prevalence < 1.
    """
    if not 0 < prevalence < 1:
        raise PneumoniaError(f"prevalence {prevalence}: must lie between 0 and 1, for example 0.15")
    y_prob = np.asarray(y_prob, dtype=float)
    pneumonia = y_prob * prevalence / reference
    normal = (1 - y_prob) * (1 - prevalence) / (1 - reference)
    return pneumonia / (pneumonia + normal)


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float, float]:
    """ppv, npv where `prevalence` of the children are ill (Bayes); nan when nobody would be called so."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ppv = np.divide(sensitivity * prevalence, sensitivity * prevalence + (1 - specificity) * (1 - prevalence))
        npv = np.divide(specificity * (1 - prevalence), specificity * (1 - prevalence) + (1 - sensitivity) * prevalence)
    return float(ppv), float(npv)


CLIP = 1e-6  # a float32 sigmoid may round to 0 or 1, whose logit is infinite


def to_logit(y_prob: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), finite for every p in [0, 1]."""
    y_prob = np.clip(y_prob, CLIP, 1 - CLIP)
    return np.log(y_prob / (1 - y_prob))
