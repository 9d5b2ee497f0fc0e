"""Trained models + radiographs -> predictions.csv: P(PNEUMONIA), uncalibrated, of every radiograph and stress copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..config import ModelConfig, Run
from ..data.dataset import Radiographs, load_radiographs
from ..data.generators import RadiographGenerator
from .baselines import baseline_features
from .weights import load_trained

COLUMNS = ["path", "patient_id", "split", "label", "model", "seed", "y_prob"]


def predict_all(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Score validation, its stress copies and test with every trained member of the series.

    Train radiographs are not scored: they are the majority, and nothing is claimed about them.

    Returns: a frame with COLUMNS; split is validation, validation_<stress copy> or test.
    Raises: PneumoniaError when a member is not trained.
    """
    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    frames, parts = [], {}
    for config, seed in tqdm(members, "scoring", unit="model"):
        view = config.image_size, config.window
        if view not in parts:  # one view at a time, for all models that follow each other with it
            parts = {view: list_scored(load_radiographs(run, catalog, *view))}
        model = load_trained(run, config, seed)
        for rows, y_prob in score_member(config, model, parts[view]):
            frames.append(rows.assign(model=config.name, seed=seed, y_prob=y_prob.round(6)))
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def list_scored(radiographs: Radiographs) -> list[Radiographs]:
    """All radiographs but those of train_fit, then each of the stress copies of validation."""
    return [radiographs[radiographs.rows["split"] != "train_fit"], *radiographs.stress_copies().values()]


def score_member(
    config: ModelConfig, model: object, parts: list[Radiographs]
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Yield the rows and the probabilities of each part (`list_scored`).

    The model of file metadata gets the first part only: a stress copy changes the picture, not the file.
    """
    for part in parts[:1] if config.builder == "build_file_logistic" else parts:
        if config.is_cnn:
            yield part.rows, predict_pixels(model, part.pixels)
        else:
            yield part.rows, model.predict_proba(baseline_features(config, part))[:, 1]


def predict_pixels(model, pixels: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Probability of PNEUMONIA, float64 (n,), for uint8 pixels (n, h, w)."""
    generator = RadiographGenerator(pixels, np.zeros(len(pixels)), batch_size)
    return model.predict(generator, verbose=0).ravel().astype(np.float64)
