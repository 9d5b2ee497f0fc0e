"""Stress copies of validation, drawn once per radiograph: do predictions depend on what a radiologist ignores?

None of them sees the label. The last three give each radiograph what a random one of train_fit has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .augmentations import Films
from .operations import (
    add_noise,
    blur,
    coarsen,
    compress,
    expose,
    mask_border,
    match_sharpness,
    match_tones,
    measure_sharpness,
    recrop,
    warp,
)

# (image, its file's width / height, random numbers, radiographs of train_fit) -> image; both uint8 (h, w)
StressCopy = Callable[[np.ndarray, float, np.random.Generator, Films], np.ndarray]


def copy_encoding(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """Every image at one sharpness and one encoding: a blur of 0.6 pixels, then JPEG at quality 60."""
    return compress(blur(image, 0.6), 60)


def copy_framing(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """Another radiographer: within 5 degrees, 10 % zoom, 8 % aspect, 6 % shift, and a 3 % black border."""
    shift = tuple(rng.uniform(-0.06, 0.06, 2))
    moved = warp(image, rng.uniform(-5, 5), rng.uniform(0.9, 1.1), rng.uniform(0.92, 1.08), shift)
    return mask_border(moved, 0.03)


def copy_exposure(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """Another machine: gamma 0.65 to 1.5, contrast 0.75 to 1.3, brightness within 10 %."""
    gamma, contrast = np.exp(rng.uniform(-0.43, 0.41)), np.exp(rng.uniform(-0.29, 0.26))
    return expose(image, gamma, contrast, rng.uniform(-0.1, 0.1))


def copy_noise(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """A poorer detector: 50 to 80 % of the resolution, and noise of 5 gray levels."""
    return add_noise(coarsen(image, rng.uniform(0.5, 0.8)), 5, rng)


def copy_low_resolution(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """As from a copy of 64 x 64 pixels."""
    return coarsen(image, 64 / image.shape[0]) if image.shape[0] > 64 else image


def copy_tones(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """The gray levels of a random train radiograph; the order of tones stays."""
    return match_tones(image, donors.pixels[rng.integers(len(donors))])


def copy_shape(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """Re-cropped to the aspect ratio of a random train radiograph."""
    donor = donors.aspects[rng.integers(len(donors))]
    return recrop(image, aspect, donor, donors.window, tuple(rng.uniform(0, 1, 2)))


def copy_sharpness(image: np.ndarray, aspect: float, rng: np.random.Generator, donors: Films) -> np.ndarray:
    """The sharpness along x and y of a random train radiograph."""
    own, donor = measure_sharpness(np.stack([image, donors.pixels[rng.integers(len(donors))]]))
    return match_sharpness(image[None], (donor - own)[None])[0]


STRESS_COPIES: dict[str, StressCopy] = {
    "encoding": copy_encoding,
    "framing": copy_framing,
    "exposure": copy_exposure,
    "noise": copy_noise,
    "resolution": copy_low_resolution,
    "tones": copy_tones,
    "shape": copy_shape,
    "sharpness": copy_sharpness,
}


def make_stress_copies(films: Films, digests: Iterable[str], name: str, donors: Films) -> np.ndarray:
    """STRESS_COPIES[name] of every film, uint8 (n, h, w); the draw depends on the file's hash alone, not on its place.

    Args: digests: SHA-256 of each file. donors: the radiographs of train_fit, which alone lend what they have; of the
    same window.
    """
    change = STRESS_COPIES[name]
    return np.stack(
        [
            change(image, aspect, np.random.default_rng(int(digest[:12], 16)), donors)
            for image, aspect, digest in zip(films.pixels, films.aspects, digests, strict=True)
        ]
    )
