"""Changes to a radiograph that leave the diagnosis alone: small operations, the augmentations and twins made of them.

Augmentations are drawn anew for every training image and epoch. Twins are drawn once per validation radiograph: they
ask whether the answer hangs on something that a radiologist would not care about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from .config import PneumoniaError

Operation = Callable[[np.ndarray, np.random.Generator], np.ndarray]  # (h, w) uint8 -> (h, w) uint8


# --- operations: one image, explicit amounts ---------------------------------------------------------------------


def warp(image: np.ndarray, degrees: float, zoom: float, aspect: float, shift: tuple[float, float]) -> np.ndarray:
    """Rotate, zoom, widen by `aspect` and shift (as a share of the side) in one affine step; edges are black."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, zoom)
    matrix = matrix @ np.array([[aspect, 0, (1 - aspect) * width / 2], [0, 1, 0], [0, 0, 1]])
    matrix[:, 2] += np.array(shift) * (width, height)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


def expose(image: np.ndarray, gamma: float, contrast: float, brightness: float) -> np.ndarray:
    """Gamma, then contrast about mid-gray, then brightness (as a share of full scale), as one look-up table."""
    levels = (np.arange(256) / 255) ** gamma
    levels = (levels - 0.5) * contrast + 0.5 + brightness
    return cv2.LUT(image, np.clip(levels * 255, 0, 255).round().astype(np.uint8))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; `sigma` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Through JPEG and back at this quality (1-100)."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def coarsen(image: np.ndarray, share: float) -> np.ndarray:
    """Down to `share` of the resolution and up again."""
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def add_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise; `deviation` in gray levels."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * deviation
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def mask_border(image: np.ndarray, share: float) -> np.ndarray:
    """Paint a black frame, `share` of the side wide."""
    width = round(share * image.shape[0])
    masked = np.zeros_like(image)
    inside = slice(width, image.shape[0] - width)
    masked[inside, inside] = image[inside, inside]
    return masked


# --- augmentations: amounts drawn at random; each can be switched off by leaving out its name ---------------------


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


AUGMENTATIONS: dict[str, Operation] = {
    "flip": random_flip,
    "affine": random_affine,
    "exposure": random_exposure,
    "sharpness": random_sharpness,
    "noise": random_noise,
}


def augment_batch(images: np.ndarray, names: Iterable[str], rng: np.random.Generator) -> np.ndarray:
    """Apply the named augmentations, in order, to every image of a uint8 batch (n, h, w).

    Raises: PneumoniaError for a name that is not in AUGMENTATIONS.
    """
    names = tuple(names)
    if unknown := set(names) - set(AUGMENTATIONS):
        raise PneumoniaError(f"unknown augmentation '{min(unknown)}'; known: {', '.join(AUGMENTATIONS)}")
    augmented = np.empty_like(images)
    for index, image in enumerate(images):
        for name in names:
            image = AUGMENTATIONS[name](image, rng)
        augmented[index] = image
    return augmented


# --- twins: the stress copies of validation -----------------------------------------------------------------------


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


TWINS: dict[str, Operation] = {
    "encoding": encoding_twin,
    "framing": framing_twin,
    "exposure": exposure_twin,
    "noise": noise_twin,
}


def make_twins(images: np.ndarray, sha256: Iterable[str], name: str) -> np.ndarray:
    """The twin of every image (n, h, w); the draw hangs on the file's hash alone, so that order does not matter."""
    pairs = zip(images, sha256, strict=True)
    return np.stack([TWINS[name](image, np.random.default_rng(int(digest[:12], 16))) for image, digest in pairs])
