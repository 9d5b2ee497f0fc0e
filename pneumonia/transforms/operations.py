"""Operations on one radiograph that leave the diagnosis alone, each by an explicit amount.

Augmentations draw the amounts again for every training image and epoch, stress copies once per radiograph, corruptions
take them from a table. Images are uint8 (h, w); every operation returns a new image of the same shape and leaves its
input as it was.
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy.fft


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


def recrop(
    image: np.ndarray, aspect: float, donor: float, window: float = 0.0, place: tuple[float, float] = (0.5, 0.5)
) -> np.ndarray:
    """The picture as if its film had been cut to the width / height of another one.

    Args:
        aspect, donor: width / height of this film and of the other. window: that of the input (0: stretched to it).
        place: where the smaller picture lies within the larger one, from left and top, as shares of what is cut off.
    """
    before, after = _view(aspect, window), _view(donor, window)
    scale = min(1, aspect / donor)  # a wider donor cuts the height
    across, down = min(1, scale * after[0] / before[0]), min(1, scale * after[1] / before[1])
    if min(across, down) > 0.999:
        return image
    height, width = image.shape
    matrix = np.array([[across, 0, place[0] * (1 - across) * width], [0, down, place[1] * (1 - down) * height]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _view(aspect: float, window: float) -> tuple[float, float]:
    """Width and height of the input, in heights of a film of this width / height."""
    if not window:
        return aspect, 1.0
    height = min(1, aspect / window)
    return window * height, height


SHARPNESS_BLOCKS = 8  # along each axis of the spectrum


def measure_sharpness(images: np.ndarray) -> np.ndarray:
    """Mean log amplitude in blocks of the spectrum along y and x, relative to the coarsest block: float32 (n, 8, 8).

    What a film gained or lost in fine detail along either axis: resolution, noise, sharpening, an earlier stretch.
    """
    height, width = images.shape[1:]
    taper = np.hanning(height).astype(np.float32)[:, None] * np.hanning(width).astype(np.float32)
    centred = images.astype(np.float32) - images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    amplitude = np.log(np.abs(scipy.fft.rfft2(centred * taper)) + 1)
    folded = amplitude[:, : height // 2] + amplitude[:, ::-1][:, : height // 2]
    blocks = np.stack([cv2.resize(half, (SHARPNESS_BLOCKS,) * 2, interpolation=cv2.INTER_AREA) for half in folded / 2])
    return blocks - blocks[:, :1, :1]


def match_sharpness(images: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Add `difference` (n, 8, 8) to what `measure_sharpness` finds in uint8 images (n, h, w)."""
    height, width = images.shape[1:]
    limited = np.clip(difference, -2, 2)
    down, across = np.minimum(np.arange(height), height - np.arange(height)), np.arange(width // 2 + 1)
    y = ((down + 0.5) * (2 * SHARPNESS_BLOCKS / height) - 0.5).astype(np.float32)
    x = ((across + 0.5) * (2 * SHARPNESS_BLOCKS / width) - 0.5).astype(np.float32)
    x, y = np.meshgrid(x, y)
    gains = np.stack([cv2.remap(block, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for block in limited])
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    spectrum = scipy.fft.rfft2(images.astype(np.float32) - mean) * np.exp(gains)
    return np.clip(scipy.fft.irfft2(spectrum, s=(height, width)) + mean, 0, 255).round().astype(np.uint8)


def cover(image: np.ndarray, corner: tuple[float, float], size: tuple[float, float], level: int) -> np.ndarray:
    """Paint a box of one gray level; corner (top, left) and size (height, width) as shares of the side."""
    covered = image.copy()
    top, left = (round(c * n) for c, n in zip(corner, image.shape, strict=True))
    high, wide = (round(s * n) for s, n in zip(size, image.shape, strict=True))
    covered[top : top + high, left : left + wide] = level
    return covered
