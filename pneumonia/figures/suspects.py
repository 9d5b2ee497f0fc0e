"""Which change that should not matter moves the networks, and which cure helps: suspects and ablation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results import Results
from .scores import cnns, title_of
from .style import new_figure, own_axes, wrap

LABEL_WIDTH = 1.6  # inches for the names of the networks
LOWEST = 0.5  # ROC AUC of guessing: the dark end of the scale
ORDER = (
    *("validation", "encoding", "noise", "exposure", "framing", "tones"),
    *("sharpness", "control", "aspect", "exchange"),
)
MASKS = ("border", "centre")  # they hide what a radiologist needs, so that a fall is no fault
SINGLE = ("encoding", "noise", "exposure", "framing", "tones", "sharpness", "aspect")  # one change at a time


def compute_suspects(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A metric of attribution.csv or ablation.csv, mean over seeds: index network, columns the changes."""
    rows = table[table["metric"] == metric]
    means = rows.pivot_table(index="model", columns="change", values="value", aggfunc="mean", sort=False)
    return means[[name for name in (*ORDER, *MASKS) if name in means]]


def find_culprit(table: pd.DataFrame) -> tuple[str, str]:
    """(network, change): where a single change costs most ROC AUC."""
    lost = table[[name for name in SINGLE if name in table]].rsub(table["validation"], axis=0)
    network, change = np.unravel_index(np.argmax(lost.to_numpy(dtype=float)), lost.shape)
    return str(lost.index[network]), str(lost.columns[change])


def plot_suspects(table: pd.DataFrame, specificity: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC AUC as shade and number, the specificity in percent below it; a row a network."""
    ax = own_axes(ax)
    values = table.to_numpy(dtype=float)
    ax.imshow(values, cmap="cividis", vmin=LOWEST, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.75 else "white"
        below = f"{100 * specificity.iloc[row, column]:.0f} %"
        ax.text(column, row - 0.04, f"{value:.3f}", ha="center", va="bottom", size=14, weight="bold", color=colour)
        ax.text(column, row + 0.06, below, ha="center", va="top", size=11, color=colour)
    ax.set_xticks(range(len(table.columns)), table.columns, size=12)
    ax.xaxis.tick_top()
    ax.set_xlabel("validation radiographs as they are, and altered", labelpad=8)
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


def draw_suspects(results: Results) -> Figure:
    measured = results.table("attribution")
    table, specificity = (compute_suspects(measured, metric) for metric in ("roc_auc", "specificity"))
    table = table.loc[[config.name for config in cnns(results.run)]]
    network, change = find_culprit(table)
    before, after = table.loc[network, "validation"], table.loc[network, change]
    title = (
        f"Changing only the {change} takes {title_of(results, network)} from ROC AUC {before:.3f} to {after:.3f}; "
        f"{title_of(results, results.final_model)} keeps {table.loc[results.final_model, change]:.3f}"
    )
    note = (
        "Validation and altered copies, mean over seeds: ROC AUC, below it the share of NORMAL cleared at 0.5. "
        "tones, sharpness, aspect: those of the other class; control: aspect of the own class; "
        "exchange: tones and aspect; border, centre: that part is black." + describe_swap(measured)
    )
    figure = new_figure(title, note, height=2.0 + 0.72 * len(table))
    ax = plot_suspects(table, specificity.loc[table.index, table.columns], figure.subplots())
    ax.axvline(table.shape[1] - len(MASKS) - 0.5, color="white", linewidth=5)
    name_rows(ax, results, table.index)
    return figure


def describe_swap(measured: pd.DataFrame) -> str:
    """What the encoding swap moves at most, in words; nothing where it was not measured."""
    rows = measured.query("change == 'encoding_swap' and metric == 'logit_change_normal'")
    if rows.empty:
        return ""
    most = rows.groupby("model")["value"].mean().abs().max()
    return f" The same file at another JPEG quality: a logit changes by {most:.3f} on average, at most."


def name_rows(ax: Axes, results: Results, names: pd.Index) -> None:
    ax.set_yticks(range(len(names)), [wrap(title_of(results, name), LABEL_WIDTH, 12) for name in names], size=12)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_weight("bold" if name == results.final_model else "normal")
