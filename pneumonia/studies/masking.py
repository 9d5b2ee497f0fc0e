"""How well do the models predict with parts of the radiograph hidden?

The masks are simple shapes on the square picture, drawn on the mean radiographs of the training files: no segmentation
of the lungs, whose place differs from child to child. What is hidden becomes mid-gray.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from ..config import Run
from ..evaluation.estimate import Estimate, percent
from ..evaluation.metrics import HALF
from ..results import Results
from ..style import new_figure
from .conditions import Condition, measure_conditions, score_conditions, tabulate_conditions
from .drawing import label_above, name_rows, shade_cells, write_cells
from .study import Figure, Study

HIDDEN = 128  # gray level of what is painted over
LUNGS = ((0.29, 0.47), (0.71, 0.47))  # centres (x, y) of the two ellipses, as shares of the side
LUNG_AXES = (0.185, 0.34)  # their half axes
BORDER = 0.10  # width of the frame
CENTRE = 0.25  # distance of the middle square from the edge
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
    """Accuracy, sensitivity, specificity, ece and ROC AUC of every model that sees pixels (mean over seeds of p).

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


def describe(results: Results) -> dict[str, str]:
    """lungs (the final model without and with only them), outside (which other model does best without them)."""
    table, final = results.table("masking"), results.final_model
    areas = table[(table["metric"] == "roc_auc") & (table["split"] == "test")].set_index(["model", "condition"])
    whole, lungs, only = (
        Estimate.of_row("roc_auc", areas.loc[(final, name)]) for name in ("nothing", "lungs", "all but lungs")
    )
    others, outside = areas.xs("lungs", level="condition").drop(final), "No other model was measured."
    if len(others):
        best = others["value"].idxmax()
        seeds = int(others.loc[best, "seeds"])
        named = f"{results.title(best)} ({seeds} seed{'s' * (seeds > 1)})"
        outside = f"Of the others, {named} does best without them: {Estimate.of_row('roc_auc', others.loc[best]).full}."
    return {
        "lungs": "Two ellipses, the same for every child, stand for the lungs. "
        f"With them hidden, the ROC AUC of {results.title(final)} on test falls from {whole} to {lungs.full}; "
        f"with only them to see it is {only.full}.",
        "outside": outside,
    }


COLUMN_TITLES = {
    "nothing": "nothing",
    "lungs": "the lungs",
    "all but lungs": "all but\nthe lungs",
    "border": "the border",
    "all but border": "all but\nthe border",
    "centre": "the centre",
}


def pivot_masks(table: pd.DataFrame, metric: str, split: str = "test") -> pd.DataFrame:
    """A metric (0-1) on one split: index model, columns what is hidden."""
    rows = table[(table["metric"] == metric) & (table["split"] == split)]
    cells = rows.pivot(index="model", columns="condition", values="value").reindex(rows["model"].unique())
    return cells[[name for name in COLUMN_TITLES if name in cells]]


def draw_masking(results: Results) -> Drawing:
    table, final = results.table("masking"), results.final_model
    areas, accuracy = pivot_masks(table, "roc_auc"), pivot_masks(table, "accuracy")
    others = areas["lungs"].drop(final)
    rival = "" if others.empty else f"; {results.title(others.idxmax())} keeps {others.max():.3f}"
    title = (
        f"With the lungs hidden, {results.title(final)} falls from ROC AUC {areas.loc[final, 'nothing']:.3f} to "
        f"{areas.loc[final, 'lungs']:.3f} on test{rival}"
    )
    note = (
        f"Below: accuracy at threshold {HALF}. Masks are simple shapes, the same for every child: two "
        f"ellipses ({percent(mask_area('lungs'), 0)} of the picture), a frame ({percent(mask_area('border'), 0)}), the "
        f"middle ({percent(mask_area('centre'), 0)}). Hidden parts are mid-gray; {len(MASKS)} masks in masking.csv."
    )
    figure = new_figure(title, note, height=2.6 + 0.62 * len(areas))
    ax = shade_cells(areas, figure.subplots())
    write_cells(ax, areas, accuracy, " right", 15, 0.06)
    label_above(ax, [COLUMN_TITLES[name] for name in areas.columns], "hidden under gray")
    name_rows(ax, results, areas.index, 2.0)
    return figure


STUDY = Study(
    compute_masking,
    describe,
    figures={"masking": Figure(draw_masking, "Table: ROC AUC of every model with parts of the radiograph hidden")},
    looks_at_test="masking: the test split with parts painted over, models as they were",
)
