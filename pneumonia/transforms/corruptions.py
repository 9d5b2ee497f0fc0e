"""Corruptions, as by other machines, printers and scanners: 16 changes of a radiograph, each in five severities.

Signs, directions and places are drawn from the file's hash, so that a film is changed the same way at every severity,
only further. Images are uint8 (h, w); amounts are for SIDE pixels, before the stretch to a model's own size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from .operations import blur, coarsen, compress, expose, mask_border, warp

SIDE = 224  # pixels per side at which radiographs are corrupted
VERSION = 1  # raise it when a corruption changes, so that cached scores are not used
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


class Corruption(NamedTuple):
    """One kind of change: how it is done, by which amount at severity 1 to 5, and what that amount is."""

    change: Change
    amounts: tuple[float, float, float, float, float]
    unit: str


def sign(rng: np.random.Generator) -> int:
    """1 or -1."""
    return 1 if rng.random() < 0.5 else -1


def change_exposure(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Brighter or darker by a share of full scale."""
    return expose(image, 1, 1, sign(rng) * amount)


def change_contrast(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Gamma up or down, and contrast the other way or the same, each by exp(amount)."""
    return expose(image, np.exp(sign(rng) * amount), np.exp(sign(rng) * amount / 2), 0)


def clip_window(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A window too narrow: this share of the pixels turns black, as many white, the rest is spread between."""
    low, high = np.quantile(image, (amount, 1 - amount))
    levels = (np.arange(256) - low) * (255 / max(high - low, 1))
    return cv2.LUT(image, np.clip(levels, 0, 255).round().astype(np.uint8))


def sharpen(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Unsharp mask of 2 pixels, as many machines apply it."""
    soft = cv2.GaussianBlur(image, (0, 0), 2).astype(np.float32)
    return np.clip(image + amount * (image - soft), 0, 255).round().astype(np.uint8)


def add_quantum_noise(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A lower dose: Poisson noise of `amount` photons per pixel at white."""
    return np.clip(rng.poisson(image / 255 * amount) * (255 / amount), 0, 255).round().astype(np.uint8)


def rotate(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    return warp(image, sign(rng) * amount, 1, 1, (0, 0))


def shift(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """By a share of the side, in any direction; what comes in is black."""
    angle = rng.uniform(0, 2 * np.pi)
    return warp(image, 0, 1, 1, (amount * np.cos(angle), amount * np.sin(angle)))


def invert(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """MONOCHROME1 read as MONOCHROME2. A film is inverted or not: severity is the share of films that are."""
    return 255 - image if rng.random() < amount else image


def write_markers(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """White text in the four corners, `amount` of the side high."""
    marked, height = image.copy(), amount * image.shape[0]
    for corner in range(4):
        text = "".join(rng.choice(list("LRAP0123456789"), 3 if corner else 1))
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1, 1)
        scale, edge = height / high, 0.03 * image.shape[0]
        x = edge if corner % 2 == 0 else image.shape[1] - edge - scale * wide
        y = edge + height if corner < 2 else image.shape[0] - edge
        thick = max(1, round(height / 10))
        cv2.putText(marked, text, (round(x), round(y)), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick, cv2.LINE_AA)
    return marked


def draw_grid(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Lines of an anti-scatter grid: a wave of 4 to 10 pixels and `amount` gray levels across the film."""
    wave = amount * np.sin(2 * np.pi * (np.arange(image.shape[1]) / rng.uniform(4, 10) + rng.random()))
    return np.clip(image + wave[None], 0, 255).round().astype(np.uint8)


def vignette(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A film on a light box, photographed: darker by up to `amount` towards the corners, the middle a little off."""
    x, y = (np.linspace(-1, 1, n) - rng.uniform(-0.3, 0.3) for n in image.shape[::-1])
    return (image * (1 - amount * np.clip((x[None] ** 2 + y[:, None] ** 2) / 2, 0, 1))).round().astype(np.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "exposure": Corruption(change_exposure, (0.04, 0.08, 0.12, 0.18, 0.25), "of full scale"),
    "contrast": Corruption(change_contrast, (0.1, 0.2, 0.35, 0.5, 0.7), "log gamma"),
    "window clipping": Corruption(clip_window, (0.01, 0.03, 0.06, 0.1, 0.15), "of pixels at either end"),
    "sharpening": Corruption(sharpen, (0.5, 1, 1.5, 2.5, 4), "unsharp mask"),
    "blur": Corruption(lambda image, amount, rng: blur(image, amount), (0.5, 1, 1.5, 2.5, 4), "pixels"),
    "quantum noise": Corruption(add_quantum_noise, (1500, 600, 250, 100, 40), "photons"),
    "JPEG": Corruption(lambda image, amount, rng: compress(image, int(amount)), (75, 50, 30, 15, 8), "quality"),
    "down-sampling": Corruption(
        lambda image, amount, rng: coarsen(image, amount), (0.7, 0.5, 0.35, 0.25, 0.18), "of the resolution"
    ),
    "rotation": Corruption(rotate, (2, 4, 7, 11, 16), "degrees"),
    "shift": Corruption(shift, (0.03, 0.06, 0.09, 0.13, 0.18), "of the side"),
    "crop": Corruption(
        lambda image, amount, rng: warp(image, 0, 1 / (1 - amount), 1, (0, 0)),
        (0.04, 0.08, 0.14, 0.2, 0.3),
        "of the side cut off",
    ),
    "border": Corruption(
        lambda image, amount, rng: mask_border(image, amount), (0.02, 0.04, 0.06, 0.09, 0.13), "of the side"
    ),
    "inversion": Corruption(invert, (0.05, 0.1, 0.2, 0.5, 1.0), "of the films"),
    "text markers": Corruption(write_markers, (0.04, 0.06, 0.09, 0.13, 0.18), "of the side high"),
    "grid lines": Corruption(draw_grid, (3, 6, 10, 16, 25), "gray levels"),
    "vignetting": Corruption(vignette, (0.15, 0.3, 0.45, 0.6, 0.8), "darker"),
}
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images: np.ndarray, digests: list[str], name: str, severity: int) -> np.ndarray:
    """Every image (n, h, w) changed by CORRUPTIONS[name] at severity 1 to 5; the draw depends on its SHA-256 alone."""
    kind = CORRUPTIONS[name]
    amount, number = kind.amounts[severity - 1], list(CORRUPTIONS).index(name)
    draws = (np.random.default_rng([int(digest[:12], 16), number]) for digest in digests)
    return np.stack([kind.change(image, amount, rng) for image, rng in zip(images, draws, strict=True)])
