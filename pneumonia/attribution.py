"""What moves a network: every change that should not matter, measured member by member on validation radiographs.

Unlike the twins alone, it has the control of the aspect exchange, and masks that hide a part of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .calibration import to_logit
from .catalog import select_used
from .config import ModelConfig, PneumoniaError, Run
from .generators import load_pixels, predict_pixels
from .metrics import roc_auc, threshold_metrics
from .operations import cover, exchange_aspect, exchange_sharpness, mask_border
from .radiograph import read_radiograph
from .records import load_trained
from .twins import build_twins

COLUMNS = ["model", "seed", "change", "metric", "value", "n"]
BORDER, CENTRE = 0.12, 0.6  # shares of the side: the frame that is hidden, the square that is hidden
Changes = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> (labels (n,), uint8 images (n, h, w))


def build_changes(run: Run, catalog: pd.DataFrame, size: int) -> Changes:
    """Validation as it is, its twins, the sharpness of the other class, a control of the aspect exchange, two masks.

    The control is the same stretch and crop as in the twin "aspect", but towards the aspect ratio of the own class:
    what it costs is the price of being resampled, and the rest of the fall is the aspect ratio itself.
    """
    used, pixels = select_used(catalog), load_pixels(run, catalog, size)
    chosen = (used["split"] == "validation").to_numpy()
    labels, images = used["label"].to_numpy()[chosen], pixels[chosen]
    pairs = list(zip(images, labels, strict=True))
    twins, corner = build_twins(pixels, used), ((1 - CENTRE) / 2, (1 - CENTRE) / 2)
    return {
        "validation": (labels, images),
        **{name.removeprefix("validation_"): (rows["label"].to_numpy(), twin) for name, (rows, twin) in twins.items()},
        "sharpness": (labels, np.stack([exchange_sharpness(image, label) for image, label in pairs])),
        "control": (labels, np.stack([exchange_aspect(image, 1 - label) for image, label in pairs])),
        "border": (labels, np.stack([mask_border(image, BORDER) for image in images])),
        "centre": (labels, np.stack([cover(image, corner, (CENTRE, CENTRE), 0) for image in images])),
    }


def measure_changes(model: keras.Model, changes: Changes) -> Iterator[dict]:
    """Yield {change, metric, value, n}: ROC AUC and calls at 0.5, and how far each class's logit went on average."""
    before = None
    for name, (labels, images) in changes.items():
        y_prob = predict_pixels(model, images)
        before = y_prob if before is None else before
        moved = to_logit(y_prob) - to_logit(before)
        values = threshold_metrics(labels, y_prob)
        measured = {
            "roc_auc": roc_auc(labels, y_prob),
            **{metric: values[metric] for metric in ("accuracy", "sensitivity", "specificity")},
            "logit_change_normal": moved[labels == 0].mean(),
            "logit_change_pneumonia": moved[labels == 1].mean(),
        }
        for metric, value in measured.items():
            yield {"change": name, "metric": metric, "value": value, "n": len(labels)}


def load_encoding_swap(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same radiographs in two encodings, as two uint8 arrays (n, size, size).

    Args: folder: holds as_shipped/ and as_q75/ with the same files below.
    Raises: PneumoniaError when a file has no counterpart, or there is none at all.
    """
    shipped = sorted(path for path in (folder / "as_shipped").rglob("*") if path.is_file())
    others = [folder / "as_q75" / path.relative_to(folder / "as_shipped") for path in shipped]
    lost = [path for path in others if not path.exists()]
    if lost or not shipped:
        raise PneumoniaError(f"{lost[0] if lost else folder}: not there; give a folder with as_shipped/ and as_q75/")
    first, second = (np.stack([read_radiograph(path, size) for path in paths]) for paths in (shipped, others))
    return first, second


def measure_swap(model: keras.Model, pair: tuple[np.ndarray, np.ndarray]) -> Iterator[dict]:
    """Yield the mean and the spread over radiographs of the logit's change from the first encoding to the second."""
    first, second = (to_logit(predict_pixels(model, images)) for images in pair)
    for metric, value in (("logit_change_normal", (second - first).mean()), ("logit_sd", (second - first).std())):
        yield {"change": "encoding_swap", "metric": metric, "value": value, "n": len(first)}


def attribute(run: Run, catalog: pd.DataFrame, swap: Path | None = None) -> pd.DataFrame:
    """Every change on every trained network of the run: the frame of attribution.csv.

    Args: swap: folder of the encoding swap (load_encoding_swap); without it that line is left out.
    """
    rows, held = [], {}
    members = [(config, seed) for config in run.models if config.is_cnn for seed in run.seeds_of(config)]
    for config, seed in tqdm(members, "attributing", unit="model"):
        if config.image_size not in held:  # one size at a time: the networks of one size follow each other
            pair = load_encoding_swap(swap, config.image_size) if swap else None
            held = {config.image_size: (build_changes(run, catalog, config.image_size), pair)}
        rows += measure_member(load_trained(run, config, seed), config, seed, *held[config.image_size])
    return pd.DataFrame(rows, columns=COLUMNS).round({"value": 6})


def measure_member(model: keras.Model, config: ModelConfig, seed: int, changes: Changes, pair) -> list[dict]:
    measured = [*measure_changes(model, changes), *(measure_swap(model, pair) if pair else ())]
    return [{"model": config.name, "seed": seed} | row for row in measured]
