"""The cures one at a time: train every row of config.ABLATION, and measure it as the networks of the series are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .attribution import COLUMNS, attribute
from .catalog import hash_catalog, select_used
from .config import Run, ablation_run
from .generators import load_pixels, predict_pixels
from .metrics import roc_auc, threshold_metrics
from .records import load_trained
from .results import hash_ablation, record_test_look, write_measured
from .training import say_now, train_all

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
    used, rows = select_used(catalog), []
    chosen = (used["split"] == "test").to_numpy()
    labels = used["label"].to_numpy()[chosen]
    for config in run.models:
        images = load_pixels(run, catalog, config.image_size)[chosen]
        for seed in run.seeds_of(config):
            y_prob = predict_pixels(load_trained(run, config, seed), images)
            values = threshold_metrics(labels, y_prob) | {"roc_auc": roc_auc(labels, y_prob)}
            for metric in ("accuracy", "sensitivity", "specificity", "roc_auc"):
                rows.append((config.name, seed, "test", metric, values[metric], len(labels)))
    return pd.DataFrame(rows, columns=COLUMNS).round({"value": 6})
