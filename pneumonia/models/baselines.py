"""Baselines that see no detail: majority class, original size of the file, and a 16x16 thumbnail."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ..config import ModelConfig
from ..data.dataset import Radiographs
from ..data.sizes import find_original_sizes


def build_majority(config: ModelConfig) -> DummyClassifier:
    """Predicts PNEUMONIA for every child, with the train prevalence as probability: the least a model must beat."""
    return DummyClassifier(strategy="prior")


def build_file_logistic(config: ModelConfig) -> Pipeline:
    """Logistic regression on what is known of the file without its picture: original width, height and bytes."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def build_thumbnail_logistic(config: ModelConfig) -> Pipeline:
    """Logistic regression on 16x16 thumbnails: exposure and framing, far too coarse for an opacity in a lung."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))


def metadata_features(rows: pd.DataFrame) -> np.ndarray:
    """Logarithms of the original width and height in pixels, and of the bytes of the file at hand: float64 (n, 3)."""
    return np.log(np.column_stack([find_original_sizes(rows), rows["bytes"]]).astype(float))


def flatten_pixels(images: np.ndarray) -> np.ndarray:
    """(n, h, w) pixels in 0-255 -> (n, h * w) float64 features in 0-1."""
    return images.reshape(len(images), -1) / 255.0


def baseline_features(config: ModelConfig, radiographs: Radiographs) -> np.ndarray:
    """What a baseline sees, one row per radiograph: file metadata, or the pixels of a thumbnail."""
    if config.builder == "build_file_logistic":
        return metadata_features(radiographs.rows)
    return flatten_pixels(radiographs.pixels)
