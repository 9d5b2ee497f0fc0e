"""The radiographs of a catalog: `radiographs["validation"]` has its rows, pixels and labels in the same order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import CLASS_NAMES, PneumoniaError, Run
from ..transforms.augmentations import Films
from ..transforms.stress_copies import STRESS_COPIES, make_stress_copies
from .catalog import select_used
from .pixels import load_pixels
from .sizes import find_original_sizes

SPLITS = ("train_fit", "validation", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Radiographs:
    """Radiographs in the order of their rows; `load_radiographs` makes one of a catalog.

    >>> radiographs = load_radiographs(run, catalog, size=128)
    >>> radiographs["train_fit"]
    <Radiographs: 4413 of 128x128, 1139 NORMAL, 3274 PNEUMONIA, of 3089 patients>
    """

    rows: pd.DataFrame  # of the catalog, numbered from 0
    pixels: np.ndarray  # uint8 (n, size, size), 0 = black; those of a whole catalog are memory-mapped
    window: float = 0.0  # width / height of what they show; 0: the whole picture, stretched to a square

    @property
    def labels(self) -> np.ndarray:
        """int (n,), 1 = PNEUMONIA."""
        return self.rows["label"].to_numpy()

    @property
    def films(self) -> Films:
        """What augmentations and stress copies may know: pixels and the shapes of the original files, no label."""
        sizes = find_original_sizes(self.rows)
        return Films(self.pixels, sizes[:, 0] / sizes[:, 1], self.window)

    @property
    def patients(self) -> np.ndarray:
        """The patient_id of each, (n,): several radiographs may be of one child."""
        return self.rows["patient_id"].to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: str | np.ndarray | pd.Series) -> Radiographs:
        """A split by its name, or those that a boolean mask (n,) or an array of positions chooses.

        Consecutive positions stay memory-mapped; others are copied.
        Raises: PneumoniaError for an unknown split.
        """
        if isinstance(which, str):
            if which not in SPLITS:
                raise PneumoniaError(f"unknown split '{which}'; the splits are: {', '.join(SPLITS)}")
            which = self.rows["split"] == which
        chosen = np.arange(len(self))[np.asarray(which)]
        consecutive = len(chosen) > 0 and (np.diff(chosen) == 1).all()
        pixels = self.pixels[chosen[0] : chosen[-1] + 1] if consecutive else self.pixels[chosen]
        return Radiographs(self.rows.iloc[chosen].reset_index(drop=True), pixels, self.window)

    def stress_copies(self) -> dict[str, Radiographs]:
        """The altered copies of validation, by the name of their split: "validation_tones" and so on.

        The radiographs of train_fit lend gray levels, shape and sharpness, so both splits must be there.
        """
        validation, donors = self["validation"], self["train_fit"].films
        films, digests = validation.films, validation.rows["sha256"]
        return {
            f"validation_{name}": Radiographs(
                validation.rows.assign(split=f"validation_{name}"),
                make_stress_copies(films, digests, name, donors),
                self.window,
            )
            for name in STRESS_COPIES
        }

    def __repr__(self) -> str:
        classes = ", ".join(f"{(self.labels == label).sum()} {name}" for label, name in enumerate(CLASS_NAMES))
        height, width = self.pixels.shape[1:]
        return f"<Radiographs: {len(self)} of {height}x{width}, {classes}, of {len(set(self.patients))} patients>"


def load_radiographs(run: Run, catalog: pd.DataFrame, size: int, window: float = 0.0) -> Radiographs:
    """The used radiographs of a catalog at size x size pixels, decoded once and then memory-mapped.

    Raises: PneumoniaError naming the file that cannot be read (it changed since the catalog was written).
    """
    return Radiographs(select_used(catalog), load_pixels(run, catalog, size, window), window)
