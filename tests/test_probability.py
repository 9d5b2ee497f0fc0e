"""Probabilities at another prevalence follow Bayes; predictive values are counts of children."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.config import PneumoniaError
from pneumonia.evaluation.probability import predictive_values, rebase, to_logit


def test_rebase_is_bayes_rule_and_can_be_undone():
    assert rebase(0.3, 0.5) == pytest.approx(0.3)
    there = rebase(0.4, 0.05)  # odds 2/3 times 1/19
    assert there == pytest.approx((2 / 57) / (1 + 2 / 57))
    assert rebase(there, 0.5, reference=0.05) == pytest.approx(0.4)
    assert (rebase(0.0, 0.3), rebase(1.0, 0.3)) == (0, 1)
    np.testing.assert_allclose(rebase(np.array([0.3, 0.4]), 0.05), [rebase(0.3, 0.05), there])


@pytest.mark.parametrize("impossible", [0, 1, -0.1, 2, float("nan")])
def test_a_prevalence_lies_between_0_and_1(impossible):
    with pytest.raises(PneumoniaError, match="between 0 and 1"):
        rebase(0.5, impossible)


def test_predictive_values_are_counted_by_hand():
    ppv, npv = predictive_values(0.9, 0.8, 0.1)  # of 1,000: 90 found, 10 missed, 180 alarms, 720 cleared
    assert ppv == pytest.approx(90 / 270)
    assert npv == pytest.approx(720 / 730)
    assert np.isnan(predictive_values(0.0, 1.0, 0.1)[0])


def test_logits_of_certainty_are_finite():
    assert np.isfinite(to_logit(np.array([0.0, 0.5, 1.0]))).all()
