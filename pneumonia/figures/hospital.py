"""What a hospital asks: subgroups, per_1000, decision_curve and published."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..decision import CHILDREN, PREVALENCES, find_useful_range
from ..published_comparison import binomial_interval
from ..results import Results
from ..wording import join_words, percent
from .comparison import name_models
from .scores import HALF, title_of
from .style import GRAY, KIND_COLOURS, model_colours, new_figure, own_axes, wrap

# (subgroup, what readers see, colour) per metric
SHOWN = {
    "sensitivity": (
        ("bacteria", "bacterial pneumonias", KIND_COLOURS["bacteria"]),
        ("virus", "viral ones", KIND_COLOURS["virus"]),
    ),
    "specificity": (("IM", "normal series IM", "#0072B2"), ("NORMAL2-IM", "NORMAL2-IM", "#E69F00")),
}
MARKERS = ("o", "s")
CALLS = {
    "missed": "ill children missed",
    "needlessly_treated": "healthy children called ill",
    "referred": "children called ill in all",
}


def plot_subgroups(table: pd.DataFrame, metric: str, models: list[str], ax: Axes | None = None) -> Axes:
    """A row a model, a mark a subgroup: share called right in percent, interval as a bar."""
    ax = own_axes(ax)
    for number, (subgroup, label, colour) in enumerate(SHOWN[metric]):
        rows = table[table["subgroup"] == subgroup].set_index("model")
        for height, model in enumerate(models):
            if model in rows.index:
                value, low, high = 100 * rows.loc[model, ["value", "ci_low", "ci_high"]].to_numpy(dtype=float)
                place = height - 0.15 + 0.3 * number
                ax.plot([low, high], [place] * 2, color=colour, linewidth=3, alpha=0.4)
                ax.plot(value, place, MARKERS[number], color=colour, markersize=8, markeredgecolor="white", zorder=3)
        ax.plot([], [], MARKERS[number], color=colour, markersize=8, label=label)
    ax.set_yticks(range(len(models)), [""] * len(models))
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2, handletextpad=0.2)
    return ax


def draw_subgroups(results: Results) -> Figure:
    table, models = results.table("subgroups"), [config.name for config in results.run.models]
    table, final = table[table["split"] == "test"], results.final_model
    right = table[table["model"] == final].set_index("subgroup")["value"].map(percent)
    found, cleared = (
        join_words([f"{right[name]} of {label}" for name, label, _ in shown if name in right])
        for shown in SHOWN.values()
    )
    title = f"{title_of(results, final)} finds {found}, and clears {cleared}"
    if not (found and cleared):
        title = "The files tell neither the kind of pneumonia nor the series of the healthy children"
    note = f"Mean over seeds at threshold {HALF}; bars: 95 % intervals over patients. File names tell the series."
    figure = new_figure(title, note, height=6.0)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (metric, of) in zip(axes, (("sensitivity", "PNEUMONIA"), ("specificity", "NORMAL")), strict=True):
        plot_subgroups(table[table["metric"] == metric], metric, models, ax)
        ax.set_xlabel(f"{metric} (% of {of})")
    name_models(axes[0], results)
    return figure


def plot_calls(rows: pd.DataFrame, colour: str, ax: Axes | None = None) -> Axes:
    """Children per 1,000, a line a row of the frame, interval as a bar, the number at its right."""
    ax = own_axes(ax)
    for height, row in enumerate(rows.itertuples()):
        ax.plot([row.ci_low, row.ci_high], [height] * 2, color=colour, linewidth=4, alpha=0.4)
        ax.plot(row.value, height, "o", color=colour, markersize=7, markeredgecolor="white", zorder=3)
        ax.annotate(f"{row.value:.0f}", (1.01, height), xycoords=("axes fraction", "data"), va="center", size=11)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [""] * len(rows))
    ax.set_xlim(0, 1.06 * max(1.0, rows["ci_high"].max()))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return ax


def draw_per_1000(results: Results) -> Figure:
    table, final = results.table("per_1000"), results.final_model
    points = list(dict.fromkeys(table["operating_point"]))
    order = [(share, point) for share in PREVALENCES for point in points]
    middle = table.query("prevalence == 0.3 and operating_point == 'balanced'").set_index("quantity")["value"]
    title = (
        f"If 30 % of {CHILDREN:,} imaged children were ill, {title_of(results, final)} would miss "
        f"{middle['missed']:.0f} of 300 and call {middle['needlessly_treated']:.0f} of 700 healthy ones ill"
    )
    note = (
        f"Title: threshold {HALF}. Rates of the ensemble on test; bars: 95 % intervals over patients. Screening and "
        "rule-in thresholds come from validation and its twins. Prevalences are examples; 62.5 % is the test split's."
    )
    figure = new_figure(title, note, height=6.6)
    axes = figure.subplots(1, 3, sharey=True)
    colour = model_colours(results.run)[final]
    for ax, (quantity, label) in zip(axes, CALLS.items(), strict=True):
        rows = table[table["quantity"] == quantity].set_index(["prevalence", "operating_point"])
        plot_calls(rows.loc[order], colour, ax)
        ax.set_xlabel(f"{label} (per {CHILDREN:,})")
        for height in range(len(points), len(order), len(points)):
            ax.axhline(height - 0.5, color=GRAY, linewidth=0.8)
    axes[0].set_yticklabels([f"{100 * share:g} % ill, {point}" for share, point in order], size=12)
    return figure


def plot_decision_curve(curve: pd.DataFrame, model: str, colour: str, ax: Axes | None = None) -> Axes:
    """Net benefit per 1,000 children of the model (with its interval), treat-all and treat-none."""
    ax = own_axes(ax)
    for strategy, line in ((model, "-"), ("treat all", "--"), ("treat none", ":")):
        rows = curve[curve["strategy"] == strategy]
        x, own = 100 * rows["threshold_probability"], strategy == model
        ax.plot(x, CHILDREN * rows["net_benefit"], line, color=colour if own else GRAY, linewidth=2.4 if own else 1.8)
        if own:
            low, high = CHILDREN * rows["ci_low"], CHILDREN * rows["ci_high"]
            ax.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    top = CHILDREN * curve["net_benefit"].max()
    ax.set(xlim=(0, 100), ylim=(-0.25 * top, 1.3 * top))
    return ax


def draw_decision_curve(results: Results) -> Figure:
    curve, final = results.table("decision_curve"), results.final_model
    low, high = find_useful_range(curve, 0.15)
    span = "nowhere" if np.isnan(low) else f"wherever one would treat from {100 * low:.0f} to {100 * high:.0f} % on"
    title = (
        f"Where 15 % of the imaged children are ill, {title_of(results, final)} does more good than treating all or "
        f"none {span}"
    )
    note = (
        "Net benefit: ill children treated, less healthy ones treated, weighted by the odds of the probability from "
        "which one treats. Band: 95 % interval over patients, ensemble on test; the title goes by its lower end."
    )
    figure = new_figure(title, note, height=5.4)
    axes, colour = figure.subplots(1, len(PREVALENCES)), model_colours(results.run)[final]
    for ax, prevalence in zip(axes, PREVALENCES, strict=True):
        plot_decision_curve(curve[np.isclose(curve["prevalence"], prevalence)], final, colour, ax)
        ax.set_title(f"{100 * prevalence:g} % ill")
        ax.set_xlabel("treat from (%)")
    axes[0].set_ylabel(f"net benefit (per {CHILDREN:,})")
    strategies = ((title_of(results, final), "-", colour), ("treat all", "--", GRAY), ("treat none", ":", GRAY))
    for ax, (label, line, shade) in zip(axes, strategies, strict=False):
        ax.legend(handles=ax.plot([], [], line, color=shade, label=wrap(label, 1.5, 11)), loc="upper right")
    return figure


def draw_published(results: Results) -> Figure:
    table, final = results.table("published_comparisons"), results.final_model
    rows = table[table["metric"] == "accuracy"].reset_index(drop=True)
    sure = rows["verdict"].str.contains("however the errors pair") & rows["verdict"].str.startswith("above")
    title = (
        f"{title_of(results, final)} ({percent(rows['ours'][0])}, ensemble) is more accurate than {sure.sum()} of "
        f"{len(rows)} published results, however their errors pair with its own"
    )
    note = (
        "Same test radiographs. Others publish rates, not calls: their bars are exact binomial intervals of the rate, "
        "and the verdict bounds McNemar's test over every pairing of errors, if a child's films cluster as in ours. "
        "Shaded: our 95 % interval."
    )
    figure = new_figure(title, note, height=5.8)
    ax, colour = figure.subplots(), model_colours(results.run)[final]
    ax.axvspan(100 * rows["ci_low"][0], 100 * rows["ci_high"][0], color=colour, alpha=0.2, linewidth=0)
    ax.axvline(100 * rows["ours"][0], color=colour)
    for height, row in rows.iterrows():
        n = row["n"] / row["design_effect"]
        low, high = binomial_interval(row["published"] * n, n)
        ax.plot([100 * low, 100 * high], [height] * 2, color=GRAY, linewidth=4, alpha=0.4)
        ax.plot(100 * row["published"], height, "o", color="black", markersize=8, zorder=3)
        told = wrap(f"ours {row['verdict']}", 2.3, 11)
        ax.annotate(told, (1.01, height), xycoords=("axes fraction", "data"), va="center", size=11)
    ax.set_yticks(range(len(rows)), [wrap(work, 2.6, 12) for work in rows["work"]], size=12)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy (% of the test radiographs)")
    return figure
