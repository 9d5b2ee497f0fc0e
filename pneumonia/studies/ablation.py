"""The cures one at a time: train every row of config.ABLATION, and measure it as the networks of the series are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..config import Run
from ..data.catalog import hash_catalog
from ..data.dataset import load_radiographs
from ..evaluation.metrics import roc_auc, threshold_metrics
from ..evaluation.wording import percent
from ..models.prediction import predict_pixels
from ..models.training import say_now, train_all
from ..models.weights import load_trained
from ..results import Results, hash_ablation, record_test_look, write_measured
from ..series import ABLATION, ablation_run
from ..style import SPLIT_MARKS, new_figure, own_axes, wrap
from .attribution import COLUMNS, ORDER, attribute

LOOK = "ablation: every row and seed together, once all were trained"


def make_ablation(run: Run, catalog: pd.DataFrame, swap: Path | None = None, say=say_now) -> pd.DataFrame:
    """Train what is missing (weights stay in build/), then leave ablation.csv: COLUMNS, `change` also "test".

    The test split is scored when all rows are there, all together, and counted as one look: no row is picked by it.

    Args: swap: folder of the encoding swap; see attribution.load_encoding_swap.
    """
    ablation = ablation_run(run.data)
    records = train_all(ablation, catalog, say=say)
    measured = attribute(ablation, catalog, swap)
    record_test_look(run, records, LOOK)
    ablated = pd.concat([measured, score_test(ablation, catalog)], ignore_index=True)
    write_measured(run, "ablation", ablated, hash_ablation(hash_catalog(catalog)))
    return ablated


def score_test(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """ROC AUC, and accuracy, sensitivity and specificity at 0.5, of every member on the official test split."""
    rows = []
    for config in run.models:
        test = load_radiographs(run, catalog, config.image_size)["test"]
        for seed in run.seeds_of(config):
            y_prob = predict_pixels(load_trained(run, config, seed), test.pixels)
            values = threshold_metrics(test.labels, y_prob) | {"roc_auc": roc_auc(test.labels, y_prob)}
            for metric in ("accuracy", "sensitivity", "specificity", "roc_auc"):
                rows.append((config.name, seed, "test", metric, values[metric], len(test)))
    return pd.DataFrame(rows, columns=COLUMNS).round({"value": 6})


LABEL_WIDTH = 2.6  # inches for the names of the rows
ALONE = "ablation_aspect_alone"
STEPS = 5  # the first rows add one cure at a time; the others vary the recipe
BLUE, ORANGE = "#0072B2", "#D55E00"
TITLES = {row.name: row.title for row in ABLATION}


def compute_ablation(table: pd.DataFrame) -> pd.DataFrame:
    """Index row of the ablation; ROC AUC on validation, on its worst altered copy and on test; mean over seeds (0-1).

    Also accuracy, sensitivity and specificity on test, and `seeds`, the list of accuracies.
    """
    rows = {}
    for name in TITLES:
        of_row = table[table["model"] == name]
        if of_row.empty:
            continue
        means = of_row.groupby(["metric", "change"])["value"].mean()
        twins = means["roc_auc"].reindex([change for change in ORDER if change not in ("validation", "control")])
        rows[name] = {
            "validation": means["roc_auc"]["validation"],
            "twins": twins.min(),
            "worst": twins.idxmin(),
            "test": means["roc_auc"]["test"],
            **{metric: means[metric]["test"] for metric in ("accuracy", "sensitivity", "specificity")},
            "seeds": list(of_row.query("change == 'test' and metric == 'accuracy'")["value"]),
        }
    return pd.DataFrame(rows).T


def plot_ranking(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC AUC of each row on validation, its worst altered copy (named) and test, joined by a line."""
    ax = own_axes(ax)
    for height, (_, row) in enumerate(table.iterrows()):
        values = [row["validation"], row["twins"], row["test"]]
        ax.plot([min(values), max(values)], [height] * 2, color=BLUE, linewidth=3, alpha=0.35, zorder=2)
        for split, value in zip(("validation", "twins", "test"), values, strict=True):
            ax.plot(value, height, color=ORANGE if split == "test" else BLUE, zorder=3, **SPLIT_MARKS[split])
        ax.text(row["twins"], height - 0.22, row["worst"], ha="center", va="bottom", size=11)
    return ax


def plot_accuracy(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Test accuracy of each row in percent: mean over seeds as a dot with its value, single seeds as ticks."""
    ax = own_axes(ax)
    for height, (_, row) in enumerate(table.iterrows()):
        ax.plot(100 * row["accuracy"], height, "o", color=ORANGE, markersize=8)
        ax.plot([100 * seed for seed in row["seeds"]], [height] * len(row["seeds"]), "|", color="black", markersize=11)
        ax.text(100 * row["accuracy"], height - 0.2, f"{100 * row['accuracy']:.1f}", ha="center", va="bottom", size=11)
        rates = f"{100 * row['sensitivity']:.0f} / {100 * row['specificity']:.0f}"
        ax.annotate(rates, (1.02, height), xycoords=("axes fraction", "data"), va="center", size=11)
    ax.annotate("recall /\nspecificity", (1.02, 1.01), xycoords="axes fraction", va="bottom", size=11)
    return ax


def draw_ablation(results: Results) -> Figure:
    table = compute_ablation(results.table("ablation"))
    first, last = table.iloc[0], table.iloc[min(STEPS, len(table)) - 1]
    title = (
        f"Test accuracy is {percent(first['accuracy'])} without a cure, {percent(last['accuracy'])} with all of them, "
        f"and {percent(table.loc[ALONE, 'accuracy'])} with the exchanged aspect ratio alone"
    )
    note = (
        "The network of Robust CNN in small: 96 px, 12 epochs; ticks: single seeds. Above: cures added one by one; "
        "below: changes of the recipe, most with one seed only. The test split was scored once, for all rows together."
    )
    figure = new_figure(title, note, height=2.2 + 0.38 * len(table))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    plot_ranking(table, left).set(xlabel="ROC AUC", title="ranking")
    plot_accuracy(table, right).set(xlabel="accuracy on test (% of radiographs)", title="calls at 0.5")
    left.set_ylim(len(table) - 0.5, -0.75)
    left.set_yticks(range(len(table)), [wrap(TITLES[name], LABEL_WIDTH, 12) for name in table.index], size=12)
    for ax in (left, right):
        ax.axhline(STEPS - 0.58, color="black", linewidth=0.8)
        ax.tick_params(axis="y", length=0)
    labels = {"validation": "validation", "twins": "its worst copy", "test": "official test"}
    for split, label in labels.items():
        colour = ORANGE if split == "test" else BLUE
        left.plot([], [], color=colour, linestyle="none", label=label, **SPLIT_MARKS[split])
    left.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), ncols=3, columnspacing=1.2)
    return figure
