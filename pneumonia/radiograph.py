"""One image file -> one grayscale array, or one clear error: everything shown to a model passes through here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .config import PneumoniaError

# Annex K of ITU-T T.81 (the JPEG standard): the luminance table that libjpeg scales by its "quality".
STANDARD_LUMA_TABLE = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
     51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
     120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
)  # fmt: skip


def read_radiograph(path: Path, size: int) -> np.ndarray:
    """Read one radiograph as the models see it.

    Grayscale, then an antialiased bilinear stretch to size x size (the aspect ratio is given up, as in the copies
    that MedMNIST and Kaggle kernels use), so that an original and a smaller copy of it give nearly the same input.

    Returns: uint8 array of shape (size, size), 0 = black, 255 = white.
    Raises: PneumoniaError naming the file when it is empty, truncated, or not an image.
    """
    try:
        with _open(path) as image:
            image.draft("L", (2 * size, 2 * size))  # JPEG only: decode large originals at a fraction of their size
            gray = to_grayscale(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PneumoniaError(f"{path}: damaged image ({error}); replace the file or remove it") from error
    return np.asarray(gray.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=None), dtype=np.uint8)


def to_grayscale(image: Image.Image) -> Image.Image:
    """Any Pillow mode to 8-bit grayscale ("L").

    16-bit files are scaled by the range of their bit depth (12 bits when no pixel exceeds 4,095, else 16), never by
    the image's own extremes, so that exposure is kept. Transparency is dropped: it hides no anatomy.
    """
    if image.mode == "L":
        return image.convert("L")  # a copy that is fully decoded: truncation shows here
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image, dtype=np.float64)
        full_scale = 255 if pixels.max() <= 255 else 4095 if pixels.max() <= 4095 else 65535
        return Image.fromarray(np.clip(pixels * (255 / full_scale), 0, 255).round().astype(np.uint8))
    return image.convert("RGB").convert("L")


def read_header(path: Path) -> dict[str, object]:
    """Width and height in pixels, Pillow mode, and JPEG quality (nan for other formats), without decoding pixels.

    Raises: PneumoniaError as `read_radiograph`.
    """
    with _open(path) as image:
        tables = getattr(image, "quantization", None)  # numbered by the encoder; luminance comes first
        quality = estimate_jpeg_quality(np.asarray(tables[min(tables)])) if tables else float("nan")
        return {"width": image.width, "height": image.height, "mode": image.mode, "jpeg_quality": quality}


def estimate_jpeg_quality(luma_table: np.ndarray) -> int:
    """The libjpeg quality (1-100) whose scaled luminance table lies nearest to this one (order of entries ignored)."""
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)
    tables = np.clip((STANDARD_LUMA_TABLE[None] * scale[:, None] + 50) // 100, 1, 255)
    return int(qualities[np.abs(tables.sum(axis=1) - luma_table.sum()).argmin()])


def _open(path: Path) -> Image.Image:
    try:
        if path.stat().st_size == 0:
            raise PneumoniaError(f"{path}: empty file; fetch it again or remove it")
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise PneumoniaError(f"{path}: not an image; remove the file or fetch it again") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error  # str() of an OSError would name the path once more
        raise PneumoniaError(f"{path}: cannot be read ({reason}); check the file and its permissions") from error
