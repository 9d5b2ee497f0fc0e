"""Would more compute help? Width, resolution and epochs of the small recipe: accuracy against CPU seconds."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import LogLocator, NullLocator

from ..config import ModelConfig, Run
from ..evaluation.estimate import Estimate, percent
from ..evaluation.evaluate import compute_metrics
from ..evaluation.metrics import HALF
from ..evaluation.scores import Scores
from ..records import load_record
from ..results import Results
from ..style import GRAY, model_colours, new_figure, own_axes, wrap
from .networks import RECIPE, networks_run, recipe_hash, train_networks
from .study import Figure, Study

SEEDS = (0,)
WIDTHS = {"build_half_cnn": 0.5, "build_deep_cnn": 1.0, "build_wide_cnn": 1.5}
GRID = (  # builder, pixels, epochs: each axis alone, then the corners
    *(("build_deep_cnn", 96, epochs) for epochs in (3, 6, 12, 24)),
    *(("build_deep_cnn", pixels, 12) for pixels in (48, 64, 128)),
    *((builder, 96, 12) for builder in ("build_half_cnn", "build_wide_cnn")),
    *(("build_half_cnn", 48, 6), ("build_half_cnn", 64, 12), ("build_half_cnn", 128, 24), ("build_deep_cnn", 128, 24)),
)
COLUMNS = ["model", "width", "image_size", "epochs", "parameters", "cpu_seconds", "seeds", "split", "metric", "value"]
COLUMNS += ["ci_low", "ci_high"]
METRICS = ("accuracy", "balanced_accuracy", "roc_auc")
CORE_HOUR = 0.05  # price of a core for an hour, in any unit: an EXAMPLE, not a fact
SWEEP = 100  # networks to train


def pareto_run(base: Run, config: ModelConfig = RECIPE, grid: tuple = GRID) -> Run:
    """One model for each entry of the grid."""
    models = tuple(
        replace(
            config,
            name=f"pareto_{builder.removeprefix('build_').removesuffix('_cnn')}_{pixels}_{epochs}",
            title=f"{builder.removeprefix('build_').removesuffix('_cnn')}, {pixels} px, {epochs} epochs",
            builder=builder,
            image_size=pixels,
            epochs=epochs,
            seeds=SEEDS,
        )
        for builder, pixels, epochs in grid
    )
    return networks_run(base, "pareto", models, SEEDS)


def compute_pareto(run: Run, catalog: pd.DataFrame) -> pd.DataFrame:
    """Score what was trained on every split but train: a frame with COLUMNS, mean over seeds.

    cpu_seconds are those of one training.
    """
    from ..models.prediction import predict_all

    records = pd.DataFrame(load_record(run, config, seed) for config in run.models for seed in run.seeds_of(config))
    cost = records.groupby("model")[["parameters", "cpu_seconds"]].mean()
    metrics = compute_metrics(Scores.parse(predict_all(run, catalog)).calibrated(), run.bootstrap_draws).query(
        "seed == 'mean'"
    )
    metrics = metrics[metrics["metric"].isin(METRICS)].join(cost, on="model")
    settings = pd.DataFrame(
        {
            config.name: {
                "width": WIDTHS[config.builder],
                "image_size": config.image_size,
                "epochs": config.epochs,
                "seeds": len(run.seeds_of(config)),
            }
            for config in run.models
        }
    ).T
    whole = ["image_size", "epochs", "seeds"]
    table = metrics.join(settings, on="model")
    return table.astype(dict.fromkeys([*whole, "parameters"], int))[COLUMNS].reset_index(drop=True)


def add_series(table: pd.DataFrame, results: Results, split: str, metric: str) -> pd.DataFrame:
    """One split and metric of the grid, and the networks of the series beside it: model, title, cpu_seconds, value."""
    rows = table.query("split == @split and metric == @metric")[["model", "cpu_seconds", "value", "ci_low", "ci_high"]]
    cost = results.training.groupby("model")["cpu_seconds"].mean()
    ours = [
        (config.name, cost[config.name], found.value, found.low, found.high)
        for config in results.cnns
        if config.name in cost
        for found in [results.estimate(config.name, split, metric, "mean")]
    ]
    return pd.concat([rows, pd.DataFrame(ours, columns=rows.columns)], ignore_index=True)


def find_front(table: pd.DataFrame) -> pd.Series:
    """Which rows no other beats in both cpu_seconds (less) and value (more): bool, aligned with the table."""
    best = table.sort_values(["cpu_seconds", "value"], ascending=[True, False])
    before = best["value"].cummax().shift(fill_value=float("-inf"))
    return (best["value"] > before).reindex(table.index)


def describe(results: Results) -> dict[str, str]:
    """enough: the best small network and the cheapest nearly as good; growth: what drives the CPU time of a training.

    Both are chosen on the stress copy "shape" of validation, and reported on test.
    """
    table = results.table("pareto")
    chosen_on = table[(table["split"] == "validation_shape") & (table["metric"] == "balanced_accuracy")]
    best = chosen_on.loc[chosen_on["value"].idxmax()]
    cheapest = chosen_on[chosen_on["value"] >= best["value"] - 0.01].sort_values("cpu_seconds").iloc[0]
    test = table[(table["split"] == "test") & (table["metric"] == "accuracy")].set_index("model")
    first, second = (
        f"{row['image_size']} px, {row['epochs']} epochs, width {row['width']:g} (on test "
        f"{Estimate.of_row('accuracy', test.loc[row['model']]).full} accuracy; "
        f"{row['cpu_seconds'] / 60:.1f} CPU minutes)"
        for row in (best, cheapest)
    )
    return {
        "enough": f"Of {len(test)} small networks, one seed each, the best on the stress copy “shape” of validation "
        f"has {first}. The cheapest within one point of it there has {second}.",
        "growth": describe_growth(results, table),
    }


def describe_growth(results: Results, table: pd.DataFrame) -> str:
    """How the CPU time of a training grows with epochs, pixels and width; and a sweep on paper."""
    one = table.drop_duplicates("model").set_index(["width", "image_size", "epochs"])["cpu_seconds"]
    steps = (
        ("twice the epochs", (1.0, 96, 12), (1.0, 96, 24)),
        ("twice the side of the picture", (1.0, 64, 12), (1.0, 128, 12)),
        ("1.5 times the width", (1.0, 96, 12), (1.5, 96, 12)),
    )
    grown = [
        f"{one[more] / one[less]:.1f} times with {name}" for name, less, more in steps if {less, more} <= set(one.index)
    ]
    final = results.training.query("model == @results.final_model")["cpu_seconds"].mean()
    hours = SWEEP * final / 3600
    return (
        f"The CPU time of a training grows {', '.join(grown)}, and linearly with seeds and "
        f"radiographs. {SWEEP} trainings of the final network take {hours:.0f} core hours, shared by however many "
        f"cores `train --cluster` finds ({hours * CORE_HOUR:,.2f} at an example price of {CORE_HOUR:g} a core hour)."
    )


WIDTH_MARKERS = {0.5: "v", 1.0: "o", 1.5: "^"}


def draw_pareto(results: Results) -> Drawing:
    grid, final, colours = results.table("pareto"), results.final_model, model_colours(results.run)
    tables = {
        "validation": add_series(grid, results, "validation_shape", "balanced_accuracy"),
        "test": add_series(grid, results, "test", "accuracy"),
    }
    test = tables["test"]
    cheaper = "no" if find_front(test)[test["model"] == final].iloc[0] else "a"
    cost = test.set_index("model").loc[final]
    title = (
        f"{results.title(final)} takes {cost['cpu_seconds'] / 60:.0f} CPU minutes a training for "
        f"{percent(cost['value'])} test accuracy; {cheaper} cheaper network is as accurate"
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
        ax.set_title('stress copy "shape" of validation' if split == "validation" else "official test")
    axes[0].set_ylabel("balanced accuracy (%)")
    axes[1].set_ylabel("accuracy (%)")
    for width, marker in WIDTH_MARKERS.items():
        axes[2].plot([], [], marker, color=GRAY, markersize=7, label=f"small, width {width:g}")
    for name in test["model"][~test["model"].isin(grid["model"])]:
        axes[2].plot([], [], "D", color=colours[name], markersize=10, label=wrap(results.title(name), 1.7, 11))
    axes[2].axis("off")
    axes[2].legend(loc="center left", bbox_to_anchor=(-0.15, 0.5), borderaxespad=0, labelspacing=0.8)
    return figure


def plot_pareto(table: pd.DataFrame, grid: pd.DataFrame, colours: dict[str, str], ax: Axes | None = None) -> Axes:
    """Value in percent against CPU minutes; grid entries by width, the networks of the series in their colours."""
    ax = own_axes(ax)
    small = grid.drop_duplicates("model").set_index("model")
    for row in table.itertuples():
        is_small = row.model in small.index
        marker = WIDTH_MARKERS[small.loc[row.model, "width"]] if is_small else "D"
        shade = GRAY if is_small else colours[row.model]
        ax.plot(row.cpu_seconds / 60, 100 * row.value, marker, color=shade, markersize=7 if is_small else 10, zorder=3)
    front = table[find_front(table)].sort_values("cpu_seconds")
    ax.plot(front["cpu_seconds"] / 60, 100 * front["value"], color="black", linewidth=1.2, drawstyle="steps-post")
    ax.set_xscale("log")
    ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    return ax


STUDY = Study(
    compute_pareto,
    describe,
    figures={"pareto": Figure(draw_pareto, "Dots: accuracy against CPU minutes, with the front")},
    looks_at_test="pareto: small networks of several widths, sizes and epochs",
    networks=pareto_run,
    train=train_networks,
    depends_on=recipe_hash,
)
