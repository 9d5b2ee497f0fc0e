"""Which change that should not matter moves the networks: the figure `suspects`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results import Results
from .scores import cnns, title_of, twin_splits
from .style import new_figure, own_axes, wrap

LABEL_WIDTH = 2.2  # inches for the names of the networks
LOWEST = 0.5  # ROC AUC of guessing: the dark end of the scale


def compute_suspects(results: Results, metric: str) -> pd.DataFrame:
    """A metric (0-1, mean over seeds): index network, columns validation and the names of its twins."""
    splits = {"validation": "validation"} | {split.removeprefix("validation_"): split for split in twin_splits(results)}
    rows = {
        config.name: {name: results.value(config.name, split, metric)["value"] for name, split in splits.items()}
        for config in cnns(results.run)
    }
    return pd.DataFrame(rows).T


def find_culprit(table: pd.DataFrame) -> tuple[str, str]:
    """(network, twin): where a single change costs most ROC AUC; the exchange is two changes at once."""
    lost = table.drop(columns=[name for name in ("validation", "exchange") if name in table])
    lost = lost.rsub(table["validation"], axis=0)
    network, twin = np.unravel_index(np.argmax(lost.to_numpy(dtype=float)), lost.shape)
    return str(lost.index[network]), str(lost.columns[twin])


def plot_suspects(table: pd.DataFrame, specificity: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC AUC as shade and number, the specificity in percent below it; a row a network."""
    ax = own_axes(ax)
    values = table.to_numpy(dtype=float)
    ax.imshow(values, cmap="cividis", vmin=LOWEST, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.75 else "white"
        below = f"{100 * specificity.iloc[row, column]:.0f} % clear"
        ax.text(column, row - 0.06, f"{value:.3f}", ha="center", va="bottom", size=15, weight="bold", color=colour)
        ax.text(column, row + 0.06, below, ha="center", va="top", size=11, color=colour)
    ax.set_xticks(range(len(table.columns)), table.columns)
    ax.xaxis.tick_top()
    ax.set_xlabel("validation radiographs as they are, and as their twins", labelpad=8)
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


def draw_suspects(results: Results) -> Figure:
    table, specificity = compute_suspects(results, "roc_auc"), compute_suspects(results, "specificity")
    network, twin = find_culprit(table)
    before, after = table.loc[network, "validation"], table.loc[network, twin]
    title = (
        f"Changing only the {twin} takes {title_of(results, network)} from ROC AUC {before:.3f} to {after:.3f}; "
        f"{title_of(results, results.final_model)} keeps {table.loc[results.final_model, twin]:.3f}"
    )
    note = (
        "ROC AUC on validation and its twins, mean over seeds; below it the share of NORMAL cleared at 0.5. "
        "tones, aspect: the gray levels, the aspect ratio that go with the other class; exchange: both."
    )
    figure = new_figure(title, note, height=2.2 + 0.75 * len(table))
    ax = plot_suspects(table, specificity, figure.subplots())
    titles = [wrap(title_of(results, name), LABEL_WIDTH, 12) for name in table.index]
    ax.set_yticks(range(len(table)), titles, size=12)
    for label, name in zip(ax.get_yticklabels(), table.index, strict=True):
        label.set_weight("bold" if name == results.final_model else "normal")
    return figure
