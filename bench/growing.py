"""The recipe of the final model with small pictures first: how much faster, and what validation says of it.

Each network is trained to the end, one after the other, and scored on validation and its exchange twin; the test split
is not scored. Weights stay in the folder of the benchmark, for an interrupted one to go on with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pneumonia.catalog import hash_catalog, select_used
from pneumonia.config import ModelConfig, PneumoniaError, Run
from pneumonia.generators import load_pixels, predict_pixels
from pneumonia.metrics import roc_auc
from pneumonia.progress import Progress
from pneumonia.records import load_matching_record, load_trained
from pneumonia.training import train_one
from pneumonia.twins import build_twins

from .measure import summarise

BENCHMARK = "training to the end"
FULL, GROWING = "one size", "growing pictures"
SIDES = (64, 64, 64, 96)  # each for a fifth of the epochs, and the full size for the last one
SEEDS = (0, 1, 2)


def measure_growing(
    run: Run, catalog: pd.DataFrame, config: ModelConfig, folder: Path, say: Callable[[str], None], quick: bool = False
) -> pd.DataFrame:
    """Rows as `measure.compare` has them. Args: quick: one seed and few epochs, to see that it runs."""
    if max(SIDES) >= config.image_size:
        raise PneumoniaError(
            f"growing: {config.name} sees {config.image_size} px, no more than {max(SIDES)}; leave out"
        )
    seeds, ending = (SEEDS[:1], "_quick") if quick else (SEEDS, "")
    config = replace(config, epochs=5 if quick else config.epochs, calibrate=False)  # AUC is the same without
    variants = [replace(config, name=f"one_size{ending}"), replace(config, name=f"growing{ending}", growing=SIDES)]
    run, rows = replace(run, home=folder / "growing", models=tuple(variants), seeds=seeds), []
    progress = Progress([(variant, seed) for seed in seeds for variant in variants], say)
    for seed in seeds:
        for name, variant in zip((FULL, GROWING), variants, strict=True):
            record = load_matching_record(run, variant, seed, hash_catalog(catalog))
            record = record or train_one(run, catalog, variant, seed, progress)
            measured = describe(record) | score(run, catalog, variant, seed)
            rows += [(BENCHMARK, metric, seed, name, value) for metric, value in measured.items()]
    return summarise(pd.DataFrame(rows, columns=["benchmark", "metric", "run", "variant", "value"]))


def describe(record: dict) -> dict[str, float]:
    """Images per second of a whole training, and CPU seconds for a thousand of them."""
    seen = record["images_per_second"] * record["wall_seconds"]
    return {"throughput": record["images_per_second"], "cpu": 1000 * record["cpu_seconds"] / seen}


def score(run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int) -> dict[str, float]:
    """ROC AUC of one network on validation and on its exchange twin."""
    used, pixels = select_used(catalog), load_pixels(run, catalog, config.image_size)
    chosen, model = (used["split"] == "validation").to_numpy(), load_trained(run, config, seed)
    rows, exchanged = build_twins(pixels, used)["validation_exchange"]
    return {
        "ROC AUC, validation": roc_auc(used["label"][chosen], predict_pixels(model, pixels[chosen])),
        "ROC AUC, exchange twin": roc_auc(rows["label"], predict_pixels(model, exchanged)),
    }
