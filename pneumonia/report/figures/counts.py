"""How many radiographs and patients there are: class_counts."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...config import CLASS_NAMES
from ...data.catalog import select_used
from ...evaluation.estimate import percent
from ...results import Results
from ...style import KIND_COLOURS, SPLIT_TITLES, new_figure, own_axes

SPLITS = ("train_fit", "validation", "test")


def compute_class_counts(catalog: pd.DataFrame) -> pd.DataFrame:
    """Used radiographs and patients: a row (split, class_name, kind, radiographs, patients) for each kind."""
    groups = select_used(catalog).groupby(["split", "class_name", "kind"], sort=False)
    counts = groups.agg(radiographs=("path", "size"), patients=("patient_id", "nunique")).reset_index()
    return counts.sort_values(["split", "class_name", "kind"], ignore_index=True)


def plot_class_counts(counts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """One bar per split and class, PNEUMONIA split into its kinds."""
    ax = own_axes(ax)
    places = [(split, class_name) for split in SPLITS for class_name in CLASS_NAMES]
    heights = [row + row // 2 * 0.5 for row in range(len(places))]  # a gap between splits
    for height, (split, class_name) in zip(heights, places, strict=True):
        left, rows = 0, counts[(counts["split"] == split) & (counts["class_name"] == class_name)]
        for row in rows.itertuples():
            ax.barh(height, row.radiographs, left=left, color=KIND_COLOURS[row.kind], label=row.kind, height=0.8)
            left += row.radiographs
        ax.text(left, height, f"  {left:,} radiographs, {rows['patients'].sum():,} patients", va="center")
    ax.set_yticks(heights, [f"{SPLIT_TITLES[split]}: {class_name}" for split, class_name in places])
    ax.set(xlabel="radiographs", ylim=(heights[-1] + 0.6, -0.6))
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0, 1.5 * counts.groupby(["split", "class_name"])["radiographs"].sum().max())
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    ax.legend(handles.values(), handles, loc="lower right", title="kind")
    return ax


def draw_class_counts(results: Results) -> Figure:
    counts = compute_class_counts(results.catalog)
    sums = counts.pivot_table(index="split", columns="class_name", values="radiographs", aggfunc="sum")
    share = sums["PNEUMONIA"] / sums.sum(axis=1)
    title = (
        f"PNEUMONIA is {percent(share['train_fit'])} of the radiographs that are learned from "
        f"and {percent(share['test'])} of the official test"
    )
    figure = new_figure(
        title, "Validation is carved out of the official train and val folders, whole patients at a time.", 5.6
    )
    plot_class_counts(counts, figure.add_subplot())
    return figure
