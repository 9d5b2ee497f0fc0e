"""Models under conditions that should not matter, and without what should: robustness and masking."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..corruptions import CORRUPTIONS, SEVERITIES
from ..masking import MASKS, mask_area
from ..results import Results
from ..robustness import ALL, REALISTIC, REFERENCE, find_worst
from ..wording import percent
from .scores import HALF, title_of
from .style import new_figure, own_axes, wrap

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


def plot_shares(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shares of 1 as shade and as whole percent; rows and columns as in the frame."""
    ax = own_axes(ax)
    values = table.to_numpy(dtype=float)
    ax.imshow(values, cmap="cividis", vmin=LOWEST, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.75 else "white"
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", size=12, color=colour)
    ax.set_xticks(range(len(table.columns)), table.columns, rotation=90)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def compute_heat(table: pd.DataFrame, model: str | None = None) -> pd.DataFrame:
    """Accuracy (0-1): models by corruption, mean over severities; or of one model, severities by corruption."""
    rows = table[(table["metric"] == "accuracy") & (table["severity"] > 0)]
    index = "model" if model is None else "severity"
    rows = rows if model is None else rows[rows["model"] == model]
    heat = rows.pivot_table(index=index, columns="condition", values="value", sort=False)
    return heat[[name for name in CORRUPTIONS if name in heat]]


def describe_corruption_error(results: Results, table: pd.DataFrame) -> str:
    """The mean corruption error of the final model, if there is a network to measure it by."""
    chosen = (table["metric"] == "corruption_error") & (table["condition"] == ALL)
    rows = table[chosen].set_index("model")["value"]
    if results.final_model not in rows.index or results.final_model == REFERENCE:
        return ""
    return f"; all in all it errs {rows[results.final_model]:.2f} times as often as {title_of(results, REFERENCE)}"


def draw_robustness(results: Results) -> Figure:
    table, final = results.table("robustness"), results.final_model
    worst = find_worst(table, final)
    clean = table.query("model == @final and condition == 'none' and metric == 'accuracy'")["value"].iloc[0]
    title = (
        f"Up to severity {REALISTIC} of {len(SEVERITIES)}, {worst['condition']} is worst: {title_of(results, final)} "
        f"falls from {percent(clean)} to {percent(worst['value'])} accuracy"
        f"{describe_corruption_error(results, table)}"
    )
    note = f"Accuracy on test in percent at threshold {HALF}, mean over seeds. Above: mean of all severities."
    figure = new_figure(title, note, height=7.0)
    models, severities = compute_heat(table), compute_heat(table, final)
    upper, lower = figure.subplots(2, 1, height_ratios=(len(models), len(severities)), sharex=True)
    plot_shares(models, upper)
    plot_shares(severities, lower)
    upper.tick_params(labelbottom=False)
    upper.set_yticks(range(len(models)), [wrap(title_of(results, name), 2.6, 12) for name in models.index], size=12)
    for label, name in zip(upper.get_yticklabels(), models.index, strict=True):
        label.set_weight("bold" if name == final else "normal")
    lower.set_yticks(
        range(len(severities)), [f"severity {level}" for level in severities.index], size=12, weight="bold"
    )
    lower.set_xlabel(f"corruption; below the gap: {title_of(results, final)} by severity")
    return figure


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
    rival = "" if others.empty else f"; {title_of(results, others.idxmax())} keeps {others.max():.3f}"
    title = (
        f"With the lungs hidden, {title_of(results, final)} falls from ROC AUC {areas.loc[final, 'nothing']:.3f} to "
        f"{areas.loc[final, 'lungs']:.3f} on test{rival}"
    )
    note = (
        f"Mean over seeds; below: accuracy at threshold {HALF}. Masks are simple shapes, the same for every child: two "
        f"ellipses ({percent(mask_area('lungs'), 0)} of the picture), a frame ({percent(mask_area('border'), 0)}), the "
        f"middle ({percent(mask_area('centre'), 0)}). Hidden parts are mid-gray; {len(MASKS)} masks in masking.csv."
    )
    figure = new_figure(title, note, height=2.6 + 0.62 * len(areas))
    ax = plot_masks(areas, accuracy, figure.subplots())
    titles = [wrap(title_of(results, name), LABEL_WIDTH, 12) for name in areas.index]
    ax.set_yticks(range(len(areas)), titles, size=12)
    for label, name in zip(ax.get_yticklabels(), areas.index, strict=True):
        label.set_weight("bold" if name == final else "normal")
    return figure
