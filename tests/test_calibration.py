"""Platt scaling inside the model: it recovers a known distortion, and changes probabilities but not their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_runs import CNN, tiny_run

from pneumonia.data.catalog import build_catalog
from pneumonia.data.dataset import load_radiographs
from pneumonia.evaluation.metrics import roc_auc, threshold_metrics
from pneumonia.evaluation.probability import to_logit
from pneumonia.models.architectures import build_model
from pneumonia.models.calibration import calibrate, fit_platt, rescale_last_layer
from pneumonia.models.prediction import predict_pixels
from pneumonia.models.training import train_all
from pneumonia.series import MODEL_SERIES


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def test_platt_undoes_a_known_distortion():
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 40_000)
    label = (rng.random(40_000) < sigmoid(logit)).astype(int)
    slope, intercept = fit_platt(label, sigmoid(0.5 * logit - 1))
    assert (slope, intercept) == pytest.approx((2, 2), abs=0.1)


def test_platt_refers_to_a_group_of_which_half_have_pneumonia():
    rng = np.random.default_rng(0)
    label = (rng.random(40_000) < 0.8).astype(int)
    logit = rng.normal(2 * label - 1, 1)  # log-likelihood ratio: 2 * logit
    slope, intercept = fit_platt(label, sigmoid(logit))
    assert (slope, intercept) == pytest.approx((2, 0), abs=0.1)


def test_rescaled_layer_gives_the_rescaled_logit():
    model = build_model(replace(MODEL_SERIES[-1], image_size=32))
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    before = to_logit(predict_pixels(model, images))
    rescale_last_layer(model, 1.7, -0.4)
    np.testing.assert_allclose(to_logit(predict_pixels(model, images)), 1.7 * before - 0.4, atol=1e-3)


def test_calibrated_model_is_balanced_on_validation_and_stress_copies_and_ranks_as_before(clean_tree, tmp_path):
    run = tiny_run(clean_tree, tmp_path, (CNN,))
    catalog, config = build_catalog(run), run.models[0]
    radiographs = load_radiographs(run, catalog, config.image_size)
    parts = [radiographs["validation"], *radiographs.stress_copies().values()]
    label = np.concatenate([part.labels for part in parts])
    model = build_model(config)
    before = np.concatenate([predict_pixels(model, part.pixels) for part in parts])
    change = calibrate(model, radiographs)
    after = np.concatenate([predict_pixels(model, part.pixels) for part in parts])
    np.testing.assert_allclose(to_logit(after), change["slope"] * to_logit(before) + change["intercept"], atol=1e-3)
    weights = np.where(label == 1, 0.5 / label.mean(), 0.5 / (1 - label.mean()))
    assert np.average(after, weights=weights) == pytest.approx(0.5, abs=0.01)
    if change["slope"] > 0:
        assert roc_auc(label, after) == pytest.approx(roc_auc(label, before), abs=1e-3)
    assert threshold_metrics(label, after)["balanced_accuracy"] >= 0.45


def test_training_record_holds_the_calibration(clean_tree, tmp_path):
    run = tiny_run(clean_tree, tmp_path, (CNN,), calibrate=True, epochs=1)
    (record,) = train_all(run, build_catalog(run), say=lambda line: None)
    assert set(record["calibration"]) == {"slope", "intercept"}
