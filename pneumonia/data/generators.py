"""Batches of radiographs for Keras: from a catalog, or from any folder with NORMAL/ and PNEUMONIA/ in it."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..config import CLASS_NAMES, ModelConfig, PneumoniaError, Run
from ..transforms.augmentations import Films, augment_batch, check_augmentations
from .dataset import SPLITS, load_radiographs
from .decoding import Decoders
from .files import find_class, walk
from .propensity import weigh_by_size
from .radiograph import Decoded
from .sizes import describe_unknown_proportions

SHOWN = 5  # unreadable files that a warning names
QUIET_SECONDS = 2  # of decoding, before a progress bar appears


class RadiographGenerator(keras.utils.PyDataset):
    """Batches of radiographs and labels, for `fit`, `predict` and `evaluate` of a model under any Keras backend.

    The counterpart of `ImageDataGenerator.flow_from_directory`, with two differences: images are decoded once, and
    every random draw depends on (seed, epoch, batch) alone. A training that is interrupted and resumed therefore sees
    what an uninterrupted one would have seen.

    Yields: float32 images (batch, size, size, 1) in 0-255 (the model owns its scaling), float32 labels (batch, 1).
    """

    class_names = CLASS_NAMES  # index = label
    class_indices = {name: label for label, name in enumerate(CLASS_NAMES)}

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        batch_size: int = 64,
        shuffle: bool = False,
        augmentations: Iterable[str] = (),
        seed: int = 0,
        filenames: Sequence[str] = (),
        aspects: np.ndarray | None = None,
        window: float = 0.0,
        weights: np.ndarray | None = None,
    ):
        """Args: pixels: uint8 (n, size, size). labels: (n,). filenames: where each came from, if that is known.
        aspects: (n,) width / height of the originals; None: square. window: as of `from_directory`.
        weights: (n,) of the examples in the loss; None: all alike.

        Raises: PneumoniaError for an unknown augmentation, or a batch size that is not a positive number.
        """
        if batch_size < 1:
            raise PneumoniaError(f"batch_size={batch_size}: must be 1 or more")
        super().__init__()
        self.pixels, self.labels, self.batch_size = pixels, np.asarray(labels, dtype=np.float32), batch_size
        self.shuffle, self.augmentations, self.seed = shuffle, check_augmentations(augmentations), seed
        self.filenames = list(filenames)
        self.films = Films(pixels, np.ones(len(self.labels)) if aspects is None else aspects, window)
        self.weights = None if weights is None else np.asarray(weights, dtype=np.float32)
        self.set_epoch(0)

    @classmethod
    def from_directory(
        cls,
        folder: str | Path,
        size: int,
        batch_size: int = 64,
        augmentations: Iterable[str] = (),
        seed: int = 0,
        shuffle: bool | None = None,
        window: float = 0.0,
    ) -> RadiographGenerator:
        """All radiographs in `folder`/NORMAL and `folder`/PNEUMONIA, decoded once at size x size and kept in memory.

        JPEG, PNG, TIFF, BMP, WebP, still GIF and single-frame DICOM are read, in sub-folders too, in the order of
        their names; other folders are ignored. What cannot be read is listed in one warning and left out.

        Args:
            shuffle: again in every epoch; None: only where there are augmentations, so that what a model predicts stays
                in the order of `filenames`.
            window: width / height of the central window at true proportions (`ModelConfig.window`); 0: the whole
                picture, stretched. Square files that are not known copies of the archive's are read as they are, with
                one warning.
        Raises: PneumoniaError when a class is missing or none of its files can be read, or an argument is wrong.
        """
        folder, augmentations = Path(folder), check_augmentations(augmentations)
        if size < 1:
            raise PneumoniaError(f"size={size}: must be 1 pixel or more")
        if not 0 <= window < math.inf:
            raise PneumoniaError(f"window={window}: must be width / height of the window, such as 1.25, or 0 for none")
        decoded = _decode(list_labelled(folder), size, window)
        readable = [(path, label, found) for path, label, found in decoded if isinstance(found, Decoded)]
        errors = [(label, error) for _, label, error in decoded if isinstance(error, PneumoniaError)]
        for label, name in enumerate(CLASS_NAMES):
            if not any(of_file == label for _, of_file, _ in readable):
                of_class = [error for of_file, error in errors if of_file == label]
                first = f"the first that could not be read is {of_class[0]}" if of_class else "add some"
                raise PneumoniaError(f"{folder}: no {name} radiograph that can be read; {first}")
        if errors:
            more = f" (and {len(errors) - SHOWN} more)" if len(errors) > SHOWN else ""
            shown = "; ".join(str(error) for _, error in errors[:SHOWN])
            warnings.warn(f"{len(errors)} of {len(decoded)} files left out: {shown}{more}", stacklevel=2)
        paths, labels, found = zip(*readable, strict=True)
        if window and (unknown := sum(film.shape is None for film in found)):
            warnings.warn(describe_unknown_proportions(unknown, len(found)), stacklevel=2)
        shapes = [film.shape or (1, 1) for film in found]
        return cls(
            np.stack([film.pixels for film in found]),
            np.array(labels),
            batch_size,
            bool(augmentations) if shuffle is None else shuffle,
            augmentations,
            seed,
            [path.relative_to(folder).as_posix() for path in paths],
            np.array([width / height for width, height in shapes]),
            window,
        )

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch (counted from 0)."""
        self.epoch = epoch
        count = len(self.labels)
        self.order = np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else np.arange(count)

    def on_epoch_end(self) -> None:
        """Keras calls this after every epoch, so that the next one has an order and augmentations of its own.

        (And once before the first, to look at the data: a training that must be resumed calls `set_epoch` itself.)
        """
        self.set_epoch(self.epoch + 1)

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        index = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        images = self.pixels[index]
        if self.augmentations:
            rng = np.random.default_rng([self.seed, self.epoch, batch])
            images = augment_batch(self.films[index], self.augmentations, rng)
        batch = images[..., None].astype(np.float32), self.labels[index, None]
        return batch if self.weights is None else (*batch, self.weights[index])

    def __repr__(self) -> str:
        size, normal = self.pixels.shape[-1], int((self.labels == 0).sum())
        what = (
            f"{len(self.labels)} radiographs of {size}x{size}: {normal} NORMAL, {len(self.labels) - normal} PNEUMONIA"
        )
        return f"<RadiographGenerator: {what}; {', '.join(self.augmentations) or 'not augmented'}>"


