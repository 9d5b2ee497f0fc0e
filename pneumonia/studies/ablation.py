"""What does each augmentation of the recipe contribute? Every row of series.ABLATION, measured as the series is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..config import Run, short_hash
from ..data.dataset import load_radiographs
from ..evaluation.estimate import percent
from ..evaluation.metrics import DECIMALS, roc_auc, threshold_metrics
from ..evaluation.scores import STRESS_COPIES
from ..results import Results
from ..series import ABLATION, ablation_run
from ..style import SPLIT_MARKS, new_figure, own_axes, wrap
from .attribution import CHANGES, COLUMNS, compute_attribution, describe_changes
from .networks import train_networks
from .study import Figure, Study

TITLES = {row.name: row.title for row in ABLATION}
RATES = ("accuracy", "sensitivity", "specificity")
STEPS = 5  # the first rows add one augmentation at a time; the others vary the recipe
ALONE = "ablation_aspect_alone"
LABEL_WIDTH = 2.6  # inches for the names of the rows
BLUE, ORANGE = "#0072B2", "#D55E00"


def compute_ablation(run: Run, catalog: pd.DataFrame, swap: Path | None = None) -> pd.DataFrame:
    """Measure what was trained: a frame with COLUMNS, where `change` may also be "test".

    The test split is scored once, when all rows are trained: no row is chosen by it.

    Args: swap: folder of the encoding swap; see attribution.load_encoding_swap.
    """
    return pd.concat([compute_attribution(run, catalog, swap), score_test(run, catalog)], ignore_index=True)


def score_test(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """ROC AUC, and accuracy, sensitivity and specificity at 0.5, of every member on the official test split."""
    from ..models.prediction import predict_pixels
    from ..models.weights import load_trained

    rows = []
    for config in run.models:
        test = load_radiographs(run, catalog, config.image_size, config.window)["test"]
        for seed in run.seeds_of(config):
            y_prob = predict_pixels(load_trained(run, config, seed), test.pixels)
            values = threshold_metrics(test.labels, y_prob) | {"roc_auc": roc_auc(test.labels, y_prob)}
            for metric in (*RATES, "roc_auc"):
                rows.append((config.name, seed, "test", metric, values[metric], len(test)))
    return pd.DataFrame(rows, columns=COLUMNS).round({"value": DECIMALS})


def describe(results: Results) -> dict[str, dict]:
    """<row>.<change>.<metric>: none, framing, exposure, tones, aspect, aspect_alone ..., also on test."""
    rows = describe_changes(results.table("ablation"), (*CHANGES, "test"))
    return {name.removeprefix("ablation_"): changes for name, changes in rows.items()}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Index row of the ablation; ROC AUC on validation, on its worst altered copy and on test; mean over seeds (0-1).

    Also accuracy, sensitivity and specificity on test, and `seeds`, the list of accuracies.
    """
    rows = {}
    for name in TITLES:
        of_row = table[table["model"] == name]
        if of_row.empty:
            continue
        means = of_row.groupby(["metric", "change"])["value"].mean()
        copies = means["roc_auc"].reindex([change for change in CHANGES if change not in ("validation", "control")])
        rows[name] = {
            "validation": means["roc_auc"]["validation"],
            STRESS_COPIES: copies.min(),
            "worst": copies.idxmin(),
            "test": means["roc_auc"]["test"],
            **{metric: means[metric]["test"] for metric in RATES},
            "seeds": list(of_row.query("change == 'test' and metric == 'accuracy'")["value"]),
        }
    return pd.DataFrame(rows).T


def draw_ablation(results: Results) -> Drawing:
    table = summarise(results.table("ablation"))
    first, last = table.iloc[0], table.iloc[min(STEPS, len(table)) - 1]
    title = (
        f"Test accuracy is {percent(first['accuracy'])} without augmentations, {percent(last['accuracy'])} with all of "
        f"them, and {percent(table.loc[ALONE, 'accuracy'])} with the exchanged aspect ratio alone"
    )
    note = (
        "The network of Robust CNN in small: 96 px, 12 epochs; ticks: single seeds. Above: augmentations added one by "
        "one; below: changes of the recipe, most with one seed only. The test split was scored once, for all rows "
        "together."
    )
    figure = new_figure(title, note, height=2.2 + 0.38 * len(table))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    plot_ranking(table, left).set(xlabel="ROC AUC", title="ranking")
    plot_accuracy(table, right).set(xlabel="accuracy on test (% of radiographs)", title="at threshold 0.5")
    left.set_ylim(len(table) - 0.5, -0.75)
    left.set_yticks(range(len(table)), [wrap(TITLES[name], LABEL_WIDTH, 12) for name in table.index], size=12)
    for ax in (left, right):
        ax.axhline(STEPS - 0.58, color="black", linewidth=0.8)
        ax.tick_params(axis="y", length=0)
    labels = {"validation": "validation", STRESS_COPIES: "its worst copy", "test": "official test"}
    for split, label in labels.items():
        colour = ORANGE if split == "test" else BLUE
        left.plot([], [], color=colour, linestyle="none", label=label, **SPLIT_MARKS[split])
    left.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), ncols=3, columnspacing=1.2)
    return figure


def plot_ranking(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC AUC of each row on validation, its worst altered copy (named) and test, joined by a line."""
    ax = own_axes(ax)
    for height, (_, row) in enumerate(table.iterrows()):
        values = [row["validation"], row[STRESS_COPIES], row["test"]]
        ax.plot([min(values), max(values)], [height] * 2, color=BLUE, linewidth=3, alpha=0.35, zorder=2)
        for split, value in zip(("validation", STRESS_COPIES, "test"), values, strict=True):
            ax.plot(value, height, color=ORANGE if split == "test" else BLUE, zorder=3, **SPLIT_MARKS[split])
        ax.text(row[STRESS_COPIES], height - 0.22, row["worst"], ha="center", va="bottom", size=11)
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


def hash_ablation(record: dict) -> str:
    """What the ablation depends on: the radiographs, and every row of its series. Args: record: run.json."""
    return short_hash([record["catalog_hash"], *(config.hash() for config in ABLATION)])


STUDY = Study(
    compute_ablation,
    describe,
    figures={
        "ablation": Figure(
            draw_ablation, "Dots: ROC AUC and test accuracy of one network as augmentations are added and exchanged"
        )
    },
    looks_at_test="ablation: every row and seed together, once all were trained",
    networks=lambda base: ablation_run(base.data),
    train=train_networks,
    depends_on=hash_ablation,
)
