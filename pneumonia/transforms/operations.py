"""Operations on one radiograph that leave the diagnosis alone, each by an explicit amount.

Augmentations draw the amounts again for every training image and epoch, stress copies once per radiograph, corruptions
take them from a table. Images are uint8 (h, w); every operation returns a new image of the same shape and leaves its
input as it was.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

# Mean log(width / height) of PNEUMONIA minus that of NORMAL in 1,566 original train files (0.407 against 0.192).
ASPECT_GAP = 0.214
# Mean log amplitude of PNEUMONIA minus that of NORMAL against cycles per picture, in the 4,413 train_fit radiographs at
# 128 px (each at unit variance, Hann window). What is coarser than 5 cycles is anatomy and stays.
SHARPNESS_CYCLES, SHARPNESS_GAP = (5, 6, 12, 15, 64), (0.0, -0.26, -0.27, -0.50, -0.57)


def warp(
    image: np.ndarray,
    degrees: float,
    zoom: float,
    aspect: float,
    shift: tuple[float, float],
    border: int = cv2.BORDER_CONSTANT,
) -> np.ndarray:
    """Rotate, zoom, widen by `aspect` and shift (share of the side) in one step; edges: black, or as `border` says."""
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, zoom)
    matrix = matrix @ np.array([[aspect, 0, (1 - aspect) * width / 2], [0, 1, 0], [0, 0, 1]])
    matrix[:, 2] += np.array(shift) * (width, height)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)


def exchange_aspect(image: np.ndarray, label: int) -> np.ndarray:
    """The aspect ratio that goes with the other class: a stretch to a square hides it, and bends the anatomy.

    The picture is made taller (NORMAL) or wider (PNEUMONIA) and cut to the old frame: bars would give the class away.
    """
    gap = np.exp(ASPECT_GAP)
    zoom, aspect = (gap, 1 / gap) if label == 0 else (1, gap)
    return warp(image, 0, zoom, aspect, (0, 0))


def exchange_sharpness(image: np.ndarray, label: int) -> np.ndarray:
    """The sharpness of the other class: fine detail made weaker (NORMAL) or stronger (PNEUMONIA), by frequency."""
    height, width = image.shape
    sign, mean = (1 if label == 0 else -1), image.mean()
    changed = np.fft.irfft2(np.fft.rfft2(image - mean) * _sharpness_gain(height, width) ** sign, s=image.shape) + mean
    return np.clip(changed.round(), 0, 255).astype(np.uint8)


@cache
def _sharpness_gain(height: int, width: int) -> np.ndarray:
    """Amplitude of PNEUMONIA over that of NORMAL for every frequency of rfft2."""
    cycles = np.hypot(np.fft.fftfreq(height, 1 / height)[:, None], np.fft.rfftfreq(width, 1 / width)[None])
    return np.exp(np.interp(cycles, SHARPNESS_CYCLES, SHARPNESS_GAP))


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


def shade(image: np.ndarray, slope: tuple[float, float], bend: tuple[float, float]) -> np.ndarray:
    """Uneven light: brightness times exp(slope * u + bend * u^2) along x and y, u from -1 to 1 (heel effect)."""
    x, y = (
        np.exp(a * u + b * (u**2 - 1 / 3))
        for a, b, u in zip(
            slope, bend, (np.linspace(-1, 1, n, dtype=np.float32) for n in image.shape[::-1]), strict=True
        )
    )
    return np.clip(image * (y[:, None] * x), 0, 255).astype(np.uint8)


def match_tones(image: np.ndarray, donor: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Move the gray levels `share` of the way to those of `donor` (histogram matching); the order of tones stays."""
    levels = np.arange(256)
    ranks = np.cumsum(np.bincount(image.ravel(), minlength=256)) / image.size
    donated = np.cumsum(np.bincount(donor.ravel(), minlength=256)) / donor.size
    table = (1 - share) * levels + share * np.interp(ranks, donated, levels)
    return cv2.LUT(image, table.round().astype(np.uint8))


def cover(image: np.ndarray, corner: tuple[float, float], size: tuple[float, float], level: int) -> np.ndarray:
    """Paint a box of one gray level; corner (top, left) and size (height, width) as shares of the side."""
    covered = image.copy()
    top, left = (round(c * n) for c, n in zip(corner, image.shape, strict=True))
    high, wide = (round(s * n) for s, n in zip(size, image.shape, strict=True))
    covered[top : top + high, left : left + wide] = level
    return covered
