"""Would it help? more_data (patients), pareto (compute) and three_class (which pneumonia)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ..config import KINDS
from ..learning_curve import extrapolate, is_undetermined, power_law
from ..pareto import add_series, find_front
from ..results import Results
from ..wording import percent
from .scores import HALF, title_of
from .style import GRAY, model_colours, new_figure, own_axes, wrap

CURVES = {"test": ("official test", "#D55E00", "s"), "validation": ("validation", "#0072B2", "o")}
WIDTH_MARKERS = {0.5: "v", 1.0: "o", 1.5: "^"}
KIND_TITLES = {"NORMAL": "normal", "bacteria": "bacterial", "virus": "viral"}
HEADS = {"two_class": ("two outputs", "#0072B2", "o"), "three_class": ("three outputs", "#D55E00", "s")}


def plot_data_curve(table: pd.DataFrame, split: str, ax: Axes | None = None) -> Axes:
    """Error in percent against patients, both in logarithms: mean over seeds, single seeds, the fitted power law."""
    ax = own_axes(ax)
    label, colour, marker = CURVES[split]
    rows = table.query("split == @split and metric == 'accuracy'")
    single, mean = rows[rows["seed"] != "mean"], rows[rows["seed"] == "mean"].sort_values("patients")
    ax.plot(single["patients"], 100 * (1 - single["value"]), marker, color=colour, markersize=5, alpha=0.45)
    ax.plot(mean["patients"], 100 * (1 - mean["value"]), marker, color=colour, markersize=9, label=label)
    law = extrapolate(table, split)
    if not np.isnan(law["exponent"][0]):
        x = np.geomspace(mean["patients"].min(), 4 * mean["patients"].max())
        ax.plot(x, 100 * power_law(x, *(law[name][0] for name in ("floor", "scale", "exponent"))), color=colour)
    return ax


def describe_next_point(law: dict[str, tuple], largest: float) -> str:
    """What one more point of accuracy would cost, in words that turn with the law."""
    value, low, high = law["next_point"]
    if np.isnan(value):
        return "no power law fits"
    if is_undetermined(law):
        return "too flat for a power law that says what more would bring"
    if np.isinf(value):
        return "by the fitted law no number of patients gains another point"
    ends = [("no number" if np.isinf(end) else f"{end:,.0f}") for end in (low, high)]
    return (
        f"the next point would take about {value:,.0f} patients instead of {largest:,.0f} (95 %: {' to '.join(ends)})"
    )


def draw_more_data(results: Results) -> Figure:
    table = results.table("learning_curve")
    means = table.query("split == 'test' and metric == 'accuracy' and seed == 'mean'").sort_values("patients")
    least, most = means.iloc[0], means.iloc[-1]
    title = (
        f"From {least['patients']:,.0f} to {most['patients']:,.0f} patients, test accuracy goes from "
        f"{percent(least['value'])} to {percent(most['value'])}; "
        f"{describe_next_point(extrapolate(table), most['patients'])}"
    )
    note = (
        "A small network (96 px) with the recipe of the cures, as many steps for every share of the patients. "
        "Large marks: mean over seeds. Lines: error = floor + scale * patients ^ -exponent, and its extrapolation."
    )
    figure = new_figure(title, note, height=6.0)
    ax = figure.subplots()
    for split in CURVES:
        plot_data_curve(table, split, ax)
    ax.set(xscale="log", yscale="log", xlabel="patients learned from", ylabel="radiographs called wrong (%)")
    for axis, marks in ((ax.xaxis, (1, 2, 5)), (ax.yaxis, (1, 1.5, 2, 3, 4, 5, 6, 7, 8))):
        axis.set(major_locator=LogLocator(subs=marks), minor_locator=NullLocator())
        axis.set_major_formatter("{x:,g}")
    ax.legend(loc="upper right")
    return figure


def plot_pareto(table: pd.DataFrame, grid: pd.DataFrame, colours: dict[str, str], ax: Axes | None = None) -> Axes:
    """Value in percent against CPU minutes; grid entries by width, the networks of the series in their colours."""
    ax = own_axes(ax)
    told = grid.drop_duplicates("model").set_index("model")
    for row in table.itertuples():
        own = row.model in told.index
        marker = WIDTH_MARKERS[told.loc[row.model, "width"]] if own else "D"
        shade = GRAY if own else colours[row.model]
        ax.plot(row.cpu_seconds / 60, 100 * row.value, marker, color=shade, markersize=7 if own else 10, zorder=3)
    front = table[find_front(table)].sort_values("cpu_seconds")
    ax.plot(front["cpu_seconds"] / 60, 100 * front["value"], color="black", linewidth=1.2, drawstyle="steps-post")
    ax.set_xscale("log")
    ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    return ax


def draw_pareto(results: Results) -> Figure:
    grid, final, colours = results.table("pareto"), results.final_model, model_colours(results.run)
    tables = {
        "validation": add_series(grid, results, "validation_exchange", "balanced_accuracy"),
        "test": add_series(grid, results, "test", "accuracy"),
    }
    test = tables["test"]
    where = "on" if find_front(test)[test["model"] == final].iloc[0] else "behind"
    cost = test.set_index("model").loc[final]
    title = (
        f"{title_of(results, final)} takes {cost['cpu_seconds'] / 60:.0f} CPU minutes a training for "
        f"{percent(cost['value'])} test accuracy and stands {where} the front of what compute buys"
    )
    note = (
        f"Threshold {HALF}. Gray: the small recipe at other widths, sizes and epochs, one seed each. Colours: the "
        "series, mean over seeds. Line: the front, where nothing cheaper is as good. CPU time of one training."
    )
    figure = new_figure(title, note, height=6.2)
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 0.55))
    for ax, (split, table) in zip(axes, tables.items(), strict=False):
        plot_pareto(table, grid, colours, ax)
        ax.set_xlabel("CPU minutes of one training")
        ax.set_title("exchange twin of validation" if split == "validation" else "official test")
    axes[0].set_ylabel("balanced accuracy (%)")
    axes[1].set_ylabel("accuracy (%)")
    for width, marker in WIDTH_MARKERS.items():
        axes[2].plot([], [], marker, color=GRAY, markersize=7, label=f"small, width {width:g}")
    for name in test["model"][~test["model"].isin(grid["model"])]:
        axes[2].plot([], [], "D", color=colours[name], markersize=10, label=wrap(title_of(results, name), 1.7, 11))
    axes[2].axis("off")
    axes[2].legend(loc="center left", bbox_to_anchor=(-0.15, 0.5), borderaxespad=0, labelspacing=0.8)
    return figure


def plot_kinds(values: pd.Series, ax: Axes | None = None) -> Axes:
    """Confusion of the three outputs in percent of the row, the true kind. values: "true as called" -> share."""
    ax = own_axes(ax)
    shares = np.array([[values[f"{true} as {called}"] for called in KINDS] for true in KINDS])
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.62 else "black"
        ax.text(column, row, percent(share), ha="center", va="center", size=15, weight="bold", color=colour)
    titles = [KIND_TITLES[kind] for kind in KINDS]
    ax.set_xticks(range(3), titles)
    ax.set_yticks(range(3), titles)
    ax.set(xlabel="called", ylabel="true kind")
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def draw_three_class(results: Results) -> Figure:
    everything = results.table("three_class").set_index(["split", "model", "metric"])["value"]
    before = everything["validation", "three_class", "bacteria or virus"]
    table = results.table("three_class").query("split == 'test'")
    three = table[table["model"] == "three_class"].set_index("metric")["value"]
    two = table[table["model"] == "two_class"].set_index("metric")["value"]
    title = (
        f"Bacterial and viral are told apart in {percent(three['bacteria or virus'])} of the ill ({percent(before)} on "
        f"validation); for ill or healthy, ROC AUC: three outputs {three['roc_auc']:.3f}, two {two['roc_auc']:.3f}"
    )
    note = (
        "The small recipe (96 px) on test, mean over seeds; left in percent of the true kind. Bars: 95 % intervals. "
        "Neither is calibrated, so that the threshold of 0.5 balances the two errors differently."
    )
    figure = new_figure(title, note, height=5.4)
    left, right = figure.subplots(1, 2)
    plot_kinds(three, left)
    metrics = ("accuracy", "sensitivity", "specificity")
    for number, (model, (label, colour, marker)) in enumerate(HEADS.items()):
        rows = table[table["model"] == model].set_index("metric").loc[list(metrics)]
        for height, row in enumerate(rows.itertuples()):
            place = height - 0.12 + 0.24 * number
            right.plot([100 * row.ci_low, 100 * row.ci_high], [place] * 2, color=colour, linewidth=4, alpha=0.4)
            right.plot(100 * row.value, place, marker, color=colour, markersize=8, label=label if height == 0 else None)
    right.set_yticks(range(len(metrics)), metrics)
    right.set(ylim=(len(metrics) - 0.5, -0.7), xlabel="for PNEUMONIA against NORMAL (%)")
    right.legend(loc="upper left", ncols=2)
    return figure
