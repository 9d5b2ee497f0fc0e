"""Augmentations: random changes of training radiographs, drawn again in every epoch.

They make what should not matter (framing, exposure, encoding) uninformative about the class. A new one is a function
here and a line of AUGMENTATIONS; a model uses those that its `augmentations` name (series.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..config import PneumoniaError
from .operations import (
    add_noise,
    blur,
    coarsen,
    compress,
    cover,
    expose,
    mask_border,
    match_sharpness,
    match_tones,
    measure_sharpness,
    recrop,
    shade,
    warp,
)

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (h, w) uint8 -> (h, w) uint8
BatchAugmentation = Callable[["Films", np.random.Generator], np.ndarray]  # n films -> (n, h, w) uint8


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror left and right, every second time: pneumonia prefers neither side."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def random_affine(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Framing as it varies between radiographers: within 12 degrees, 20 % zoom, 12 % aspect, 8 % shift."""
    shift = tuple(rng.uniform(-0.08, 0.08, 2))
    return warp(image, rng.uniform(-12, 12), np.exp(rng.uniform(-0.2, 0.2)), np.exp(rng.uniform(-0.12, 0.12)), shift)


def random_exposure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure as it varies between machines: gamma 0.55-1.8, contrast 0.6-1.5, brightness within 15 %."""
    gamma, contrast = np.exp(rng.uniform(-0.6, 0.6)), np.exp(rng.uniform(-0.5, 0.4))
    return expose(image, gamma, contrast, rng.uniform(-0.15, 0.15))


def random_framing(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Within 12 degrees, zoom 0.82 to 1.35, 20 % aspect, 10 % shift; the edges are the mirrored picture, not black.

    Black bars are rare in real files; a network that always sees them is badly calibrated without them.
    """
    shift, degrees = tuple(rng.uniform(-0.1, 0.1, 2)), rng.uniform(-12, 12)
    zoom, aspect = np.exp(rng.uniform(-0.2, 0.3)), np.exp(rng.uniform(-0.2, 0.2))
    return warp(image, degrees, zoom, aspect, shift, cv2.BORDER_REFLECT_101)


def random_crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A window of 65 to 100 % of each side, tilted within 8 degrees, stretched to the frame (random resized crop)."""
    x, y = rng.uniform(0.65, 1, 2) if rng.random() < 0.5 else np.repeat(rng.uniform(0.65, 1), 2)
    shift = tuple((1 / side - 1) / 2 * rng.uniform(-1, 1) for side in (x, y))
    return warp(image, rng.uniform(-8, 8), 1 / y, y / x, shift, cv2.BORDER_REFLECT_101)


def random_shading(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light across the film, every second time."""
    if rng.random() < 0.5:
        return image
    return shade(image, tuple(rng.uniform(-0.4, 0.4, 2)), tuple(rng.uniform(-0.3, 0.3, 2)))


def random_cover(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame of up to 8 % and one box of up to 30 % of the side, each every second time (random erasing)."""
    if rng.random() < 0.5:
        image = mask_border(image, rng.uniform(0, 0.08))
    if rng.random() < 0.5:
        return image
    return cover(image, tuple(rng.uniform(0, 0.8, 2)), tuple(rng.uniform(0.1, 0.3, 2)), int(rng.integers(256)))


def random_encoding(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of blur, lower resolution, noise, JPEG or nothing, as files differ between archives."""
    choice = rng.integers(5)
    if choice == 0:
        return blur(image, rng.uniform(0.3, 1.5))
    if choice == 1:
        return coarsen(image, rng.uniform(0.4, 0.9))
    if choice == 2:
        return add_noise(image, rng.uniform(0, 12), rng)
    return compress(image, int(rng.integers(20, 96))) if choice == 3 else image


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": random_flip,
    "affine": random_affine,
    "exposure": random_exposure,
    "framing": random_framing,
    "crop": random_crop,
    "shading": random_shading,
    "cover": random_cover,
    "encoding": random_encoding,
}


