"""What does each augmentation of the recipe contribute? Every row of series.ABLATION, measured as the series is."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..config import Run, short_hash
from ..data.sizes import count_pixels
from ..evaluation.estimate import Estimate
from ..evaluation.evaluate import compute_metrics
from ..evaluation.scores import STRESS_COPIES, Scores, is_validation
from ..results import Results
from ..series import ABLATION, ablation_run
from ..style import SPLIT_MARKS, new_figure, own_axes, wrap
from .networks import train_networks
from .study import Figure, Study, Table

COLUMNS = ["model", "seed", "split", "metric", "value", "n"]
METRICS = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "roc_auc", "size_adjusted_auc")
TITLES = {row.name: row.title for row in ABLATION}
LABEL_WIDTH = 2.6  # inches for the names of the rows
BLUE, ORANGE = "#0072B2", "#D55E00"


def compute_ablation(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """METRICS of every row and seed, calibrated as the series is, on validation, its stress copies and test.

    The test split is scored once, when all rows are trained: no row is chosen by it. Returns: a frame with COLUMNS.
    """
    from ..models.prediction import predict_all

    scores = Scores.parse(predict_all(run, catalog), count_pixels(catalog)).calibrated()
    metrics = compute_metrics(scores, draws=1)
    chosen = metrics["metric"].isin(METRICS) & metrics["seed"].astype(str).str.isdecimal()
    return metrics.loc[chosen, COLUMNS].reset_index(drop=True)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Index row of the ablation; means over seeds, 0-1.

    "validation" and "worst": ROC AUC there and on the stress copy where it is lowest, whose name is "copy". METRICS on
    test by their names. "seeds": the list of test accuracies.
    """
    rows = {}
    for name in TITLES:
        of_row = table[table["model"] == name]
        if of_row.empty:
            continue
        means = of_row.groupby(["metric", "split"])["value"].mean()
        copies = {s: v for s, v in means["roc_auc"].items() if is_validation(s) and s != "validation"}
        worst = min(copies, key=copies.get)
        rows[name] = {
            "validation": means["roc_auc"]["validation"],
            "worst": copies[worst],
            "copy": worst.removeprefix("validation_"),
            **{metric: means[metric]["test"] for metric in METRICS},
            "seeds": list(of_row.query("split == 'test' and metric == 'accuracy'")["value"]),
        }
    return pd.DataFrame(rows).T


def describe(results: Results) -> dict[str, dict]:
    """<row>.validation, .worst, .copy and .<metric> on test, as text, without "ablation_": none, framing, tones ..."""
    return {
        name.removeprefix("ablation_"): {
            "validation": str(Estimate.of("roc_auc", row["validation"])),
            "worst": str(Estimate.of("roc_auc", row["worst"])),
            "copy": row["copy"],
            **{metric: str(Estimate.of(metric, row[metric])) for metric in METRICS},
        }
        for name, row in summarise(results.table("ablation")).iterrows()
    }


def tabulate(results: Results) -> Table:
    """A row of the ablation per line, as described."""
    head = ["recipe", "validation", "worst stress copy", "test: accuracy", "ROC AUC", "size-adjusted ROC AUC"]
    rows = [
        [TITLES[f"ablation_{name}"], row["validation"], f"{row['worst']} ({row['copy']})"]
        + [row["accuracy"], row["roc_auc"], row["size_adjusted_auc"]]
        for name, row in describe(results).items()
    ]
    return Table(head, rows)


def draw_ablation(results: Results) -> Drawing:
    table = summarise(results.table("ablation"))
    first, best = table.iloc[0], table["worst"].astype(float).idxmax()
    title = (
        f"Size-adjusted ROC AUC on test: {first['size_adjusted_auc']:.3f} without augmentation, "
        f"{table.loc[best, 'size_adjusted_auc']:.3f} with the recipe that withstands stress best"
    )
    note = (
        "The deep CNN in small: 96 px, 12 epochs; ticks: single seeds. Calibrated on validation and its stress copies. "
        f"The recipe that withstands stress best: {TITLES[best]}. The test split was scored once, for all rows."
    )
    figure = new_figure(title, note, height=2.2 + 0.41 * len(table))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    plot_ranking(table, left).set(xlabel="ROC AUC", title="ranking")
    plot_accuracy(table, right).set(xlabel="accuracy on test (% of radiographs)", title="at threshold 0.5")
    left.set_ylim(len(table) - 0.5, -0.75)
    left.set_yticks(range(len(table)), [wrap(TITLES[name], LABEL_WIDTH, 12) for name in table.index], size=12)
    for ax in (left, right):
        ax.tick_params(axis="y", length=0)
    for split, label in {"validation": "validation", STRESS_COPIES: "its worst copy", "test": "official test"}.items():
        colour = ORANGE if split == "test" else BLUE
        left.plot([], [], color=colour, linestyle="none", label=label, **SPLIT_MARKS[split])
    left.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), ncols=3, columnspacing=1.2)
    return figure


def plot_ranking(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """ROC AUC of each row on validation, its worst altered copy (named) and test, joined by a line."""
    ax = own_axes(ax)
    for height, (_, row) in enumerate(table.iterrows()):
        values = [row["validation"], row["worst"], row["roc_auc"]]
        ax.plot([min(values), max(values)], [height] * 2, color=BLUE, linewidth=3, alpha=0.35, zorder=2)
        for split, value in zip(("validation", STRESS_COPIES, "test"), values, strict=True):
            ax.plot(value, height, color=ORANGE if split == "test" else BLUE, zorder=3, **SPLIT_MARKS[split])
        ax.text(row["worst"], height - 0.22, row["copy"], ha="center", va="bottom", size=11)
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
    tables={"ablation": tabulate},
    looks_at_test="ablation: every row and seed together, once all were trained",
    networks=lambda base: ablation_run(base.data),
    train=train_networks,
    depends_on=hash_ablation,
)
