"""Every radiograph and every twin is scored by every member, whatever the order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import CNN

from pneumonia.config import PneumoniaError
from pneumonia.data.catalog import build_catalog, hash_catalog, select_used
from pneumonia.data.pixels import load_pixels
from pneumonia.models.prediction import COLUMNS, predict_all, predict_pixels, score_member
from pneumonia.models.weights import load_trained
from pneumonia.records import hash_file, load_record, weights_path
from pneumonia.results import read_table
from pneumonia.series import real_run
from pneumonia.transforms.stress_copies import ALL_TWINS as TWINS
from pneumonia.transforms.stress_copies import build_twins

TWIN_SPLITS = {f"validation_{name}" for name in TWINS}


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
    members = predictions[~predictions["split"].isin(TWIN_SPLITS)].groupby(["model", "seed"])
    assert set(members.groups) == {(config.name, seed) for config in run.models for seed in run.seeds_of(config)}
    for _, rows in members:
        facts = ["path", "patient_id", "split", "label"]
        pd.testing.assert_frame_equal(rows[facts].reset_index(drop=True), used[facts])


def test_twins_of_validation_are_scored_by_all_who_look_at_pictures(predictions):
    validation = set(predictions.loc[predictions["split"] == "validation", "path"])
    assert validation
    twins = predictions[predictions["split"].isin(TWIN_SPLITS)]
    assert set(twins["model"]) == {"majority", "thumbnail_logistic", CNN}  # file metadata have no twin
    for (_, _, split), rows in twins.groupby(["model", "seed", "split"]):
        assert set(rows["path"]) == validation, split
    assert set(twins["split"]) == TWIN_SPLITS


def test_twins_change_the_answer_of_a_model_that_looks(predictions):
    network = predictions.query("model == @CNN and seed == 0")
    plain = network[network["split"] == "validation"].set_index("path")["y_prob"]
    for split in TWIN_SPLITS:
        twin = network[network["split"] == split].set_index("path")["y_prob"]
        assert (twin != plain).any()


def test_majority_class_has_one_answer_for_all(trained, predictions):
    prevalence = select_used(trained[1]).query("split == 'train_fit'")["label"].mean()
    answers = predictions.query("model == 'majority'")["y_prob"].unique()
    assert answers == pytest.approx([prevalence], abs=1e-6)


def test_a_probability_does_not_hang_on_order_or_company(trained):
    run, catalog, _ = trained
    model = load_trained(run, run.model(CNN), 0)
    pixels = load_pixels(run, catalog, run.model(CNN).image_size)
    y_prob = predict_pixels(model, pixels)
    assert (y_prob.shape, y_prob.dtype) == ((len(pixels),), np.float64)
    shuffled = np.random.default_rng(0).permutation(len(pixels))
    np.testing.assert_allclose(predict_pixels(model, pixels[shuffled], batch_size=7), y_prob[shuffled], atol=1e-5)
    np.testing.assert_allclose(predict_pixels(model, pixels[5:6]), y_prob[5:6], atol=1e-5)


def test_a_probability_belongs_to_its_path(trained, predictions):
    run, catalog, _ = trained
    pixels = load_pixels(run, catalog, run.model(CNN).image_size)
    used = select_used(catalog)
    row = used.index[used["split"] == "test"][3]
    alone = predict_pixels(load_trained(run, run.model(CNN), 1), pixels[[row]])
    recorded = predictions.query("model == @CNN and seed == 1").set_index("path").loc[used["path"][row], "y_prob"]
    assert recorded == pytest.approx(alone.item(), abs=1e-5)


def test_twin_is_the_same_whatever_else_is_validated(trained):
    run, catalog, _ = trained
    used = select_used(catalog)
    pixels = load_pixels(run, catalog, 32)
    few = np.r_[np.flatnonzero(used["split"] == "validation")[::-2], np.flatnonzero(used["split"] == "train_fit")]
    everything, some = build_twins(pixels, used), build_twins(pixels[few], used.iloc[few].reset_index(drop=True))
    for name in TWIN_SPLITS:
        rows, images = everything[name]
        by_path = dict(zip(rows["path"], images, strict=True))
        for path, image in zip(some[name][0]["path"], some[name][1], strict=True):
            np.testing.assert_array_equal(image, by_path[path])


def test_untrained_member_is_an_error_that_names_the_remedy(trained, tmp_path):
    run, catalog, _ = trained
    with pytest.raises(PneumoniaError, match=r"majority-seed0\.joblib: missing.*make run"):
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
    run, catalog, committed = real
    test = catalog[catalog["split"] == "test"].reset_index(drop=True)
    for seed in run.seeds_of(config):
        assert load_record(run, config, seed)["weights_sha256"] == hash_file(weights_path(run, config, seed))
        rows, y_prob = next(iter(score_member(run, test, config, load_trained(run, config, seed), {})))
        expected = committed[
            (committed["model"] == config.name) & (committed["seed"] == seed) & (committed["split"] == "test")
        ].set_index("path")["y_prob"]
        assert len(expected) == len(test)
        np.testing.assert_allclose(y_prob, expected[rows["path"]], atol=1e-3)
