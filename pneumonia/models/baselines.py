"""Baselines that see no detail: majority class, file metadata, and a 16x16 thumbnail."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..config import ModelConfig
from ..data.dataset import Radiographs


def build_majority(config: ModelConfig) -> DummyClassifier:
    """Predicts PNEUMONIA for every child, with the train prevalence as probability: the least a model must beat."""
    return DummyClassifier(strategy="prior")


def build_metadata_logistic(config: ModelConfig) -> Pipeline:
    """Logistic regression on what is known of the file without its picture (pixels, bytes, mode, encoding)."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def build_thumbnail_logistic(config: ModelConfig) -> Pipeline:
    """Logistic regression on 16x16 thumbnails: exposure and framing, far too coarse for an opacity in a lung."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))


def metadata_features(rows: pd.DataFrame) -> np.ndarray:
    """The metadata of a file in its catalog row, as numbers: (n, 5) float64; unknown JPEG quality counts as 100."""
    columns = rows[["width", "height", "bytes"]].to_numpy(dtype=float)
    quality = rows["jpeg_quality"].fillna(100).to_numpy(dtype=float)
    return np.column_stack([np.log(columns), quality, rows["mode"].ne("L").to_numpy(dtype=float)])


def flatten_pixels(images: np.ndarray) -> np.ndarray:
    """(n, h, w) pixels in 0-255 -> (n, h * w) float64 features in 0-1."""
    return images.reshape(len(images), -1) / 255.0


def baseline_features(config: ModelConfig, radiographs: Radiographs) -> np.ndarray:
    """What a baseline sees, one row per radiograph: file metadata, or the pixels of a thumbnail."""
    if config.builder == "build_metadata_logistic":
        return metadata_features(radiographs.rows)
    return flatten_pixels(radiographs.pixels)
