"""Stress copies of validation, drawn once per radiograph: do predictions depend on what a radiologist ignores?

The first four alter every radiograph alike. The last three are harder: they give each one what goes with the *other*
class in the training files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .operations import add_noise, blur, coarsen, compress, exchange_aspect, expose, mask_border, match_tones, warp

# (image, random numbers, label, train radiographs of the other class (m, h, w)) -> image; all uint8 (h, w)
StressCopy = Callable[[np.ndarray, np.random.Generator, int, np.ndarray], np.ndarray]


def copy_encoding(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """Every image at one sharpness and one encoding: a blur of 0.6 pixels, then JPEG at quality 60."""
    return compress(blur(image, 0.6), 60)


def copy_framing(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """Another radiographer: within 5 degrees, 10 % zoom, 8 % aspect, 6 % shift, and a 3 % black border."""
    shift = tuple(rng.uniform(-0.06, 0.06, 2))
    moved = warp(image, rng.uniform(-5, 5), rng.uniform(0.9, 1.1), rng.uniform(0.92, 1.08), shift)
    return mask_border(moved, 0.03)


def copy_exposure(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """Another machine: gamma 0.65 to 1.5, contrast 0.75 to 1.3, brightness within 10 %."""
    gamma, contrast = np.exp(rng.uniform(-0.43, 0.41)), np.exp(rng.uniform(-0.29, 0.26))
    return expose(image, gamma, contrast, rng.uniform(-0.1, 0.1))


def copy_noise(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """A poorer detector: 50 to 80 % of the resolution, and noise of 5 gray levels."""
    return add_noise(coarsen(image, rng.uniform(0.5, 0.8)), 5, rng)


def copy_tones(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """The gray levels of a train radiograph of the other class; the order of tones stays."""
    return match_tones(image, others[rng.integers(len(others))])


def copy_aspect(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """The aspect ratio that goes with the other class."""
    return exchange_aspect(image, label)


def copy_exchange(image: np.ndarray, rng: np.random.Generator, label: int, others: np.ndarray) -> np.ndarray:
    """Gray levels and aspect ratio of the other class: they mislead a model that relies on them."""
    return exchange_aspect(copy_tones(image, rng, label, others), label)


STRESS_COPIES: dict[str, StressCopy] = {
    "encoding": copy_encoding,
    "framing": copy_framing,
    "exposure": copy_exposure,
    "noise": copy_noise,
    "tones": copy_tones,
    "aspect": copy_aspect,
    "exchange": copy_exchange,
}


def make_stress_copies(images: np.ndarray, rows: pd.DataFrame, name: str, donors: dict[int, np.ndarray]) -> np.ndarray:
    """STRESS_COPIES[name] of every image (n, h, w); the draw depends on the file's hash alone, not on its place.

    Args: rows: sha256 and label of each image. donors: label -> train images (m, h, w) that lend their gray levels.
    """
    change, copies = STRESS_COPIES[name], []
    for image, digest, label in zip(images, rows["sha256"], rows["label"], strict=True):
        rng = np.random.default_rng(int(digest[:12], 16))
        copies.append(change(image, rng, label, donors[1 - label]))
    return np.stack(copies)


def find_donors(pixels: np.ndarray, rows: pd.DataFrame) -> dict[int, np.ndarray]:
    """label -> the radiographs of train_fit, which alone may lend their gray levels."""
    train = (rows["split"] == "train_fit").to_numpy()
    return {label: pixels[train & (rows["label"] == label).to_numpy()] for label in (0, 1)}
