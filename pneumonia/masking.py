"""What the models look at: accuracy with parts of the radiograph painted over, results/masking.csv.

The masks are simple shapes on the square picture, drawn on the mean radiographs of the training files: no segmentation
of the lungs, whose place differs from child to child. What is hidden becomes mid-gray, which tells nothing.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from .conditions import Condition, measure_conditions, score_conditions, tabulate_conditions
from .config import Run

HIDDEN = 128  # gray level of what is painted over
LUNGS = ((0.29, 0.47), (0.71, 0.47))  # centres (x, y) of the two ellipses, as shares of the side
LUNG_AXES = (0.185, 0.34)  # their half axes
BORDER = 0.10  # width of the frame
CENTRE = 0.25  # the middle square begins this far from the edge
SPLITS = ("validation", "test")


def lung_mask(side: int) -> np.ndarray:
    """(side, side) bool: inside one of the two ellipses."""
    y, x = (np.indices((side, side)) + 0.5) / side
    ellipses = [((x - cx) / LUNG_AXES[0]) ** 2 + ((y - cy) / LUNG_AXES[1]) ** 2 <= 1 for cx, cy in LUNGS]
    return np.any(ellipses, axis=0)


def frame_mask(side: int, share: float) -> np.ndarray:
    """(side, side) bool: within `share` of the side from the edge."""
    width, frame = round(share * side), np.ones((side, side), bool)
    frame[width : side - width, width : side - width] = False
    return frame


# name -> which pixels are hidden; "whole" is the control: with nothing to see, ROC AUC must be 0.5
MASKS = {
    "nothing": lambda side: np.zeros((side, side), bool),
    "lungs": lung_mask,
    "all but lungs": lambda side: ~lung_mask(side),
    "border": lambda side: frame_mask(side, BORDER),
    "all but border": lambda side: ~frame_mask(side, BORDER),
    "centre": lambda side: ~frame_mask(side, CENTRE),
    "whole": lambda side: np.ones((side, side), bool),
}


def hide(images: np.ndarray, digests: list[str], name: str) -> np.ndarray:
    """Images (n, side, side) with MASKS[name] painted over."""
    return np.where(MASKS[name](images.shape[-1]), np.uint8(HIDDEN), images)


def compute_masking(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, sensitivity, specificity, ece and ROC AUC (mean over seeds) of every model that sees pixels.

    Returns: a frame with conditions.COLUMNS; condition names what is hidden. Raises as `score_conditions`.
    """
    tables = []
    for split in SPLITS:
        conditions = [Condition(name, 0, partial(hide, name=name)) for name in MASKS]
        scored = score_conditions(run, catalog, split, conditions)
        measured = measure_conditions(scored, run.bootstrap_draws, with_roc_auc=True)
        tables.append(tabulate_conditions(measured, split, len(scored.rows)))
    return pd.concat(tables, ignore_index=True)


def mask_area(name: str) -> float:
    """Share of the picture that a mask hides."""
    return float(MASKS[name](224).mean())