@dataclass(frozen=True)
class Films:
    """All that augmentations and stress copies may know of radiographs. The label is not part of it."""

    pixels: np.ndarray  # uint8 (n, h, w)
    aspects: np.ndarray  # (n,) width / height of the original files
    window: float = 0.0  # width / height of what the pixels show; 0: the whole picture, stretched to a square

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: np.ndarray) -> Films:
        """Those at the chosen positions."""
        return Films(self.pixels[chosen], self.aspects[chosen], self.window)


def exchange_shapes(films: Films, rng: np.random.Generator) -> np.ndarray:
    """Re-crop every image to the aspect ratio of another one of the batch, whatever its class."""
    donors, places = rng.permutation(len(films)), rng.uniform(0, 1, (len(films), 2))
    every = zip(films.pixels, films.aspects, films.aspects[donors], places, strict=True)
    return np.stack([recrop(image, own, other, films.window, place) for image, own, other, place in every])


def exchange_tones(films: Films, rng: np.random.Generator) -> np.ndarray:
    """Give every second image the gray levels, in part, of another one of the batch, whatever its class.

    Exposure then says less about the class, while the order of tones in a picture stays.
    """
    donors, shares = rng.permutation(len(films)), rng.uniform(0, 1, len(films)) * (rng.random(len(films)) < 0.5)
    triples = zip(films.pixels, films.pixels[donors], shares, strict=True)
    return np.stack([match_tones(image, donor, share) if share else image for image, donor, share in triples])


def exchange_all_tones(films: Films, rng: np.random.Generator) -> np.ndarray:
    """Give every image the gray levels of another one of the batch, whatever its class."""
    pairs = zip(films.pixels, films.pixels[rng.permutation(len(films))], strict=True)
    return np.stack([match_tones(image, donor) for image, donor in pairs])


def exchange_sharpness(films: Films, rng: np.random.Generator) -> np.ndarray:
    """Give every image the sharpness along x and y of another one of the batch, whatever its class."""
    measured = measure_sharpness(films.pixels)
    return match_sharpness(films.pixels, measured[rng.permutation(len(films))] - measured)


# These need the other images of the batch; they come first, in this order.
BATCH_AUGMENTATIONS: dict[str, BatchAugmentation] = {
    "shape": exchange_shapes,
    "tones": exchange_tones,
    "all_tones": exchange_all_tones,
    "sharpness": exchange_sharpness,
}


def spell(names: Iterable[str]) -> list[str]:
    """The names as readers meet them: what is exchanged or changed."""
    return [{"tones": "gray levels (in part)", "all_tones": "gray levels"}.get(name, name) for name in names]


def check_augmentations(names: Iterable[str]) -> tuple[str, ...]:
    """The names as a tuple. Raises: PneumoniaError for one that is in neither of the two tables."""
    names = (names,) if isinstance(names, str) else tuple(names)
    known = [*AUGMENTATIONS, *BATCH_AUGMENTATIONS]
    if unknown := [name for name in names if name not in known]:
        raise PneumoniaError(f"unknown augmentation '{unknown[0]}'; known: {', '.join(known)}")
    return names


def augment_batch(films: Films, names: Iterable[str], rng: np.random.Generator) -> np.ndarray:
    """Apply the named augmentations, those of the whole batch first.

    Returns: uint8 (n, h, w). Raises: PneumoniaError for an unknown name.
    """
    names = check_augmentations(names)
    for name, exchange in BATCH_AUGMENTATIONS.items():
        films = replace(films, pixels=exchange(films, rng)) if name in names else films
    augmented = np.empty_like(films.pixels)
    for index, image in enumerate(films.pixels):
        for name in names:
            image = AUGMENTATIONS[name](image, rng) if name in AUGMENTATIONS else image
        augmented[index] = image
    return augmented
