"""Noise in place of radiographs: what does a chain of stretches, windows and augmentations tell of a file's shape?"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from PIL import Image

from .dataset import Radiographs
from .radiograph import decode
from .sizes import find_original_sizes

COPY_SIDE, COPY_QUALITY = 224, 95  # of the stretched copies in which the archive is passed on


def replace_by_noise(radiographs: Radiographs) -> Radiographs:
    """Every radiograph replaced by uniform noise of its own original size, sent through the same chain.

    Noise of the original width x height, stretched to a JPEG of 224 x 224 pixels, read as a radiograph is. Nothing of
    the picture is left; what still tells the class is the size and shape of the file. The draw depends on the file.
    """
    size = radiographs.pixels.shape[-1]
    pixels = np.empty_like(radiographs.pixels)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for index, image in enumerate(
            pool.map(lambda film: _draw(*film, size, radiographs.window), _list(radiographs))
        ):
            pixels[index] = image
    return replace(radiographs, pixels=pixels)


def _list(radiographs: Radiographs) -> Iterator[tuple[str, tuple[int, int]]]:
    shapes = map(tuple, find_original_sizes(radiographs.rows).tolist())
    return zip(radiographs.rows["sha256"], shapes, strict=True)


def _draw(digest: str, shape: tuple[int, int], size: int, window: float) -> np.ndarray:
    rng = np.random.default_rng(int(digest[:12], 16))
    noise = Image.fromarray(rng.integers(256, size=shape[::-1], dtype=np.uint8))
    file = io.BytesIO()
    noise.resize((COPY_SIDE, COPY_SIDE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=COPY_QUALITY)
    return decode(file.getvalue(), digest, size, window, shape).pixels
