"""Probabilities at another prevalence, and logits. Imports NumPy alone, since `predict` has to start fast."""

from __future__ import annotations

import numpy as np

from ..config import PneumoniaError

REFERENCE_PREVALENCE = 0.5  # of the calibration, in which both classes weigh the same
CLIP = 1e-6  # a float32 sigmoid may round to 0 or 1, whose logit is infinite

Number = float | np.ndarray


def rebase(y_prob: Number, prevalence: float, reference: float = REFERENCE_PREVALENCE) -> Number:
    """The probability where `prevalence` of the children have pneumonia, from that where `reference` of them have it.

    Bayes' rule on the odds (Saerens et al., 2002); 0 and 1 stay what they are.
    Raises: PneumoniaError unless 0 < prevalence < 1.
    """
    if not 0 < prevalence < 1:
        raise PneumoniaError(f"prevalence {prevalence}: must lie between 0 and 1, for example 0.15")
    pneumonia = y_prob * prevalence / reference
    normal = (1 - y_prob) * (1 - prevalence) / (1 - reference)
    return pneumonia / (pneumonia + normal)


def predictive_values(sensitivity: Number, specificity: Number, prevalence: float) -> tuple[Number, Number]:
    """ppv, npv where `prevalence` of the children have pneumonia (Bayes); nan when none is predicted so."""
    found, alarms = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    cleared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(found, found + alarms), np.divide(cleared, cleared + missed)


def to_logit(y_prob: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), finite for every p in [0, 1]."""
    y_prob = np.clip(y_prob, CLIP, 1 - CLIP)
    return np.log(y_prob / (1 - y_prob))
