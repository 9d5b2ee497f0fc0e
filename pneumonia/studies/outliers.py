"""Does the final model notice what is not a child's chest radiograph, by the atypicality of final_model.py?

Nothing is chosen here. The limit comes from validation and its stress copies; what is measured against it are pictures
that the limit has not seen: corrupted copies of validation radiographs, photographs, tomographic slices, simulated
chests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.metrics import roc_auc_score

from ..config import KINDS, Run
from ..data.dataset import load_radiographs
from ..data.simulate import simulate_radiograph
from ..evaluation.estimate import UNDEFINED, percent
from ..evaluation.metrics import DECIMALS
from ..inference.final_model import FinalModel
from ..results import Results
from ..transforms.operations import add_noise, blur, mask_border, warp
from .study import Study, Table

COLUMNS = ["kind", "n", "roc_auc", "flagged", "limit"]
COUNT = 200  # pictures of each kind
Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]
CORRUPTIONS: dict[str, Corruption] = {
    "inverted": lambda image, rng: 255 - image,
    "turned by 90 degrees": lambda image, rng: np.rot90(image),
    "upside down": lambda image, rng: image[::-1, ::-1],
    "one half black": lambda image, rng: np.where(np.arange(image.shape[1]) < image.shape[1] // 2, 0, image),
    "a quarter of it": lambda image, rng: _stretch(image[: image.shape[0] // 2, : image.shape[1] // 2], len(image)),
    "wide black border": lambda image, rng: mask_border(image, 0.25),
    "strong noise": lambda image, rng: add_noise(image, 60, rng),
    "strong blur": lambda image, rng: blur(image, len(image) / 16),
    "tilted by 45 degrees": lambda image, rng: warp(image, 45, 1, 1, (0, 0)),
    "shuffled tiles": lambda image, rng: _shuffle(image, rng),
}


def compute_outliers(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """ROC AUC of each kind of picture against validation, and the share of it beyond the limit of the exported model.

    Returns: a frame with COLUMNS; the first row is validation itself (its share beyond the limit is the false alarms).
    """
    model = FinalModel(run.models_dir)
    validation = load_radiographs(run, catalog, model.size, model.window)["validation"].pixels
    limit, usual = model.record["atypicality_limit"], _score(model, validation)
    rows = [("validation", len(usual), np.nan, np.mean(usual > limit), limit)]
    for kind, images in draw_outliers(validation, model.size).items():
        unusual = _score(model, images)
        truth = np.repeat([0, 1], [len(usual), len(unusual)])
        auc = roc_auc_score(truth, np.concatenate([usual, unusual]))
        rows.append((kind, len(unusual), auc, np.mean(unusual > limit), limit))
    return pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)


def draw_outliers(validation: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """kind -> uint8 (n, size, size); the same pictures every time."""
    rng = np.random.default_rng(2018)
    some = validation[rng.choice(len(validation), min(COUNT, len(validation)), replace=False)]
    drawn = {kind: np.stack([change(image, rng) for image in some]) for kind, change in CORRUPTIONS.items()}
    drawn["noise"] = rng.integers(0, 256, some.shape, dtype=np.uint8)
    drawn["photograph"] = _crop_many((_to_gray(photo) for photo in load_sample_images().images), size, rng)
    drawn["CT slice"] = _crop_many(_read_slices("CT_small.dcm"), size, rng)
    drawn["MR slice"] = _crop_many(_read_slices("MR_small.dcm"), size, rng)
    chests = (simulate_radiograph(KINDS[seed % 3], np.random.default_rng(seed), size) for seed in range(COUNT))
    return drawn | {"simulated chest": np.stack(list(chests))}


def _score(model: FinalModel, images: np.ndarray) -> np.ndarray:
    return model.score(images, ("atypicality",))["atypicality"]


def _to_gray(photo: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)


def _read_slices(name: str) -> Iterable[np.ndarray]:
    """A tomographic slice that comes with pydicom, between its 1st and 99th percentile as a viewer would show it."""
    import pydicom
    from pydicom.data import get_testdata_file

    pixels = pydicom.dcmread(Path(get_testdata_file(name))).pixel_array.astype(float)
    low, high = np.percentile(pixels, (1, 99))
    return [np.clip((pixels - low) / (high - low) * 255, 0, 255).astype(np.uint8)]


def _crop_many(pictures: Iterable[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """COUNT random parts, at least half as wide and high as the picture, taken from the pictures in turn."""
    pictures, crops = list(pictures), []
    for number in range(COUNT):
        picture = pictures[number % len(pictures)]
        high, wide = (rng.uniform(0.5, 1, 2) * picture.shape).astype(int)
        top, left = (
            int(rng.integers(0, whole - part + 1)) for whole, part in zip(picture.shape, (high, wide), strict=True)
        )
        crops.append(_stretch(picture[top : top + high, left : left + wide], size))
    return np.stack(crops)


def _stretch(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def _shuffle(image: np.ndarray, rng: np.random.Generator, tiles: int = 4) -> np.ndarray:
    """The image cut into tiles x tiles squares, in random order."""
    side = len(image) // tiles
    parts = [image[y * side : (y + 1) * side, x * side : (x + 1) * side] for y in range(tiles) for x in range(tiles)]
    order = rng.permutation(len(parts))
    rows = [np.hstack([parts[i] for i in order[y * tiles : (y + 1) * tiles]]) for y in range(tiles)]
    return _stretch(np.vstack(rows), len(image))


def tabulate_outliers(results: Results) -> Table:
    """How well each kind of picture is distinguished from validation, and how much of it is flagged."""
    rows = [
        [row.kind, UNDEFINED if pd.isna(row.roc_auc) else f"{row.roc_auc:.3f}", percent(row.flagged), f"{row.n:,}"]
        for row in results.table("outliers").itertuples()
    ]
    return Table(["picture", "ROC AUC against validation", "flagged", "pictures"], rows)


STUDY = Study(compute_outliers, tables={"outliers": tabulate_outliers})
