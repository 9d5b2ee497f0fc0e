"""Trained models + radiographs -> predictions.csv: P(PNEUMONIA), uncalibrated, of every radiograph and stress copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..config import ModelConfig, Run, short_hash
from ..data.dataset import Radiographs, load_radiographs
from ..data.generators import RadiographGenerator
from ..evaluation.probability import to_logit
from ..records import hash_sources
from .baselines import baseline_features
from .weights import load_trained

KEYS = ["path", "split", "model", "seed"]
COLUMNS = ["path", "patient_id", "split", "label", "model", "seed", "y_prob"]
NOISE = 0.01  # of a logit: another processor, or another version of a library, changes it by less
SCORING_CODE = (  # what reads, alters and scores
    *("pneumonia/data/*.py", "pneumonia/transforms/*.py", "data/original_sizes.csv"),
    *("pneumonia/models/prediction.py", "pneumonia/models/baselines.py", "pneumonia/models/weights.py"),
)

Member = tuple[ModelConfig, int]  # a configuration and a seed


def predict_all(run: Run, catalog: pd.DataFrame, members: Iterable[Member] | None = None) -> pd.DataFrame:
    """Score validation, its stress copies and test with every trained member of the series.

    Train radiographs are not scored: they are the majority, and nothing is claimed about them.

    Args: members: only these; None: all.
    Returns: a frame with COLUMNS; split is validation, validation_<stress copy> or test.
    Raises: PneumoniaError when a member is not trained.
    """
    if members is None:
        members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    frames, parts = [], {}
    for config, seed in tqdm(members, "scoring", unit="model"):
        view = config.image_size, config.window
        if view not in parts:  # one view at a time, for all models that follow each other with it
            parts = {view: list_scored(load_radiographs(run, catalog, *view))}
        model = load_trained(run, config, seed)
        for rows, y_prob in score_member(config, model, parts[view]):
            frames.append(rows.assign(model=config.name, seed=seed, y_prob=y_prob.round(8)))
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def hash_prediction(record: dict) -> dict[str, str]:
    """What the predictions of a member depend on: its weights; all else, which is settings, radiographs and code.

    Args: record: its training record.
    """
    rest = short_hash([record["config_hash"], record["catalog_hash"], hash_sources(*SCORING_CODE)])
    return {"weights": record["weights_hash"], "rest": rest}


def keep_equal(predictions: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """`predictions`, with the values of `before`, by the same weights, where logits differ by no more than NOISE."""
    before = before.set_index(KEYS)["y_prob"]
    old = before.reindex(pd.MultiIndex.from_frame(predictions[KEYS])).to_numpy(dtype=float)
    new = predictions["y_prob"].to_numpy()
    alike = np.isclose(to_logit(new), to_logit(old), rtol=0, atol=NOISE)
    return predictions.assign(y_prob=np.where(alike, old, new))


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
