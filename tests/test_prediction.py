"""Every radiograph and every stress copy is scored by every member, whatever the order."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN

from pneumonia.config import PneumoniaError
from pneumonia.data.catalog import build_catalog, hash_catalog, select_used
from pneumonia.data.dataset import load_radiographs
from pneumonia.models import prediction
from pneumonia.models.prediction import COLUMNS, predict_all, predict_pixels, score_member
from pneumonia.models.weights import load_trained
from pneumonia.records import hash_file, load_record, weights_path
from pneumonia.results import read_table
from pneumonia.series import real_run
from pneumonia.transforms.stress_copies import STRESS_COPIES

COPIES = {f"validation_{name}" for name in STRESS_COPIES}


@pytest.fixture(scope="module")
def predictions(trained) -> pd.DataFrame:
    run, catalog, _ = trained
    return predict_all(run, catalog)


def test_predictions_follow_their_contract(predictions):
    assert list(predictions.columns) == COLUMNS
    assert predictions["y_prob"].between(0, 1).all()
    assert not predictions.isna().any().any()
    assert not predictions.duplicated(["path", "split", "model", "seed"]).any()


def test_every_member_scores_every_radiograph_it_did_not_learn_from_once(trained, predictions):
    run, catalog, _ = trained
    used = select_used(catalog).query("split != 'train_fit'").reset_index(drop=True)
    members = predictions[~predictions["split"].isin(COPIES)].groupby(["model", "seed"])
    assert set(members.groups) == {(config.name, seed) for config in run.models for seed in run.seeds_of(config)}
    for _, rows in members:
        facts = ["path", "patient_id", "split", "label"]
        pd.testing.assert_frame_equal(rows[facts].reset_index(drop=True), used[facts])


def test_stress_copies_are_scored_by_every_model_that_sees_pixels(predictions):
    validation = set(predictions.loc[predictions["split"] == "validation", "path"])
    assert validation
    copies = predictions[predictions["split"].isin(COPIES)]
    assert set(copies["model"]) == {"majority", "thumbnail_logistic", CNN}  # file metadata have no copy
    for (_, _, split), rows in copies.groupby(["model", "seed", "split"]):
        assert set(rows["path"]) == validation, split
    assert set(copies["split"]) == COPIES


def test_an_answer_changes_with_the_pixels_of_a_stress_copy(trained, predictions):
    run, catalog, _ = trained
    config, network = run.model(CNN), predictions.query("model == @CNN and seed == 0")
    radiographs = load_radiographs(run, catalog, config.image_size, config.window)
    plain = network[network["split"] == "validation"].set_index("path")["y_prob"]
    changed = {}
    for split, copy in radiographs.stress_copies().items():
        changed[split] = bool((copy.pixels != radiographs["validation"].pixels).any())
        altered = network[network["split"] == split].set_index("path")["y_prob"]
        assert (altered != plain).any() == changed[split], split
    assert sum(changed.values()) >= 6, "what is small stays sharp, and what is square may stay so"


def test_majority_class_has_one_answer_for_all(trained, predictions):
    prevalence = select_used(trained[1]).query("split == 'train_fit'")["label"].mean()
    answers = predictions.query("model == 'majority'")["y_prob"].unique()
    assert answers == pytest.approx([prevalence], abs=1e-6)


def test_a_probability_does_not_depend_on_the_rest_of_the_batch(trained):
    run, catalog, _ = trained
    model = load_trained(run, run.model(CNN), 0)
    pixels = load_radiographs(run, catalog, run.model(CNN).image_size, run.model(CNN).window).pixels
    y_prob = predict_pixels(model, pixels)
    assert (y_prob.shape, y_prob.dtype) == ((len(pixels),), np.float64)
    shuffled = np.random.default_rng(0).permutation(len(pixels))
    np.testing.assert_allclose(predict_pixels(model, pixels[shuffled], batch_size=7), y_prob[shuffled], atol=1e-5)
    np.testing.assert_allclose(predict_pixels(model, pixels[5:6]), y_prob[5:6], atol=1e-5)


def test_a_probability_belongs_to_its_path(trained, predictions):
    run, catalog, _ = trained
    test = load_radiographs(run, catalog, run.model(CNN).image_size, run.model(CNN).window)["test"]
    alone = predict_pixels(load_trained(run, run.model(CNN), 1), test.pixels[[3]])
    recorded = predictions.query("model == @CNN and seed == 1").set_index("path").loc[test.rows["path"][3], "y_prob"]
    assert recorded == pytest.approx(alone.item(), abs=1e-5)


def test_stress_copy_is_the_same_whatever_else_is_validated(trained):
    run, catalog, _ = trained
    radiographs = load_radiographs(run, catalog, 32)
    split = radiographs.rows["split"]
    few = radiographs[np.r_[np.flatnonzero(split == "validation")[::-2], np.flatnonzero(split == "train_fit")]]
    everything, some = radiographs.stress_copies(), few.stress_copies()
    assert set(everything) == COPIES
    for name in COPIES:
        by_path = dict(zip(everything[name].rows["path"], everything[name].pixels, strict=True))
        for path, image in zip(some[name].rows["path"], some[name].pixels, strict=True):
            np.testing.assert_array_equal(image, by_path[path])


def test_every_model_scores_what_it_sees(trained, monkeypatch):
    """Models of one size may differ in the window."""
    run, catalog, _ = trained
    config, seen = run.model(CNN), []
    windows = {"stretched": 0.0, "square": 1.0, "wide": 1.25}
    models = tuple(replace(config, name=name, window=window) for name, window in windows.items())
    monkeypatch.setattr(prediction, "load_trained", lambda run, config, seed: config)
    monkeypatch.setattr(prediction, "score_member", lambda config, model, parts: seen.append((model, parts)) or [])
    with pytest.raises(ValueError, match="No objects to concatenate"):
        predict_all(replace(run, models=models), catalog)
    assert [{part.window for part in parts} for config, parts in seen] == [{model.window} for model, _ in seen]
    assert len(seen) == 3 * len(run.seeds_of(config))


def test_untrained_member_is_an_error_that_names_the_remedy(trained, tmp_path):
    run, catalog, _ = trained
    with pytest.raises(PneumoniaError, match=r"majority-seed0\.npz: missing.*make run"):
        predict_all(replace(run, home=tmp_path), catalog)


# --- the real radiographs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(chest_xray_dir, tmp_path_factory):
    """(run, catalog, committed predictions) on the radiographs that CHEST_XRAY_DIR names."""
    run = replace(real_run(chest_xray_dir), cache=tmp_path_factory.mktemp("cache"))
    catalog, committed = build_catalog(run), read_table(run, "catalog")
    if catalog["width"].tolist() != committed["width"].tolist():
        pytest.skip("needs the copies that the committed results were computed on; these are of another size")
    assert hash_catalog(catalog) == hash_catalog(committed)
    return run, catalog, read_table(run, "predictions")


@pytest.mark.parametrize("config", real_run(None).models, ids=lambda config: config.name)
def test_committed_weights_reproduce_the_committed_test_predictions(real, config):
    """Of every test radiograph with SLOW_TESTS, else of one in eight."""
    run, catalog, committed = real
    radiographs = load_radiographs(run, catalog[catalog["split"] == "test"], config.image_size, config.window)
    assert len(radiographs) == committed.query("model == @config.name and split == 'test'")["path"].nunique()
    if "SLOW_TESTS" not in os.environ:
        radiographs = radiographs[np.arange(0, len(radiographs), 8)]
    for seed in run.seeds_of(config):
        assert load_record(run, config, seed)["weights_sha256"] == hash_file(weights_path(run, config, seed))
        [(rows, y_prob)] = score_member(config, load_trained(run, config, seed), [radiographs])
        expected = committed[
            (committed["model"] == config.name) & (committed["seed"] == seed) & (committed["split"] == "test")
        ].set_index("path")["y_prob"]
        np.testing.assert_allclose(y_prob, expected[rows["path"]], atol=1e-3)
