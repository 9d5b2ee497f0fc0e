"""Would more compute help? Width, resolution and epochs of the small recipe: accuracy against CPU seconds.

Weights stay in build/pareto; what is measured goes into results/pareto.csv. A killed training goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from .config import ABLATION, ROOT, ModelConfig, Run
from .evaluation import compute_metrics
from .learning_curve import BASE
from .prediction import predict_all
from .results import Results
from .training import say_now, train_all

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


def pareto_run(base: Run, config: ModelConfig | None = None, grid: tuple = GRID) -> Run:
    """One model for each entry of the grid."""
    config = config or next(row for row in ABLATION if row.name == BASE)
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
    home = ROOT / "build" / "pareto" if base.name == "real" else base.home / "pareto"
    return replace(base, name="pareto", home=home, models=models, seeds=SEEDS)


def compute_pareto(run: Run, catalog: pd.DataFrame, say: Callable[[str], None] = say_now) -> pd.DataFrame:
    """Train what is missing and score it on validation, twins and test: a frame with COLUMNS, mean over seeds.

    cpu_seconds are those of one training. Scores test: the caller records the look.
    """
    records = pd.DataFrame(train_all(run, catalog, say=say))
    cost = records.groupby("model")[["parameters", "cpu_seconds"]].mean()
    metrics = compute_metrics(predict_all(run, catalog), run.bootstrap_draws).query("seed == 'mean'")
    metrics = metrics[metrics["metric"].isin(METRICS)].join(cost, on="model")
    told = pd.DataFrame(
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
    table = metrics.join(told, on="model")
    return table.astype(dict.fromkeys([*whole, "parameters"], int))[COLUMNS].reset_index(drop=True)


def add_series(table: pd.DataFrame, results: Results, split: str, metric: str) -> pd.DataFrame:
    """One split and metric of the grid, and the networks of the series beside it: model, title, cpu_seconds, value."""
    rows = table.query("split == @split and metric == @metric")[["model", "cpu_seconds", "value", "ci_low", "ci_high"]]
    cost = results.training.groupby("model")["cpu_seconds"].mean()
    ours = [
        {"model": config.name, "cpu_seconds": cost[config.name]}
        | results.value(config.name, split, metric)[["value", "ci_low", "ci_high"]].to_dict()
        for config in results.run.models
        if config.is_cnn and config.name in cost
    ]
    return pd.concat([rows, pd.DataFrame(ours)], ignore_index=True)


def find_front(table: pd.DataFrame) -> pd.Series:
    """Which rows no other beats in both cpu_seconds (less) and value (more): bool, aligned with the table."""
    best = table.sort_values(["cpu_seconds", "value"], ascending=[True, False])
    before = best["value"].cummax().shift(fill_value=float("-inf"))
    return (best["value"] > before).reindex(table.index)
