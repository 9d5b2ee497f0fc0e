"""Reliability diagrams and histograms of the probabilities: calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...evaluation.metrics import ECE_BINS, balanced_ece, weigh_classes_equally
from ...evaluation.significance import binomial_interval
from ...results import Results
from ...style import GRAY, SPLIT_TITLES, model_colours, new_figure, own_axes

EDGES = np.linspace(0, 1, ECE_BINS + 1)
SMALLEST_BIN = 5  # radiographs; smaller bins count for the ECE but are not drawn
THRESHOLDS = np.linspace(0, 1, 401)


def compute_reliability(frame: pd.DataFrame) -> pd.DataFrame:
    """Per bin of y_prob (those of the ECE): n, mean y_prob, observed share of PNEUMONIA and its exact 95 % interval.

    Re-based to a group of which half have pneumonia, as the probabilities are: a NORMAL radiograph counts as many times
    as it takes for both classes to have the same sum.
    """
    bins = np.digitize(frame["y_prob"], EDGES[1:-1], right=True)
    weighted = frame.assign(weight=weigh_classes_equally(frame["label"]))
    weighted["y_prob"] *= weighted["weight"]
    table = weighted.groupby(bins).agg(
        n=("label", "size"), positives=("label", "sum"), y_prob=("y_prob", "sum"), weight=("weight", "sum")
    )
    table["y_prob"] /= table["weight"]
    normals = (frame["label"] == 1).sum() / (frame["label"] == 0).sum()  # how many times a NORMAL one counts
    low, high = binomial_interval(table["positives"], table["n"])
    for name, share in {"observed": table["positives"] / table["n"], "low": low, "high": high}.items():
        table[name] = share / (share + normals * (1 - share))
    return table


def plot_reliability(frame: pd.DataFrame, label: str, colour: str, marker: str = "o", ax: Axes | None = None) -> Axes:
    """Observed share of PNEUMONIA against the predicted probability; on the diagonal they are equal."""
    ax = own_axes(ax)
    table = compute_reliability(frame).query("n >= @SMALLEST_BIN")
    bars = np.abs(table[["low", "high"]].sub(table["observed"], axis=0)).T.to_numpy()
    label = f"{label}, ECE {balanced_ece(frame['label'], frame['y_prob']):.3f}"
    ax.errorbar(
        table["y_prob"], table["observed"], bars, color=colour, marker=marker, markersize=7, elinewidth=1.2, label=label
    )
    return ax


def plot_histogram(frame: pd.DataFrame, colour: str, ax: Axes | None = None) -> Axes:
    """Share of radiographs (percent) per bin of probability."""
    ax = own_axes(ax)
    share = 100 * np.histogram(frame["y_prob"], EDGES)[0] / len(frame)
    ax.stairs(share, EDGES, color=colour, linewidth=2)
    return ax


def draw_calibration(results: Results) -> Figure:
    colours = model_colours(results.run)
    models = dict.fromkeys((results.cnns[0].name, results.final_model))
    scores = {split: results.scores.ensemble(results.final_model, split) for split in ("validation", "test")}
    errors = {split: balanced_ece(frame["label"], frame["y_prob"]) for split, frame in scores.items()}
    title = (
        f"The probabilities of {results.title(results.final_model)} are off by {errors['validation']:.3f} on "
        f"validation and by {errors['test']:.3f} on the official test, on average"
    )
    note = (
        "Re-based to a group of which half have pneumonia. ECE: expected calibration error. Means over "
        f"seeds; bars: exact 95 % intervals. Bins with fewer than {SMALLEST_BIN} radiographs are left out above."
    )
    figure = new_figure(title, note, height=6.5)
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    for column, split in zip(axes.T, scores, strict=True):
        column[0].plot((0, 1), (0, 1), color=GRAY, linestyle=":", linewidth=1.5)
        for model, marker in zip(models, "so", strict=False):
            frame = results.scores.ensemble(model, split)
            plot_reliability(frame, results.title(model), colours[model], marker, column[0])
            plot_histogram(frame, colours[model], column[1])
        column[0].set_title(SPLIT_TITLES[split])
        column[0].legend(loc="upper left")
        column[1].set_xlabel("probability of PNEUMONIA")
    axes[0, 0].set(ylabel="observed share, re-based", xlim=(-0.02, 1.02), ylim=(-0.04, 1.26))
    axes[0, 0].set_yticks(np.arange(0, 1.1, 0.2))
    axes[1, 0].set_ylabel("% of\nradiographs")
    return figure
