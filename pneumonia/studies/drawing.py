"""What the figures of several studies share: a table of shaded cells, labelled with the names of models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..results import Results
from ..style import own_axes, wrap

DARKEST = 0.5  # the dark end of the scale: the ROC AUC, and the accuracy, of a coin toss


def shade_cells(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Values (0.5-1) as shade, rows and columns as in the frame, without ticks, grid or frame."""
    ax = own_axes(ax)
    ax.imshow(table.to_numpy(dtype=float), cmap="cividis", vmin=DARKEST, vmax=1, aspect="auto")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


def text_colour(value: float) -> str:
    """The colour that can be read on the shade of a value."""
    return "black" if value > 0.75 else "white"


def write_cells(ax: Axes, table: pd.DataFrame, below: pd.DataFrame, suffix: str, size: int, gap: float) -> None:
    """Three decimals in each cell, and under them `below` in whole percent."""
    for (row, column), value in np.ndenumerate(table.to_numpy(dtype=float)):
        colour, second = text_colour(value), f"{100 * below.iloc[row, column]:.0f} %{suffix}"
        ax.text(column, row - gap, f"{value:.3f}", ha="center", va="bottom", size=size, weight="bold", color=colour)
        ax.text(column, row + 0.06, second, ha="center", va="top", size=11, color=colour)


def label_above(ax: Axes, names: list[str], label: str, **options) -> None:
    """The names of the columns, and what they are, above the cells."""
    ax.set_xticks(range(len(names)), names, **options)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xlabel(label, labelpad=8)


def name_rows(ax: Axes, results: Results, names: pd.Index, width: float) -> None:
    """Titles of models at the left, wrapped to `width` inches, the final one in bold."""
    ax.set_yticks(range(len(names)), [wrap(results.title(name), width, 12) for name in names], size=12)
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_weight("bold" if name == results.final_model else "normal")
