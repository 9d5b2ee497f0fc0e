"""Result files of invented scores, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pneumonia.pipeline import make_metrics
from pneumonia.results import Results, load_results, write_run_record, write_table
from pneumonia.series import real_run, simulated_run
from pneumonia.transforms.stress_copies import STRESS_COPIES

SKILL = {"majority": 0.0, "metadata_logistic": 0.3, "thumbnail_logistic": 1.2, "basic_cnn": 1.6}  # others: 2.2
TRAINING_COLUMNS = ["model", "seed", "parameters", "epochs", "wall_seconds", "cpu_seconds"]
TRAINING_COLUMNS += ["images_per_second", "device"]
STRESSES = tuple(STRESS_COPIES)


def make_results(
    home: Path, simulated: bool = False, penalty: float = 1.0, catalog: pd.DataFrame | None = None
) -> Results:
    """Result files of invented scores in `home`; `penalty` shifts the NORMAL test radiographs towards PNEUMONIA."""
    run = replace(simulated_run(None) if simulated else real_run(None), home=home, bootstrap_draws=40)
    catalog = make_catalog() if catalog is None else catalog
    used = catalog[catalog["excluded_reason"] == ""]
    frames, trainings, epochs = [], [], []
    for config in run.models:
        for seed in run.seeds_of(config):
            rng = np.random.default_rng([seed, len(config.name)])
            frames.append(make_predictions(used, config.name, seed, penalty, rng))
            trainings.append((config.name, seed, 257_153, config.epochs, 600.0, 1100.0, 320.0, "invented"))
            epochs += [(config.name, seed, epoch + 1, 0.4, 0.8, 0.5, 0.8, 0.9, 0.001) for epoch in range(config.epochs)]
    write_table(run, "catalog", catalog)
    write_table(run, "predictions", pd.concat(frames))
    write_table(run, "training", pd.DataFrame(trainings, columns=TRAINING_COLUMNS))
    columns = "model seed epoch loss accuracy val_loss val_accuracy val_roc_auc learning_rate"
    write_table(run, "history", pd.DataFrame(epochs, columns=columns.split()))
    looks = [
        ("2026-01-01T00:00+00:00", "probe", "a1", "feasibility probe before the project"),
        ("", "all", "b2", "test"),
    ]
    write_table(run, "test_looks", pd.DataFrame(looks, columns=["when", "models", "weights_hash", "why"]))
    records = [dict(zip(TRAINING_COLUMNS, row, strict=True)) | {"weights_hash": ""} for row in trainings]
    write_run_record(run, catalog, records, "a machine")
    make_metrics(run)
    return load_results(run)


def make_catalog() -> pd.DataFrame:
    """24 radiographs of each kind in train and validation, 12 in test, 2 in the official val, and three left out."""
    rows = []
    for split, folder, count in (("train_fit", "train", 24), ("validation", "train", 22), ("validation", "val", 2)):
        rows += [(split, folder, kind, number) for kind in ("NORMAL", "bacteria", "virus") for number in range(count)]
    rows += [("test", "test", kind, number) for kind in ("NORMAL", "bacteria", "virus") for number in range(12)]
    frame = pd.DataFrame(rows, columns=["split", "folder", "kind", "number"])
    frame["class_name"] = np.where(frame["kind"] == "NORMAL", "NORMAL", "PNEUMONIA")
    frame["label"] = (frame["class_name"] == "PNEUMONIA").astype(int)
    names = frame["kind"] + "-" + frame["split"] + frame["number"].astype(str)
    frame["path"] = frame["folder"] + "/" + frame["class_name"] + "/" + names + ".jpeg"
    frame["patient_id"], frame["sha256"], frame["mode"] = names, names, "L"
    frame = frame.assign(width=224, height=224, jpeg_quality=95.0, duplicate_of="", excluded_reason="")
    frame["bytes"] = 9000 + np.arange(len(frame))
    copies = frame.head(3).assign(path="train/NORMAL/copy" + frame["number"].head(3).astype(str) + ".jpeg")
    copies["duplicate_of"] = [frame["path"][0], frame["path"][1], ""]
    copies["excluded_reason"] = ["duplicate of " + frame["path"][0], "duplicate of " + frame["path"][1], "empty file"]
    return pd.concat([frame.drop(columns=["folder", "number"]), copies.drop(columns=["folder", "number"])])


def make_predictions(
    used: pd.DataFrame, model: str, seed: int, penalty: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Scores that distinguish the classes as well as SKILL says, and worse on test."""
    stress = [used[used["split"] == "validation"].assign(split=f"validation_{name}") for name in STRESSES]
    rows = pd.concat([used, *(stress if model != "metadata_logistic" else [])])
    logit = SKILL.get(model, 2.2) * (2 * rows["label"] - 1) + 0.4
    if SKILL.get(model, 2.2):
        logit += rng.normal(0, 1, len(rows)) + penalty * ((rows["split"] == "test") & (rows["label"] == 0))
    rows = rows.assign(model=model, seed=seed, y_prob=(1 / (1 + np.exp(-logit))).round(6))
    return rows[["path", "patient_id", "split", "label", "model", "seed", "y_prob"]]


def with_row(results: Results, model: str, split: str, metric: str, **changes) -> Results:
    """The results with one mean in metrics.csv changed."""
    metrics = results.metrics.copy()
    found = metrics.query("model == @model and split == @split and metric == @metric and seed == 'mean'").index
    assert len(found) == 1
    metrics.loc[found, list(changes)] = list(changes.values())
    return replace(results, metrics=metrics)