def list_labelled(folder: Path) -> list[tuple[Path, int]]:
    """(file, label) of everything below the class folders of `folder` (`files.find_class`).

    Raises: PneumoniaError when the folder, or that of a class, is not there.
    """
    if not folder.is_dir():
        raise PneumoniaError(f"{folder}: no such folder; give one with the folders {' and '.join(CLASS_NAMES)}")
    children = [child for child in sorted(folder.iterdir()) if child.is_dir()]
    if missing := [name for name in CLASS_NAMES if name not in {find_class(child.name) for child in children}]:
        raise PneumoniaError(
            f"{folder}: no folder {' and no folder '.join(missing)}; put the radiographs of each class into one"
        )
    return [
        (path, label)
        for label, name in enumerate(CLASS_NAMES)
        for child in children
        if find_class(child.name) == name
        for path in walk(child)
    ]


def _decode(
    files: list[tuple[Path, int]], size: int, window: float
) -> list[tuple[Path, int, Decoded | PneumoniaError]]:
    """(file, label, its picture or why it cannot be read), on all cores."""

    def read(path: Path, label: int) -> tuple[Path, int, Decoded | PneumoniaError]:
        try:
            return path, label, Decoders().decode_file(path, size, window)
        except PneumoniaError as error:
            return path, label, error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read_all = pool.map(read, *zip(*files, strict=True)) if files else ()
        bar = {"unit": "img", "leave": False, "delay": QUIET_SECONDS}
        return list(tqdm(read_all, f"decoding to {size} px", len(files), **bar))


def build_generators(
    run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int = 0
) -> dict[str, RadiographGenerator]:
    """The generators of one model: "train_fit" (shuffled, augmented), "validation" and "test" (as they are)."""
    radiographs, generators = load_radiographs(run, catalog, config.image_size, config.window), {}
    for split in SPLITS:
        part, options = radiographs[split], {}
        if split == "train_fit":
            options = {"shuffle": True, "augmentations": config.augmentations}
            options |= {"aspects": part.films.aspects, "window": part.window}
            if config.weigh_by_size:
                options["weights"] = weigh_by_size(part.rows)
        generators[split] = RadiographGenerator(
            part.pixels, part.labels, config.batch_size, seed=seed, filenames=part.rows["path"], **options
        )
    return generators


def compute_class_weights(labels: np.ndarray) -> dict[int, float]:
    """Weights that give both classes the same total (scikit-learn's "balanced"); 1 on average over radiographs."""
    counts = np.bincount(np.asarray(labels, dtype=int), minlength=2)
    return {label: len(labels) / (2 * count) for label, count in enumerate(counts)}
