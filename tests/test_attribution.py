"""Attribution: the same numbers as predictions give, the masks, and the encoding swap."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_runs import CNN

from pneumonia.config import PneumoniaError
from pneumonia.data.dataset import load_radiographs
from pneumonia.evaluation.metrics import HALF, roc_auc, threshold_metrics
from pneumonia.evaluation.probability import to_logit
from pneumonia.evaluation.scores import Scores
from pneumonia.models.prediction import predict_all, predict_pixels
from pneumonia.models.weights import load_trained
from pneumonia.results import read_table
from pneumonia.series import WINDOW
from pneumonia.studies.ablation import COLUMNS, METRICS, compute_ablation
from pneumonia.studies.attribution import (
    BORDER,
    CENTRE,
    Calibrated,
    build_changes,
    compute_attribution,
    load_encoding_swap,
    measure_swap,
)
from pneumonia.transforms.stress_copies import STRESS_COPIES


@pytest.fixture(scope="module")
def swap(clean_tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swap")
    for name in ("as_shipped", "as_q75"):
        shutil.copytree(clean_tree / "train" / "NORMAL", folder / name / "NORMAL")
    return folder


def test_attribution_agrees_with_the_predictions(finished, swap):
    run, catalog = finished
    table = compute_attribution(run, catalog, swap)
    assert set(table["model"]) == {CNN}
    assert set(table["change"]) == {"validation", *STRESS_COPIES, "border", "centre", "encoding_swap"}
    scores = Scores.parse(read_table(run, "predictions")).calibrated(read_table(run, "calibration"))
    part = scores[CNN]["validation_tones"]
    measured = table.query("change == 'tones' and seed == 1").set_index("metric")["value"]
    assert measured["roc_auc"] == pytest.approx(roc_auc(part.y_true, part.y_prob["1"]), abs=1e-6)
    expected = threshold_metrics(part.y_true, part.y_prob["1"])
    for metric in ("accuracy", "sensitivity", "specificity"):
        assert measured[metric] == pytest.approx(expected[metric], abs=1e-6), "at 0.5 after calibration"
    plain = scores[CNN]["validation"]
    normal = plain.y_true == 0
    moved = (to_logit(part.y_prob["1"]) - to_logit(plain.y_prob["1"]))[normal].mean()
    assert measured["logit_change_normal"] == pytest.approx(moved, abs=1e-3)
    still = table.query("change in ('validation', 'encoding_swap') and metric.str.startswith('logit')")["value"]
    assert (still == 0).all()  # nothing was changed there: both folders hold the same files


def test_copies_and_masks_change_what_they_say(trained):
    run, catalog, _ = trained
    changes = build_changes(run, catalog, 32, WINDOW)
    labels, images = changes["validation"]
    copies = load_radiographs(run, catalog, 32, WINDOW).stress_copies()
    for name in STRESS_COPIES:
        np.testing.assert_array_equal(changes[name][1], copies[f"validation_{name}"].pixels)
    edge, side = round(BORDER * 32), round(CENTRE * 32)
    border, centre = changes["border"][1], changes["centre"][1]
    assert (border[:, :edge] == 0).all()
    np.testing.assert_array_equal(border[:, edge:-edge, edge:-edge], images[:, edge:-edge, edge:-edge])
    assert (centre != images).any(axis=(1, 2)).all()
    assert (centre == 0).sum(axis=(1, 2)).min() >= (side - 1) ** 2
    assert len(labels) == len(images)


def test_swap_sees_another_encoding(finished, swap):
    run, _ = finished
    first, second = load_encoding_swap(swap, 32, WINDOW)
    network, calibration = load_trained(run, run.model(CNN), 0), read_table(run, "calibration")
    model = Calibrated(network, calibration, CNN, 0)
    measured = {row["metric"]: row["value"] for row in measure_swap(model, (first, 255 - second))}
    before, after = (to_logit(predict_pixels(network, images)) for images in (first, 255 - second))
    slope = calibration.query("model == @CNN and seed == '0'")["slope"].item()
    assert measured["logit_change_normal"] == pytest.approx(slope * (after - before).mean(), rel=1e-3) != 0
    assert measured["logit_sd"] > 0


def test_swap_without_a_counterpart_is_named(swap):
    next((swap / "as_q75" / "NORMAL").iterdir()).unlink()
    with pytest.raises(PneumoniaError, match=r"as_q75.*not there"):
        load_encoding_swap(swap, 32)


def test_ablation_is_measured_as_the_series_is(trained):
    run, catalog, _ = trained
    run = replace(run, models=(run.model(CNN),))
    table = compute_ablation(run, catalog)
    assert list(table.columns) == COLUMNS and set(table["metric"]) == set(METRICS)
    assert set(table["seed"]) == {"0", "1"}, "seed by seed"
    scores = Scores.parse(predict_all(run, catalog))
    assert set(table["split"]) == {"validation", "test", *scores.stress_copies}
    measured = table.set_index(["seed", "split", "metric"])["value"]
    for split, part in scores.calibrated()[CNN].items():
        for seed in ("0", "1"):
            expected = roc_auc(part.y_true, part.y_prob[seed])
            assert measured[seed, split, "roc_auc"] == pytest.approx(expected, abs=1e-6)
            right = ((part.y_prob[seed] >= HALF) == part.y_true).mean()
            assert measured[seed, split, "accuracy"] == pytest.approx(right, abs=1e-6)
