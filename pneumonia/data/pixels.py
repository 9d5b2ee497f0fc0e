"""The cache: every radiograph of a catalog is decoded once, then memory-mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..config import PneumoniaError, Run, short_hash
from ..records import save_atomically
from .catalog import find_root, select_used
from .radiograph import decode, read_bytes
from .sizes import find_original_sizes

PREPROCESSING_VERSION = 2  # raise it when radiograph.decode changes, so that old caches are not used


def load_pixels(run: Run, catalog: pd.DataFrame, size: int, window: float = 0.0) -> np.ndarray:
    """The pixels of `dataset.load_radiographs`, without their rows.

    Returns: read-only uint8 array (n, size, size), in the order of `select_used(catalog)`.
    Raises: PneumoniaError naming the file that cannot be read (it changed since the catalog was written).
    """
    cached = pixels_path(run, catalog, size, window)
    if not cached.exists():
        _decode(find_root(run.data, run.cache), select_used(catalog), size, window, cached)
    return np.load(cached, mmap_mode="r")


def pixels_path(run: Run, catalog: pd.DataFrame, size: int, window: float = 0.0) -> Path:
    """Where the decoded radiographs are; the name changes with the files, the size and the way of decoding."""
    used = select_used(catalog)
    fields = [PREPROCESSING_VERSION, size, used[["path", "sha256"]].values.tolist()]
    if window:
        fields += [window, find_original_sizes(used).tolist()]
    return run.cache / f"pixels-{size}px-{short_hash(fields)}.npy"


def store_pixels(run: Run, catalog: pd.DataFrame, images: dict[str, np.ndarray], size: int) -> None:
    """Put what the audit has decoded, path -> uint8 (size, size), where load_pixels finds it."""
    cached = pixels_path(run, catalog, size)
    if not cached.exists():
        used = select_used(catalog)
        _write(cached, (images[path] for path in used["path"]), (len(used), size, size))


def _decode(root: Path, used: pd.DataFrame, size: int, window: float, target: Path) -> None:
    def read(path: str, sha256: str, shape: tuple[int, int]) -> np.ndarray:
        content = read_bytes(root / path)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise PneumoniaError(f"{root / path}: changed since the catalog was written; run `make run`")
        return decode(content, str(root / path), size, window, shape).pixels

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(read, used["path"], used["sha256"], find_original_sizes(used).tolist())
        shown = tqdm(decoded, f"decoding to {size} px", len(used), unit="img", leave=False)
        _write(target, shown, (len(used), size, size))


def _write(target: Path, images: Iterable[np.ndarray], shape: tuple[int, int, int]) -> None:
    """Write the cache to a temporary file and rename it when complete, so that a kill leaves no partial cache.

    It is written as a stream: a memory map on a full disk ends the process with SIGBUS instead of an error.
    """

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for image in images:
                file.write(image.tobytes())

    save_atomically(target, write)
