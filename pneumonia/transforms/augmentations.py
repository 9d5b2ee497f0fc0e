"""Augmentations: amounts drawn at random for every training image and epoch; each is switched off by leaving it out.

They make what should not matter (framing, exposure, encoding) say nothing about the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from ..config import PneumoniaError
from .operations import (
    add_noise,
    blur,
    coarsen,
    compress,
    cover,
    exchange_aspect,
    exchange_sharpness,
    expose,
    mask_border,
    match_tones,
    shade,
    warp,
)

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (h, w) uint8 -> (h, w) uint8


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror left and right, every second time: pneumonia has no preferred side worth learning."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def random_affine(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Framing as it varies between radiographers: within 12 degrees, 20 % zoom, 12 % aspect, 8 % shift."""
    shift = tuple(rng.uniform(-0.08, 0.08, 2))
    return warp(image, rng.uniform(-12, 12), np.exp(rng.uniform(-0.2, 0.2)), np.exp(rng.uniform(-0.12, 0.12)), shift)


def random_exposure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure as it varies between machines: gamma 0.55-1.8, contrast 0.6-1.5, brightness within 15 %."""
    gamma, contrast = np.exp(rng.uniform(-0.6, 0.6)), np.exp(rng.uniform(-0.5, 0.4))
    return expose(image, gamma, contrast, rng.uniform(-0.15, 0.15))


def random_sharpness(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur of up to 1.2 pixels, every second time."""
    return blur(image, rng.uniform(0.3, 1.2)) if rng.random() < 0.5 else image


def random_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of up to 10 gray levels, every second time."""
    return add_noise(image, rng.uniform(0, 10), rng) if rng.random() < 0.5 else image


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
    """One of: blur, less resolution, noise, JPEG, nothing; as files differ between archives."""
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
    "sharpness": random_sharpness,
    "noise": random_noise,
    "framing": random_framing,
    "crop": random_crop,
    "shading": random_shading,
    "cover": random_cover,
    "encoding": random_encoding,
}


def exchange_tones(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give every second image the gray levels, in part, of another one of the batch, whatever its class.

    After it exposure says less about the class, while what is brighter than what in a picture stays.
    """
    donors, shares = rng.permutation(len(images)), rng.uniform(0, 1, len(images)) * (rng.random(len(images)) < 0.5)
    triples = zip(images, images[donors], shares, strict=True)
    return np.stack([match_tones(image, donor, share) if share else image for image, donor, share in triples])


def exchange_aspects(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give every second image the aspect ratio of the other class: then it says nothing about the class any more."""
    return _exchange_every_second(exchange_aspect, images, labels, rng)


def exchange_sharpnesses(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give every second image the sharpness of the other class, for the same reason.

    Tried, and not used: a network learns to see the filter, and with it the class (notebooks/04_begin_with_imagenet).
    """
    return _exchange_every_second(exchange_sharpness, images, labels, rng)


def _exchange_every_second(exchange: Callable, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator):
    triples = zip(images, labels, rng.random(len(images)) < 0.5, strict=True)
    return np.stack([exchange(image, int(label)) if chosen else image for image, label, chosen in triples])


# These need the other images of the batch, or the labels; they come first, in this order.
EXCHANGES = {"tones": exchange_tones, "aspect": exchange_aspects, "sharpness_gap": exchange_sharpnesses}


def augment_batch(images: np.ndarray, labels: np.ndarray, names: Iterable[str], rng: np.random.Generator) -> np.ndarray:
    """Apply the named augmentations, exchanges first, to every image of a uint8 batch (n, h, w) with labels (n,).

    Raises: PneumoniaError for a name that is in neither AUGMENTATIONS nor EXCHANGES.
    """
    names = tuple(names)
    if unknown := set(names) - set(AUGMENTATIONS) - set(EXCHANGES):
        known = ", ".join([*AUGMENTATIONS, *EXCHANGES])
        raise PneumoniaError(f"unknown augmentation '{min(unknown)}'; known: {known}")
    for name, exchange in EXCHANGES.items():
        images = exchange(images, labels, rng) if name in names else images
    augmented = np.empty_like(images)
    for index, image in enumerate(images):
        for name in names:
            image = AUGMENTATIONS[name](image, rng) if name in AUGMENTATIONS else image
        augmented[index] = image
    return augmented
