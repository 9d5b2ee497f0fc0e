"""What the probabilities are worth: calibration and threshold_curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.estimate import percent
from ..evaluation.metrics import ECE_BINS, HALF, ece
from ..evaluation.significance import binomial_interval
from ..results import Results
from ..style import GRAY, SPLIT_LINES, SPLIT_TITLES, model_colours, new_figure, own_axes

EDGES = np.linspace(0, 1, ECE_BINS + 1)
SMALLEST_BIN = 5  # radiographs; smaller bins count for the ECE but are not drawn
THRESHOLDS = np.linspace(0, 1, 401)


def compute_reliability(frame: pd.DataFrame) -> pd.DataFrame:
    """Per bin of y_prob (those of the ECE): n, mean y_prob, observed share of PNEUMONIA and its exact 95 % interval."""
    bins = np.digitize(frame["y_prob"], EDGES[1:-1], right=True)
    table = frame.groupby(bins).agg(n=("label", "size"), y_prob=("y_prob", "mean"), ill=("label", "sum"))
    table["observed"] = table["ill"] / table["n"]
    table["low"], table["high"] = binomial_interval(table["ill"], table["n"])
    return table


def plot_reliability(frame: pd.DataFrame, label: str, colour: str, marker: str = "o", ax: Axes | None = None) -> Axes:
    """Observed share of PNEUMONIA against the probability that was given; on the diagonal they are the same."""
    ax = own_axes(ax)
    table = compute_reliability(frame).query("n >= @SMALLEST_BIN")
    bars = np.abs(table[["low", "high"]].sub(table["observed"], axis=0)).T.to_numpy()
    label = f"{label}, ECE {ece(frame['label'], frame['y_prob']):.3f}"
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
    errors = {split: ece(frame["label"], frame["y_prob"]) for split, frame in scores.items()}
    title = (
        f"The probabilities of {results.title(results.final_model)} are off by {errors['validation']:.3f} on "
        f"validation and by {errors['test']:.3f} on the official test, on average"
    )
    note = (
        "ECE: expected calibration error. Probabilities averaged over seeds; bars: exact 95 % intervals. "
        f"Bins with fewer than {SMALLEST_BIN} radiographs are left out above."
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
    axes[0, 0].set(ylabel="observed share of PNEUMONIA", xlim=(-0.02, 1.02), ylim=(-0.04, 1.26))
    axes[0, 0].set_yticks(np.arange(0, 1.1, 0.2))
    axes[1, 0].set_ylabel("% of\nradiographs")
    return figure


def compute_threshold_curve(frame: pd.DataFrame) -> pd.DataFrame:
    """sensitivity and specificity in percent at each of THRESHOLDS (the index)."""
    y_prob, ill = frame["y_prob"].to_numpy(), frame["label"].to_numpy() == 1
    found, spared = np.sort(y_prob[ill]), np.sort(y_prob[~ill])
    sensitivity = 1 - np.searchsorted(found, THRESHOLDS, side="left") / len(found)
    specificity = np.searchsorted(spared, THRESHOLDS, side="left") / len(spared)
    return pd.DataFrame({"sensitivity": 100 * sensitivity, "specificity": 100 * specificity}, index=THRESHOLDS)


def plot_threshold_curve(curves: dict[str, pd.DataFrame], metric: str, colour: str, ax: Axes | None = None) -> Axes:
    """One line per split: the metric (percent) against the threshold."""
    ax = own_axes(ax)
    for split, curve in curves.items():
        ax.plot(curve.index, curve[metric], SPLIT_LINES[split], color=colour, label=SPLIT_TITLES[split], linewidth=2.2)
    return ax


def draw_threshold_curve(results: Results) -> Figure:
    final, colour = results.final_model, model_colours(results.run)[results.final_model]
    splits = [split for split in SPLIT_LINES if len(results.scores.ensemble(final, split))]
    curves = {split: compute_threshold_curve(results.scores.ensemble(final, split)) for split in splits}
    names = ("sensitivity", "specificity", "sensitivity@chosen", "specificity@chosen", "threshold")
    seed = "ensemble" if len(results.run.seeds_of(results.run.model(final))) > 1 else "mean"
    *values, chosen = (results.estimate(final, "test", name, seed).value for name in names)
    found, spared, found_then, spared_then = (percent(value) for value in values)
    title = (
        f"From threshold {HALF:.2f} to the chosen {chosen:.2f}, test sensitivity goes from {found} to {found_then} "
        f"and specificity from {spared} to {spared_then}"
    )
    who = results.title(final)
    note = f"{who}, probabilities averaged over seeds. The threshold is chosen on validation and its twins."
    figure = new_figure(title, note, height=5.8)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, metric, of in zip(axes, ("sensitivity", "specificity"), ("PNEUMONIA", "NORMAL"), strict=True):
        plot_threshold_curve(curves, metric, colour, ax)
        mark_thresholds(chosen, ax)
        ax.set(xlabel="threshold on the probability of PNEUMONIA", ylabel=f"{metric} (% of {of})", xlim=(0, 1))
        ax.set_title(metric, pad=24)
    axes[0].legend(loc="lower left")
    return figure


def mark_thresholds(chosen: float, ax: Axes) -> None:
    """HALF and the chosen threshold as vertical lines, named above the axes on sides that cannot collide."""
    right = chosen >= HALF
    for threshold, text, shade in ((HALF, f"{HALF}", GRAY), (chosen, f"chosen: {chosen:.2f}", "black")):
        ax.axvline(threshold, color=shade, linewidth=1.2)
        outwards = "left" if (threshold == chosen) == right else "right"
        side = outwards if 0.25 < threshold < 0.75 else ("right" if right else "left")
        ax.text(threshold, 1.01, f" {text} ", ha=side, va="bottom", color=shade, transform=ax.get_xaxis_transform())
