"""Trained models + radiographs -> predictions.csv: the probability of PNEUMONIA for every radiograph and twin."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .augment import TWINS, make_twins
from .catalog import select_used
from .config import ModelConfig, Run
from .generators import RadiographGenerator, load_pixels
from .models import flatten_pixels
from .records import load_trained
from .training import baseline_features

COLUMNS = ["path", "patient_id", "split", "label", "model", "seed", "y_prob"]


def predict_all(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Score every used radiograph, and the twins of validation, with every trained member of the series.

    Returns: a frame with COLUMNS; split is train_fit, validation, validation_<twin> or test.
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


def build_twins(pixels: np.ndarray, used: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """The stress copies of validation: {split name: (rows, uint8 images (n, h, w))}."""
    chosen = np.flatnonzero(used["split"] == "validation")
    rows = used.iloc[chosen]
    return {
        f"validation_{name}": (
            rows.assign(split=f"validation_{name}"),
            make_twins(pixels[chosen], rows["sha256"], name),
        )
        for name in TWINS
    }


def score_member(run: Run, catalog: pd.DataFrame, config: ModelConfig, model: object, twins: dict):
    """Yield (rows, y_prob) for all used radiographs, then for each twin split."""
    used = select_used(catalog)
    if config.is_cnn:
        yield used, predict_pixels(model, load_pixels(run, catalog, config.image_size))
    else:
        yield used, model.predict_proba(baseline_features(run, catalog, config))[:, 1]
    if config.builder == "build_metadata_logistic":
        return  # a twin changes the picture; the metadata of its file stay what they were
    for rows, images in twins.values():
        yield (
            rows,
            predict_pixels(model, images) if config.is_cnn else model.predict_proba(flatten_pixels(images))[:, 1],
        )


def predict_pixels(model, pixels: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Probability of PNEUMONIA, float64 (n,), for uint8 pixels (n, h, w)."""
    generator = RadiographGenerator(pixels, np.zeros(len(pixels)), batch_size)
    return model.predict(generator, verbose=0).ravel().astype(np.float64)
