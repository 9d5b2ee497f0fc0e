"""What the models look at: accuracy with parts of the radiograph painted over, results/masking.csv.

The masks are simple shapes on the square picture, drawn on the mean radiographs of the training files: no segmentation
of the lungs, whose place differs from child to child. What is hidden becomes mid-gray, which tells nothing.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..config import Run
from ..evaluation.estimate import Estimate, percent
from ..evaluation.metrics import HALF
from ..results import Results
from ..style import new_figure, own_axes, wrap
from .conditions import Condition, measure_conditions, score_conditions, tabulate_conditions

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


def describe_masking(results: Results, table: pd.DataFrame) -> dict[str, str]:
    areas = table[(table["metric"] == "roc_auc") & (table["split"] == "test")].set_index(["model", "condition"])
    final = results.final_model
    whole, lungs, only = (areas.loc[(final, name)] for name in ("nothing", "lungs", "all but lungs"))
    facts = {
        "masking.lungs": "Two ellipses, the same for every child, stand for the lungs. "
        f"With them hidden, the ROC AUC of {results.title(final)} on test falls from "
        f"{whole['value']:.3f} to {Estimate.of_row('roc_auc', lungs).full}; "
        f"with only them to see it is {Estimate.of_row('roc_auc', only).full}.",
        "masking.outside": "No other model was measured.",
    }
    others = areas.xs("lungs", level="condition").drop(final)
    if len(others):
        most = others["value"].idxmax()
        seeds, area = int(others.loc[most, "seeds"]), Estimate.of_row("roc_auc", others.loc[most]).full
        named = f"{results.title(most)} ({seeds} seed{'s' * (seeds > 1)})"
        facts["masking.outside"] = f"Of the others, {named} still tells most without them: {area}."
    return facts


LABEL_WIDTH = 2.0  # inches for the names of the models
LOWEST = 0.5  # dark end of the scales
MASK_TITLES = {
    "nothing": "nothing",
    "lungs": "the lungs",
    "all but lungs": "all but\nthe lungs",
    "border": "the border",
    "all but border": "all but\nthe border",
    "centre": "the centre",
}


def compute_masks(table: pd.DataFrame, metric: str, split: str = "test") -> pd.DataFrame:
    """A metric (0-1) on one split: index model, columns what is hidden."""
    rows = table[(table["metric"] == metric) & (table["split"] == split)]
    heat = rows.pivot(index="model", columns="condition", values="value").reindex(rows["model"].unique())
    return heat[[name for name in MASK_TITLES if name in heat]]


def plot_masks(areas: pd.DataFrame, accuracy: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC AUC as shade and number, accuracy in percent below it."""
    ax = own_axes(ax)
    values = areas.to_numpy(dtype=float)
    ax.imshow(values, cmap="cividis", vmin=LOWEST, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.75 else "white"
        below = f"{100 * accuracy.iloc[row, column]:.0f} % right"
        ax.text(column, row - 0.06, f"{value:.3f}", ha="center", va="bottom", size=15, weight="bold", color=colour)
        ax.text(column, row + 0.06, below, ha="center", va="top", size=11, color=colour)
    ax.set_xticks(range(len(areas.columns)), [MASK_TITLES[name] for name in areas.columns])
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xlabel("hidden under gray", labelpad=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


def draw_masking(results: Results) -> Figure:
    table, final = results.table("masking"), results.final_model
    areas, accuracy = compute_masks(table, "roc_auc"), compute_masks(table, "accuracy")
    others = areas["lungs"].drop(final)
    rival = "" if others.empty else f"; {results.title(others.idxmax())} keeps {others.max():.3f}"
    title = (
        f"With the lungs hidden, {results.title(final)} falls from ROC AUC {areas.loc[final, 'nothing']:.3f} to "
        f"{areas.loc[final, 'lungs']:.3f} on test{rival}"
    )
    note = (
        f"Mean over seeds; below: accuracy at threshold {HALF}. Masks are simple shapes, the same for every child: two "
        f"ellipses ({percent(mask_area('lungs'), 0)} of the picture), a frame ({percent(mask_area('border'), 0)}), the "
        f"middle ({percent(mask_area('centre'), 0)}). Hidden parts are mid-gray; {len(MASKS)} masks in masking.csv."
    )
    figure = new_figure(title, note, height=2.6 + 0.62 * len(areas))
    ax = plot_masks(areas, accuracy, figure.subplots())
    titles = [wrap(results.title(name), LABEL_WIDTH, 12) for name in areas.index]
    ax.set_yticks(range(len(areas)), titles, size=12)
    for label, name in zip(ax.get_yticklabels(), areas.index, strict=True):
        label.set_weight("bold" if name == final else "normal")
    return figure
