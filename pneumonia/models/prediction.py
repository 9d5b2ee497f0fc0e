"""Trained models + radiographs -> predictions.csv: the probability of PNEUMONIA for every radiograph and twin."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..config import ModelConfig, Run
from ..data.catalog import select_used
from ..data.generators import RadiographGenerator
from ..data.pixels import load_pixels
from ..transforms.stress_copies import build_twins
from .baselines import baseline_features, flatten_pixels
from .weights import load_trained


def predict_pixels(model, pixels: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Probability of PNEUMONIA, float64 (n,), for uint8 pixels (n, h, w)."""
    generator = RadiographGenerator(pixels, np.zeros(len(pixels)), batch_size)
    return model.predict(generator, verbose=0).ravel().astype(np.float64)


COLUMNS = ["path", "patient_id", "split", "label", "model", "seed", "y_prob"]


def predict_all(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Score validation, its twins and test with every trained member of the series.

    What was learned from is not scored: nothing is said about it, and it is most of the radiographs.

    Returns: a frame with COLUMNS; split is validation, validation_<twin> or test.
    Raises: PneumoniaError when a member is not trained.
    """
    used = select_used(catalog)
    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    frames, twins = [], {}
    for config, seed in tqdm(members, "scoring", unit="model"):
        if config.image_size not in twins:  # the twins of one size serve all models of that size, and only them
            twins = {config.image_size: build_twins(load_pixels(run, catalog, config.image_size), used)}
        model = load_trained(run, config, seed)
        for rows, y_prob in score_member(run, catalog, config, model, twins[config.image_size]):
            frames.append(rows.assign(model=config.name, seed=seed, y_prob=y_prob.round(6)))
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def score_member(run: Run, catalog: pd.DataFrame, config: ModelConfig, model: object, twins: dict):
    """Yield (rows, y_prob) for all used radiographs that were not learned from, then for each twin split."""
    used = select_used(catalog)
    held_out = (used["split"] != "train_fit").to_numpy()
    if config.is_cnn:
        yield used[held_out], predict_pixels(model, load_pixels(run, catalog, config.image_size)[held_out])
    else:
        yield used[held_out], model.predict_proba(baseline_features(run, catalog, config)[held_out])[:, 1]
    if config.builder == "build_metadata_logistic":
        return  # a twin changes the picture; the metadata of its file stay what they were
    for rows, images in twins.values():
        yield (
            rows,
            predict_pixels(model, images) if config.is_cnn else model.predict_proba(flatten_pixels(images))[:, 1],
        )
