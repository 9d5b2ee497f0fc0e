"""Platt scaling recovers a known distortion; intercept and slope say what is left of it; a network can carry it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from pneumonia.config import PneumoniaError
from pneumonia.evaluation.calibration import (
    apply_platt,
    calibrate,
    calibration_intercept,
    calibration_slope,
    fit_platt,
)
from pneumonia.evaluation.metrics import bootstrap_weights
from pneumonia.evaluation.probability import to_logit
from pneumonia.models.architectures import build_model
from pneumonia.models.calibration import rescale_last_layer
from pneumonia.models.prediction import predict_pixels
from pneumonia.series import MODEL_SERIES


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def make_scores(n: int, prevalence: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that are right for a group of which half have pneumonia."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < prevalence).astype(int)
    return label, sigmoid(2 * rng.normal(2 * label - 1, 1))  # twice the score is the log-likelihood ratio


def test_platt_undoes_a_known_distortion():
    label, honest = make_scores(40_000)
    slope, intercept = fit_platt(label, sigmoid(0.5 * to_logit(honest) - 1))
    assert (slope, intercept) == pytest.approx((2, 2), abs=0.1)


def test_platt_refers_to_a_group_of_which_half_have_pneumonia():
    label, honest = make_scores(40_000, prevalence=0.8)
    assert fit_platt(label, honest) == pytest.approx((1, 0), abs=0.05)
    np.testing.assert_allclose(apply_platt(honest, 1, 0), honest, atol=2e-6)


def test_separated_classes_have_a_bounded_slope():
    slope, intercept = fit_platt([0, 0, 1, 1], [0.0, 0.2, 0.8, 1.0])
    assert math.isfinite(slope) and slope > 1 and math.isfinite(intercept)


def test_only_what_the_table_names_is_changed():
    table = pd.DataFrame({"model": ["net"], "seed": ["1"], "slope": [2.0], "intercept": [-1.0]})
    y_prob = np.array([0.0, 0.3, 1.0])
    np.testing.assert_allclose(to_logit(calibrate(y_prob, table, "net", 1))[1], 2 * to_logit(0.3) - 1)
    assert np.isfinite(to_logit(calibrate(y_prob, table, "net", 1))).all()
    for other in (("net", 0), ("other", 1)):
        np.testing.assert_array_equal(calibrate(y_prob, table, *other), y_prob)
    np.testing.assert_array_equal(calibrate(y_prob, table.iloc[:0], "net", 1), y_prob)


def test_slope_and_intercept_are_those_of_a_logistic_regression():
    label, honest = make_scores(3000, prevalence=0.7)
    y_prob = sigmoid(1.5 * to_logit(honest) + 0.8)
    fitted = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-10).fit(to_logit(y_prob)[:, None], label)
    assert calibration_slope(label, y_prob) == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    moved = sigmoid(to_logit(y_prob) + calibration_intercept(label, y_prob))
    assert np.mean([moved[label == one].mean() for one in (0, 1)]) == pytest.approx(0.5, abs=1e-9), "right on average"
    assert calibration_intercept(label, y_prob) < -0.5, "too high"
    assert calibration_slope(label, honest) == pytest.approx(1, abs=0.1)
    assert calibration_intercept(label, honest) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("metric", [calibration_slope, calibration_intercept])
def test_all_draws_at_once_equal_one_by_one_and_repeated_rows(metric):
    label, y_prob = make_scores(400, prevalence=0.7, seed=1)
    weights = bootstrap_weights(np.arange(400) // 2, 30)
    found = metric(label, y_prob, weights)
    assert found == pytest.approx([metric(label, y_prob, one) for one in weights], abs=2e-3)
    counts = weights[0].astype(int)
    repeated = metric(np.repeat(label, counts), np.repeat(y_prob, counts))
    assert metric(label, y_prob, weights[0]) == pytest.approx(repeated, abs=1e-6)


def test_what_is_not_defined_is_nan():
    label = np.array([0, 0, 1, 1])
    for y_prob in ([0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1], [0.7] * 4):
        assert math.isnan(calibration_slope(label, y_prob))
        assert np.isnan(calibration_slope(label, y_prob, np.ones((3, 4)))).all()
    assert calibration_intercept(label, [1.0] * 4) == pytest.approx(-to_logit(1.0))
    label, y_prob = make_scores(200)
    no_normal = np.stack([np.ones(200), label.astype(float)])
    for metric in (calibration_slope, calibration_intercept):
        assert np.isnan(metric(label, y_prob, no_normal)).tolist() == [False, True]


def test_one_class_cannot_be_calibrated():
    with pytest.raises(PneumoniaError, match="calibration: only the class PNEUMONIA"):
        fit_platt([1, 1], [0.2, 0.9])


def test_rescaled_layer_gives_the_rescaled_logit():
    model = build_model(replace(MODEL_SERIES[-1], image_size=32))
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    before = predict_pixels(model, images)
    rescale_last_layer(model, 1.7, -0.4)
    np.testing.assert_allclose(
        to_logit(predict_pixels(model, images)), to_logit(apply_platt(before, 1.7, -0.4)), atol=1e-3
    )
