"""Models side by side: confusion_matrices and generalisation_gap."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...config import CLASS_NAMES, ModelConfig
from ...evaluation.estimate import percent
from ...evaluation.metrics import HALF, compute_counts
from ...evaluation.scores import STRESS_COPIES
from ...results import Results
from ...style import (
    GRAY,
    SPLIT_MARKS,
    SPLIT_TITLES,
    describe_change,
    model_colours,
    name_models,
    new_figure,
    own_axes,
    signed,
    wrap,
)


def plot_confusion(counts: np.ndarray, ax: Axes | None = None) -> Axes:
    """[[tn, fp], [fn, tp]] as counts and percent of the row, which also is the shade. Rows: true class."""
    ax = own_axes(ax)
    shares = counts / counts.sum(axis=1, keepdims=True)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.62 else "black"
        ax.text(column, row, f"{count}", ha="center", va="bottom", size=18, weight="bold", color=colour)
        ax.text(column, row + 0.08, percent(shares[row, column]), ha="center", va="top", color=colour)
    ax.set_xticks((0, 1), CLASS_NAMES)
    ax.set_yticks((0, 1), CLASS_NAMES, rotation=90, va="center")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set_xlabel("predicted")
    return ax


def draw_confusion_matrices(results: Results) -> Figure:
    colours, configs = model_colours(results.run), results.cnns
    counts = {config.name: compute_counts(results.scores.ensemble(config.name, "test")) for config in configs}
    (tn, fp), (fn, tp) = counts[results.final_model]
    title = (
        f"On the official test, {results.title(results.final_model)} raises {fp} false alarms among "
        f"{tn + fp} NORMAL radiographs and misses {fn} of {tp + fn} with PNEUMONIA"
    )
    note = f"Probabilities averaged over seeds, threshold {HALF}. Percent of the row, which is the true class."
    figure = new_figure(title, note, height=4.6)
    axes = figure.subplots(1, len(configs), squeeze=False)[0]
    for ax, config in zip(axes, configs, strict=True):
        plot_confusion(counts[config.name], ax)
        weight = "bold" if config.name == results.final_model else "normal"
        ax.set_title(wrap(config.title, 2.6, 13, bold=True), color=colours[config.name], weight=weight)
        if ax is not axes[0]:
            ax.set_yticks([])
    axes[0].set_ylabel("true class")
    return figure


def compute_split_values(results: Results, metric: str) -> pd.DataFrame:
    """Percent: index model, columns validation, stress copies (mean over them) and test."""
    return pd.DataFrame({config.name: _split_values(results, config, metric) for config in results.run.models}).T


def _split_values(results: Results, config: ModelConfig, metric: str) -> dict[str, float]:
    table = results.metrics[(results.metrics["model"] == config.name) & (results.metrics["metric"] == metric)]
    copies = [split for split in results.scores.stress_copies if (table["split"] == split).any()]
    values = {
        "validation": results.estimate(config.name, "validation", metric).value,
        STRESS_COPIES: np.mean([results.estimate(config.name, split, metric).value for split in copies])
        if copies
        else np.nan,
        "test": results.estimate(config.name, "test", metric).value,
    }
    return {split: 100 * value for split, value in values.items()}


def plot_gap(table: pd.DataFrame, colours: dict[str, str], ax: Axes | None = None) -> Axes:
    """A line per model: validation, stress copies and test as three joined marks; the gap is written at its right."""
    ax = own_axes(ax)
    for height, (model, row) in enumerate(table.iterrows()):
        shown = row.dropna()
        ax.plot([shown.min(), shown.max()], [height] * 2, color=colours[model], linewidth=3, alpha=0.4, zorder=2)
        for split, value in shown.items():
            ax.plot(value, height, color=colours[model], zorder=3, **SPLIT_MARKS[split])
        ax.annotate(
            signed(row["test"] - row["validation"]), (1.02, height), xycoords=("axes fraction", "data"), va="center"
        )
    ax.set_yticks(range(len(table)), [""] * len(table))
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.annotate("gap", (1.02, 1.01), xycoords="axes fraction", va="bottom", color=GRAY)
    return ax


def draw_generalisation_gap(results: Results) -> Figure:
    final, colours = results.final_model, model_colours(results.run)
    tables = {metric: compute_split_values(results, metric) for metric in ("accuracy", "specificity")}
    before, copies, after = tables["accuracy"].loc[final, ["validation", STRESS_COPIES, "test"]] / 100
    title = (
        f"{results.title(final)} has {percent(before)} accuracy on validation; on its stress copies accuracy is "
        f"{describe_change(before, copies)}, on the official test {describe_change(before, after)}"
    )
    note = (
        f"Mean probability of all seeds, threshold {HALF}. Stress copies: mean over all. "
        "Gap: test minus validation, in points."
    )
    figure = new_figure(title, note, height=6.2)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (metric, table) in zip(axes, tables.items(), strict=True):
        plot_gap(table, colours, ax)
        ax.set(title=metric, xlabel=f"{metric} (% of {'radiographs' if metric == 'accuracy' else 'NORMAL'})")
    name_models(axes[0], results.run, results.final_model)
    for split, mark in SPLIT_MARKS.items():
        axes[0].plot([], [], color="black", linestyle="none", label=SPLIT_TITLES[split], **mark)
    axes[0].legend(loc="lower left", bbox_to_anchor=(-0.02, 1.06), ncols=len(SPLIT_MARKS), columnspacing=1.2)
    return figure
