"""Keras image generators over the catalog, fed from a cache in which every radiograph is decoded once."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .augment import augment_batch
from .catalog import find_root, select_used
from .config import ModelConfig, PneumoniaError, Run, short_hash
from .radiograph import decode, read_bytes
from .records import save_atomically

PREPROCESSING_VERSION = 1  # raise it when radiograph.decode changes, so that old caches are not used


def load_pixels(run: Run, catalog: pd.DataFrame, size: int) -> np.ndarray:
    """Every used radiograph of the catalog, decoded once and then memory-mapped.

    Returns: read-only uint8 array (n, size, size), in the order of `select_used(catalog)`.
    Raises: PneumoniaError naming the file that cannot be read (it changed since the catalog was written).
    """
    cached = pixels_path(run, catalog, size)
    if not cached.exists():
        _decode(find_root(run.data, run.cache), select_used(catalog), size, cached)
    return np.load(cached, mmap_mode="r")


def pixels_path(run: Run, catalog: pd.DataFrame, size: int) -> Path:
    """Where the decoded radiographs lie; its name changes with the files, the size and the way of decoding."""
    used = select_used(catalog)
    key = short_hash([PREPROCESSING_VERSION, size, used[["path", "sha256"]].values.tolist()])
    return run.cache / f"pixels-{size}px-{key}.npy"


def store_pixels(run: Run, catalog: pd.DataFrame, images: dict[str, np.ndarray], size: int) -> None:
    """Put what the audit has decoded, path -> uint8 (size, size), where load_pixels finds it."""
    cached = pixels_path(run, catalog, size)
    if not cached.exists():
        used = select_used(catalog)
        _write(cached, (images[path] for path in used["path"]), (len(used), size, size))


def _decode(root: Path, used: pd.DataFrame, size: int, target: Path) -> None:
    def read(path: str, sha256: str) -> np.ndarray:
        content = read_bytes(root / path)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise PneumoniaError(f"{root / path}: changed since the catalog was written; run `make run`")
        return decode(content, str(root / path), size).pixels

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(read, used["path"], used["sha256"])
        shown = tqdm(decoded, f"decoding to {size} px", len(used), unit="img", leave=False)
        _write(target, shown, (len(used), size, size))


def _write(target: Path, images: Iterable[np.ndarray], shape: tuple[int, int, int]) -> None:
    """Write the cache next to its place and move it there when whole: a killed run leaves nothing that counts.

    Written as a stream: a memory map on a full disk ends the process with SIGBUS instead of an error.
    """

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for image in images:
                file.write(image.tobytes())

    save_atomically(target, write)


class RadiographGenerator(keras.utils.PyDataset):
    """Batches of radiographs and labels, for `model.fit` and `model.predict` under any Keras backend.

    The counterpart of `ImageDataGenerator.flow_from_directory`, with two differences: images come decoded from the
    cache, and every random draw hangs on (seed, epoch, batch) alone. A training that is killed and resumed therefore
    sees what an uninterrupted one would have seen.

    Yields: float32 images (batch, size, size, 1) in 0-255 (the model owns its scaling), float32 labels (batch, 1).
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        batch_size: int = 64,
        shuffle: bool = False,
        augmentations: tuple[str, ...] = (),
        seed: int = 0,
    ):
        super().__init__()
        self.pixels, self.labels, self.batch_size = pixels, np.asarray(labels, dtype=np.float32), batch_size
        self.shuffle, self.augmentations, self.seed = shuffle, augmentations, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch (counted from 0)."""
        self.epoch = epoch
        count = len(self.labels)
        self.order = np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else np.arange(count)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        index = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        images = self.pixels[index]
        if self.augmentations:
            rng = np.random.default_rng([self.seed, self.epoch, batch])
            images = augment_batch(images, self.labels[index], self.augmentations, rng)
        return images[..., None].astype(np.float32), self.labels[index, None]

    def __repr__(self) -> str:
        size, normal = self.pixels.shape[-1], int((self.labels == 0).sum())
        what = (
            f"{len(self.labels)} radiographs of {size}x{size}: {normal} NORMAL, {len(self.labels) - normal} PNEUMONIA"
        )
        return f"<RadiographGenerator: {what}; {', '.join(self.augmentations) or 'not augmented'}>"


def build_generators(
    run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int = 0
) -> dict[str, RadiographGenerator]:
    """The generators of one model: "train_fit" (shuffled, augmented), "validation" and "test" (as they are)."""
    used, pixels = select_used(catalog), load_pixels(run, catalog, config.image_size)
    generators = {}
    for split in ("train_fit", "validation", "test"):
        rows = np.flatnonzero(used["split"] == split)
        options = {"shuffle": True, "augmentations": config.augmentations} if split == "train_fit" else {}
        labels = used["label"].to_numpy()[rows]
        generators[split] = RadiographGenerator(pixels[rows], labels, config.batch_size, seed=seed, **options)
    return generators


def compute_class_weights(labels: np.ndarray) -> dict[int, float]:
    """Weights that give both classes the same total (scikit-learn's "balanced"); 1 on average over radiographs."""
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=2)
    return {label: len(labels) / (2 * count) for label, count in enumerate(counts)}


def predict_pixels(model, pixels: np.ndarray, batch_size: int = 128) -> np.ndarray:
    """Probability of PNEUMONIA, float64 (n,), for uint8 pixels (n, h, w)."""
    generator = RadiographGenerator(pixels, np.zeros(len(pixels)), batch_size)
    return model.predict(generator, verbose=0).ravel().astype(np.float64)
