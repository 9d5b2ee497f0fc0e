"""How many radiographs there are, and what so many can show: class_counts and small_validation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from ...config import CLAIMED_ACCURACY, CLASS_NAMES
from ...data.catalog import select_used
from ...evaluation.estimate import percent
from ...evaluation.significance import binomial_interval
from ...results import Results
from ...style import KIND_COLOURS, SPLIT_TITLES, new_figure, own_axes

MARK_COLOUR = "#0072B2"
SPLITS = ("train_fit", "validation", "test")
OFFICIAL_VALIDATION_SIZE = 16  # radiographs in the val folder as published


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


def compute_interval_width(n: int, accuracy: float) -> float:
    """Expected width (0-1) of the exact 95 % interval of an accuracy on n radiographs (Clopper & Pearson, 1934)."""
    right = np.arange(n + 1)
    low, high = binomial_interval(right, n)
    return float(binom.pmf(right, n, accuracy) @ (high - low))


def plot_interval_width(marks: dict[str, int], accuracy: float, ax: Axes | None = None) -> Axes:
    """Expected width of the interval against the number of radiographs, `marks` (label -> n) written at the curve."""
    ax = own_axes(ax)
    sizes = np.unique(np.geomspace(8, 2000, 60).round().astype(int))
    ax.plot(sizes, [100 * compute_interval_width(n, accuracy) for n in sizes], color="black")
    marks = dict(sorted(marks.items(), key=lambda mark: mark[1]))
    for (label, n), following in zip(marks.items(), [*marks.values()][1:] + [np.inf], strict=True):
        width = 100 * compute_interval_width(n, accuracy)
        ax.plot(n, width, "o", color=MARK_COLOUR, markersize=10)
        # A mark with a near neighbour at its right is written at its left, where the curve asks for more height.
        side, offset = ("right", (-2, 22)) if following < 2.5 * n else ("left", (8, 10))
        text = f"{label}:\n{n} radiographs,\n{width:.1f} points"
        ax.annotate(text, (n, width), offset, textcoords="offset points", va="bottom", ha=side)
    ticks = [10, 20, 50, 100, 200, 500, 1000, 2000]
    ax.set(
        xscale="log",
        xlabel="radiographs (logarithmic scale)",
        ylabel="width of the 95 % interval (points)",
        ylim=(0, None),
    )
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    return ax


def draw_small_validation(results: Results) -> Figure:
    used = select_used(results.catalog)
    ours = int((used["split"] == "validation").sum())
    marks = {
        "official val": OFFICIAL_VALIDATION_SIZE,
        "our validation": ours,
        "official test": int((used["split"] == "test").sum()),
    }
    narrow, wide = (compute_interval_width(n, CLAIMED_ACCURACY) for n in (ours, OFFICIAL_VALIDATION_SIZE))
    title = (
        f"On {OFFICIAL_VALIDATION_SIZE} radiographs an accuracy of {percent(CLAIMED_ACCURACY, 0)} has a 95 % interval "
        f"{100 * wide:.0f} points wide; on {ours} it is {100 * narrow:.0f} points"
    )
    step = 100 / OFFICIAL_VALIDATION_SIZE
    note = (
        f"Expected width of the exact binomial interval at an accuracy of {percent(CLAIMED_ACCURACY, 0)}. "
        f"One radiograph more or less moves the accuracy on {OFFICIAL_VALIDATION_SIZE} by {step:.2f} points."
    )
    figure = new_figure(title, note, height=5.4)
    plot_interval_width(marks, CLAIMED_ACCURACY, figure.add_subplot())
    return figure
