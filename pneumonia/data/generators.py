"""Keras image generators over the catalog, fed from a cache in which every radiograph is decoded once."""

from __future__ import annotations

import math

import keras
import numpy as np
import pandas as pd

from ..config import ModelConfig, Run
from ..transforms.augmentations import augment_batch
from .catalog import select_used
from .pixels import load_pixels


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
