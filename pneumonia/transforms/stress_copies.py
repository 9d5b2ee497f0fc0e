"""Twins: the stress copies of validation, drawn once per radiograph.

They ask whether the answer hangs on something that a radiologist would not care about. The first four change every
radiograph alike. The exchanges are harder: they give each one what goes with the *other* class in the training files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .operations import add_noise, blur, coarsen, compress, exchange_aspect, expose, mask_border, match_tones, warp

Donors = dict[int, np.ndarray]  # label -> train radiographs, uint8 (m, h, w)


def encoding_twin(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every image at one sharpness and one encoding: a blur of 0.6 pixels, then JPEG at quality 60."""
    return compress(blur(image, 0.6), 60)


def framing_twin(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another radiographer: within 5 degrees, 10 % zoom, 8 % aspect, 6 % shift, and a 3 % black border."""
    shift = tuple(rng.uniform(-0.06, 0.06, 2))
    moved = warp(image, rng.uniform(-5, 5), rng.uniform(0.9, 1.1), rng.uniform(0.92, 1.08), shift)
    return mask_border(moved, 0.03)


def exposure_twin(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another machine: gamma 0.65 to 1.5, contrast 0.75 to 1.3, brightness within 10 %."""
    gamma, contrast = np.exp(rng.uniform(-0.43, 0.41)), np.exp(rng.uniform(-0.29, 0.26))
    return expose(image, gamma, contrast, rng.uniform(-0.1, 0.1))


def noise_twin(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A poorer detector: 50 to 80 % of the resolution, and noise of 5 gray levels."""
    return add_noise(coarsen(image, rng.uniform(0.5, 0.8)), 5, rng)


def tones_twin(image: np.ndarray, donor: np.ndarray, label: int) -> np.ndarray:
    """The gray levels of a train radiograph of the other class; what is brighter than what stays."""
    return match_tones(image, donor)


def aspect_twin(image: np.ndarray, donor: np.ndarray, label: int) -> np.ndarray:
    """The aspect ratio that goes with the other class."""
    return exchange_aspect(image, label)


def exchange_twin(image: np.ndarray, donor: np.ndarray, label: int) -> np.ndarray:
    """Gray levels and aspect ratio of the other class. A model that leans on them changes its mind."""
    return exchange_aspect(match_tones(image, donor), label)


TWINS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "encoding": encoding_twin,
    "framing": framing_twin,
    "exposure": exposure_twin,
    "noise": noise_twin,
}
EXCHANGES: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "tones": tones_twin,
    "aspect": aspect_twin,
    "exchange": exchange_twin,
}
ALL_TWINS = (*TWINS, *EXCHANGES)


def build_twins(pixels: np.ndarray, used: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """The stress copies of validation: {split name: (rows, uint8 images (n, h, w))}."""
    chosen = np.flatnonzero(used["split"] == "validation")
    rows, donors = used.iloc[chosen], find_donors(pixels, used)
    return {
        f"validation_{name}": (
            rows.assign(split=f"validation_{name}"),
            make_twins(pixels[chosen], rows, name, donors),
        )
        for name in ALL_TWINS
    }


def make_twins(images: np.ndarray, rows: pd.DataFrame, name: str, donors: Donors) -> np.ndarray:
    """The twin of every image (n, h, w); the draw hangs on the file's hash alone, so that order does not matter.

    Args: rows: sha256 and label of each image. donors: label -> train images (m, h, w) that an exchange may draw from.
    """
    change = TWINS.get(name)
    if change is None:
        return exchange_images(images, rows, EXCHANGES[name], donors)
    return np.stack([change(image, draw(digest)) for image, digest in zip(images, rows["sha256"], strict=True)])


def exchange_images(images: np.ndarray, rows: pd.DataFrame, change: Callable, donors: Donors) -> np.ndarray:
    """`change` every image (n, h, w) with the help of a train radiograph of the other class."""
    changed = []
    for image, digest, label in zip(images, rows["sha256"], rows["label"], strict=True):
        others = donors[1 - label]
        changed.append(change(image, others[draw(digest).integers(len(others))], label))
    return np.stack(changed)


def find_donors(pixels: np.ndarray, used: pd.DataFrame) -> Donors:
    """label -> the radiographs of train_fit, which alone may lend their gray levels."""
    rows = (used["split"] == "train_fit").to_numpy()
    return {label: pixels[rows & (used["label"] == label).to_numpy()] for label in (0, 1)}


def draw(sha256: str) -> np.random.Generator:
    """The random numbers of one file, whatever its name and place."""
    return np.random.default_rng(int(sha256[:12], 16))
