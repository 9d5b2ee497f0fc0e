"""Stress copies of validation, drawn once per radiograph: do predictions depend on what a radiologist ignores?

None of them sees the label. The last three give each radiograph what a random one of train_fit has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

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


class Donors(NamedTuple):
    """The radiographs of train_fit, which alone may lend what they have."""

    pixels: np.ndarray  # uint8 (m, h, w)
    aspects: np.ndarray  # (m,) width / height of the original files


class Film(NamedTuple):
    """The shape of the radiograph that is copied."""

    aspect: float  # width / height of the original file
    window: float  # width / height of the input; 0: the whole picture, stretched to a square


# (image, random numbers, its film, train radiographs) -> image; both uint8 (h, w)
StressCopy = Callable[[np.ndarray, np.random.Generator, Film, Donors], np.ndarray]


def copy_encoding(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """Every image at one sharpness and one encoding: a blur of 0.6 pixels, then JPEG at quality 60."""
    return compress(blur(image, 0.6), 60)


def copy_framing(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """Another radiographer: within 5 degrees, 10 % zoom, 8 % aspect, 6 % shift, and a 3 % black border."""
    shift = tuple(rng.uniform(-0.06, 0.06, 2))
    moved = warp(image, rng.uniform(-5, 5), rng.uniform(0.9, 1.1), rng.uniform(0.92, 1.08), shift)
    return mask_border(moved, 0.03)


def copy_exposure(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """Another machine: gamma 0.65 to 1.5, contrast 0.75 to 1.3, brightness within 10 %."""
    gamma, contrast = np.exp(rng.uniform(-0.43, 0.41)), np.exp(rng.uniform(-0.29, 0.26))
    return expose(image, gamma, contrast, rng.uniform(-0.1, 0.1))


def copy_noise(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """A poorer detector: 50 to 80 % of the resolution, and noise of 5 gray levels."""
    return add_noise(coarsen(image, rng.uniform(0.5, 0.8)), 5, rng)


def copy_low_resolution(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """As from a copy of 64 x 64 pixels."""
    return coarsen(image, 64 / image.shape[0]) if image.shape[0] > 64 else image


def copy_tones(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """The gray levels of a random train radiograph; the order of tones stays."""
    return match_tones(image, donors.pixels[rng.integers(len(donors.pixels))])


def copy_shape(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """Re-cropped to the aspect ratio of a random train radiograph."""
    donor = donors.aspects[rng.integers(len(donors.aspects))]
    return recrop(image, film.aspect, donor, film.window, tuple(rng.uniform(0, 1, 2)))


def copy_sharpness(image: np.ndarray, rng: np.random.Generator, film: Film, donors: Donors) -> np.ndarray:
    """The sharpness along x and y of a random train radiograph."""
    own, donor = measure_sharpness(np.stack([image, donors.pixels[rng.integers(len(donors.pixels))]]))
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


def make_stress_copies(
    images: np.ndarray, digests: Iterable[str], films: Films, name: str, donors: Donors
) -> np.ndarray:
    """STRESS_COPIES[name] of every image (n, h, w); the draw depends on the file's hash alone, not on its place.

    Args: digests: SHA-256 of each file. films: their shapes.
    """
    change = STRESS_COPIES[name]
    return np.stack(
        [
            change(image, np.random.default_rng(int(digest[:12], 16)), Film(aspect, films.window), donors)
            for image, digest, aspect in zip(images, digests, films.aspects, strict=True)
        ]
    )
