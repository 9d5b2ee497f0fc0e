"""Models side by side: Comparison, confusion_matrices and generalisation_gap."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ...config import CLAIMED_ACCURACY, CLASS_NAMES, ModelConfig
from ...evaluation.estimate import Estimate, percent
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

METRIC_TITLES = {
    "accuracy": "accuracy",
    "sensitivity": "recall (sensitivity)",
    "specificity": "specificity",
    "roc_auc": "ROC AUC",
}
UNITS = {
    "accuracy": "% of radiographs",
    "sensitivity": "% of PNEUMONIA",
    "specificity": "% of NORMAL",
    "roc_auc": "% of pairs ranked right",
}


def compute_comparison(results: Results, metric: str, split: str = "test") -> pd.DataFrame:
    """Percent, index model: value, ci_low, ci_high, and `seeds`, the list of single-seed values."""
    table = results.metrics[(results.metrics["metric"] == metric) & (results.metrics["split"] == split)]
    rows = {}
    for config in results.run.models:
        of_model = table[(table["model"] == config.name) & table["seed"].str.fullmatch(r"\d+")]
        found = results.estimate(config.name, split, metric)
        rows[config.name] = {
            **{"value": 100 * found.value, "ci_low": 100 * found.low, "ci_high": 100 * found.high},
            "seeds": list(100 * of_model["value"]),
        }
    return pd.DataFrame(rows).T


def plot_metric(table: pd.DataFrame, colours: dict[str, str], ax: Axes | None = None) -> Axes:
    """One line a model, from the top: interval as a bar, value as a dot, single seeds as ticks."""
    ax = own_axes(ax)
    for height, (model, row) in enumerate(table.iterrows()):
        ax.barh(
            height, row["ci_high"] - row["ci_low"], left=row["ci_low"], height=0.11, color=colours[model], alpha=0.4
        )
        ax.plot(row["value"], height, "o", color=colours[model], markersize=7, markeredgecolor="white", zorder=4)
        if len(row["seeds"]) > 1:
            ax.plot(row["seeds"], [height + 0.24] * len(row["seeds"]), "|", color=colours[model], markersize=6)
        value = ax.text(row["value"], height - 0.2, f"{row['value']:.1f}", ha="center", va="bottom", size=11)
        value.set_path_effects([withStroke(linewidth=3, foreground="white")])
    values = table[["value", "ci_low", "ci_high"]].to_numpy(dtype=float)
    low, high = np.nanmin(values), np.nanmax(values)
    margin = max(0.13 * (high - low), 1.0)
    ax.set(ylim=(len(table) - 0.5, -0.75), xlim=(low - margin, high + margin))
    ax.set_yticks(range(len(table)), [""] * len(table))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    return ax


def describe_claim(accuracy: Estimate) -> str:
    """Where the claimed accuracy is relative to the interval of an accuracy."""
    claim = f"the claimed {percent(CLAIMED_ACCURACY, 0)}"
    if accuracy.low <= CLAIMED_ACCURACY <= accuracy.high:
        return f"{claim} lies inside that interval"
    return f"{claim} lies {'above' if accuracy.high < CLAIMED_ACCURACY else 'below'} that interval"


def draw_comparison(results: Results) -> Figure:
    final, colours = results.final_model, model_colours(results.run)
    accuracy, recall = (results.estimate(final, "test", metric) for metric in ("accuracy", "sensitivity"))
    title = (
        f"{results.title(final)}: {accuracy} accuracy ({100 * accuracy.low:.1f} to "
        f"{100 * accuracy.high:.1f}) with {recall} recall on the official test; "
        f"{describe_claim(accuracy)}"
    )
    note = (
        f"In percent, at threshold {HALF}. Dot: mean probability of all seeds; bar: 95 % interval; "
        "ticks: single seeds. "
        f"Shaded: the final model. Dotted: the claimed {percent(CLAIMED_ACCURACY, 0)}."
    )
    figure = new_figure(title, note, height=6.5)
    axes = figure.subplots(1, len(METRIC_TITLES), sharey=True, width_ratios=(1.4, 1, 1, 1))
    figure.get_layout_engine().set(wspace=0.03)
    row = [config.name for config in results.run.models].index(final)
    for ax, (metric, label) in zip(axes, METRIC_TITLES.items(), strict=True):
        ax.axhspan(row - 0.5, row + 0.5, color="#EFEFEF", zorder=0)
        plot_metric(compute_comparison(results, metric), colours, ax)
        ax.set(title=label, xlabel=UNITS[metric])
    plot_claim(axes[0])
    name_models(axes[0], results.run, results.final_model)
    return figure


def plot_claim(ax: Axes) -> None:
    """The claimed accuracy as a dotted line, within the limits of the axes."""
    claim, (low, high) = 100 * CLAIMED_ACCURACY, ax.get_xlim()
    ax.set_xlim(min(low, claim - 1), max(high, claim + 0.08 * (claim - low)))
    ax.axvline(claim, color="black", linestyle=":", linewidth=1.5)
    ax.text(claim, 1.0, "claim ", ha="right", va="top", transform=ax.get_xaxis_transform())


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
