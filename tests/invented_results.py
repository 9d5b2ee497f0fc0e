"""Results that no training produced: files of a whole run, tables of the studies, and scores."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from bench.measure import summarise
from pneumonia.config import KINDS, Run
from pneumonia.evaluation.scores import Scores
from pneumonia.pipeline import make_metrics
from pneumonia.results import Results, write_run_record, write_table
from pneumonia.series import ABLATION, real_run, simulated_run
from pneumonia.studies import STUDIES, load_results
from pneumonia.studies.ablation import COLUMNS as ABLATION_COLUMNS
from pneumonia.studies.ablation import METRICS as ABLATION_METRICS
from pneumonia.studies.bench import READERS
from pneumonia.studies.conditions import COLUMNS as CONDITION_COLUMNS
from pneumonia.studies.learning_curve import COLUMNS as CURVE_COLUMNS
from pneumonia.studies.learning_curve import power_law
from pneumonia.studies.masking import MASKS
from pneumonia.studies.noise_control import COLUMNS as NOISE_COLUMNS
from pneumonia.studies.noise_control import NETWORK, SPECTRUM, list_recipes
from pneumonia.studies.pareto import COLUMNS as PARETO_COLUMNS
from pneumonia.studies.pareto import GRID, METRICS, WIDTHS
from pneumonia.studies.robustness import ALL, CLEAN, COPIES, RESAMPLING
from pneumonia.studies.three_class import COLUMNS as THREE_COLUMNS
from pneumonia.transforms.corruptions import CORRUPTIONS, SEVERITIES
from pneumonia.transforms.stress_copies import STRESS_COPIES

SKILL = {"majority": 0.0, "metadata_logistic": 0.3, "thumbnail_logistic": 1.2, "basic_cnn": 1.6}  # others: 2.2
TRAINING_COLUMNS = ["model", "seed", "parameters", "epochs", "wall_seconds", "cpu_seconds"]
TRAINING_COLUMNS += ["images_per_second", "device"]
STRESSES = tuple(STRESS_COPIES)
LAW = (0.02, 0.2, 0.6)  # of the invented learning curve: floor, scale, exponent


def make_results(
    home: Path, simulated: bool = False, penalty: float = 1.0, catalog: pd.DataFrame | None = None
) -> Results:
    """Write result files of invented scores to `home`; `penalty` raises the scores of NORMAL test radiographs."""
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
    write_run_record(run, catalog, records, {}, "a machine")
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
    """Scores that distinguish the classes as well as SKILL says, and worse on test; the seeds err much alike."""
    stress = [used[used["split"] == "validation"].assign(split=f"validation_{name}") for name in STRESSES]
    rows = pd.concat([used, *(stress if model != "metadata_logistic" else [])])
    logit = SKILL.get(model, 2.2) * (2 * rows["label"] - 1) + 0.4
    if SKILL.get(model, 2.2):
        shared = np.random.default_rng(len(model)).normal(size=len(rows))  # or their mean would make no mistakes
        noise = 0.9 * shared + 0.44 * rng.normal(size=len(rows))
        logit += noise + penalty * ((rows["split"] == "test") & (rows["label"] == 0))
    rows = rows.assign(model=model, seed=seed, y_prob=(1 / (1 + np.exp(-logit))).round(6))
    return rows[["path", "patient_id", "split", "label", "model", "seed", "y_prob"]]


def with_row(results: Results, model: str, split: str, metric: str, **changes) -> Results:
    """The results with one row of metrics.csv changed: that of the ensemble, of a single seed that of the mean."""
    metrics = results.metrics.copy()
    rows = metrics.query("model == @model and split == @split and metric == @metric")
    headline = "ensemble" if (rows["seed"] == "ensemble").any() else "mean"
    found = rows.index[rows["seed"] == headline]
    assert len(found) == 1
    metrics.loc[found, list(changes)] = list(changes.values())
    return replace(results, metrics=metrics)


def make_scores() -> Scores:
    """Two models of two seeds on 624 test radiographs, two of each child and much alike; "net" is the better one."""
    rng, frames = np.random.default_rng(1), []
    labels = np.repeat([0, 1], [234, 390])
    for model, skill in (("before", 0.6), ("net", 0.9)):
        for seed in (0, 1):
            noise = 0.9 * np.repeat(rng.normal(size=312), 2) + 0.44 * rng.normal(size=624)  # mostly the child's
            y_prob = 1 / (1 + np.exp(-(noise + skill * (2 * labels - 1))))
            columns = {"path": np.arange(624).astype(str), "patient_id": np.arange(624) // 2, "label": labels}
            frames.append(pd.DataFrame(columns).assign(split="test", model=model, seed=seed, y_prob=y_prob))
    return Scores.parse(pd.concat(frames, ignore_index=True))


def make_measured(run: Run, scores: Scores, final: str) -> dict[str, pd.DataFrame]:
    """The table of every study: computed where `scores` are enough, else invented."""
    from_scores = [question for question in STUDIES.values() if question.made_by == "report"]
    return {question.name: question.load().compute(scores, final, 20) for question in from_scores} | {
        "robustness": make_robustness(run),
        "masking": make_masking(run),
        "learning_curve": make_learning_curve(),
        "pareto": make_pareto(),
        "three_class": make_three_class(),
        "bench": make_bench(),
        "ablation": make_ablation(),
        "noise_control": make_noise_control(),
    }


def image_models(run: Run) -> list[str]:
    return [config.name for config in run.models if config.name not in ("majority", "metadata_logistic")]


def make_robustness(run: Run) -> pd.DataFrame:
    rows = []
    for number, model in enumerate(image_models(run)):
        clean = 0.75 + 0.03 * number
        values = [(CLEAN, 0, clean), (ALL, 0, clean - 0.05), *((f"resampled {name}", 0, clean) for name in RESAMPLING)]
        values += [(f"copy of {side} px", 0, clean - 1 / side) for side in COPIES]
        values += [
            (name, severity, clean - 0.002 * severity * place)
            for place, name in enumerate(CORRUPTIONS)
            for severity in SEVERITIES
        ]
        for condition, severity, value in values:
            for metric, shift in (("accuracy", 0.0), ("sensitivity", 0.05), ("specificity", -0.05)):
                estimate = value + shift, value + shift - 0.02, value + shift + 0.02
                rows.append((model, "test", condition, severity, metric, *estimate, 624, 3))
        rows.append((model, "test", ALL, 0, "corruption_error", 1 - 0.1 * number, 0.1, 1.2, 624, 3))
    return pd.DataFrame(rows, columns=CONDITION_COLUMNS)


def make_masking(run: Run) -> pd.DataFrame:
    rows = [
        (model, split, name, 0, metric, 0.95 - 0.04 * place - 0.01 * number, 0.5, 1.0, 624, 3)
        for number, model in enumerate(image_models(run))
        for split in ("validation", "test")
        for place, name in enumerate(MASKS)
        for metric in ("accuracy", "roc_auc")
    ]
    return pd.DataFrame(rows, columns=CONDITION_COLUMNS)


def make_learning_curve() -> pd.DataFrame:
    rng, rows = np.random.default_rng(3), []
    for fraction in (0.05, 0.1, 0.25, 0.5, 1.0):
        for split in ("validation", "test"):
            seeds = 1 - power_law(3000 * fraction, *LAW) + rng.normal(0, 0.002, 3)
            for seed, value in (("0", seeds[0]), ("1", seeds[1]), ("2", seeds[2]), ("mean", seeds.mean())):
                rows.append((fraction, 3000 * fraction, 4400 * fraction, seed, split, "accuracy", value, 0.8, 1.0, 624))
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def make_pareto() -> pd.DataFrame:
    rows = []
    for builder, pixels, epochs in GRID:
        cost = WIDTHS[builder] ** 2 * (pixels / 96) ** 2 * epochs * 10
        value = 1 - 0.3 * (1 + cost) ** -0.3
        network = (f"{builder} {pixels} {epochs}", WIDTHS[builder], pixels, epochs, 9000, cost, 1)
        for split in ("validation", "validation_shape", "test"):
            rows += [(*network, split, metric, value, value - 0.02, value + 0.02) for metric in METRICS]
    return pd.DataFrame(rows, columns=PARETO_COLUMNS)


def make_three_class() -> pd.DataFrame:
    values = {"accuracy": 0.91, "sensitivity": 0.95, "specificity": 0.84, "roc_auc": 0.97}
    three = values | {"accuracy of three": 0.75, "bacteria or virus": 0.78}
    three |= {f"{true} as {called}": 0.8 if true == called else 0.1 for true in KINDS for called in KINDS}
    rows = [
        (model, split, metric, value, value - 0.03, value + 0.03, 624, 3)
        for split in ("validation", "test")
        for model, metrics in (("two_class", values), ("three_class", three))
        for metric, value in metrics.items()
    ]
    return pd.DataFrame(rows, columns=THREE_COLUMNS)


def make_bench() -> pd.DataFrame:
    """Two runs of every reader and of two backends."""
    rows = []
    for place, name in enumerate(("files, first pass", "files, later passes", "files, later passes, augmented")):
        for number, reader in enumerate(READERS):
            rows += [(name, "throughput", run, reader, 100.0 + 40 * run + 300 * place * number) for run in (0, 1)]
    for number, backend in enumerate(("tensorflow", "jax")):
        for metric, value in (("throughput", 300 - 50 * number), ("share of peak", 60 - 10 * number)):
            rows += [("training", metric, run, backend, value + run) for run in (0, 1)]
    return summarise(pd.DataFrame(rows, columns=["benchmark", "metric", "run", "variant", "value"]))


def make_ablation() -> pd.DataFrame:
    """Every recipe, two seeds, METRICS on validation, its stress copies and test."""
    rng, splits = np.random.default_rng(3), ("validation", *(f"validation_{name}" for name in STRESSES), "test")
    keys = product([config.name for config in ABLATION], (0, 1), splits, ABLATION_METRICS)
    return pd.DataFrame([(*key, round(rng.uniform(0.6, 1), 6), 10) for key in keys], columns=ABLATION_COLUMNS)


def make_noise_control() -> pd.DataFrame:
    """Recipes on either side of the limit."""
    rows = [
        (config.name, reader, 0.45 + 0.03 * i, 0.4 + 0.03 * i, 0.5 + 0.03 * i, 100)
        for i, config in enumerate(list_recipes())
        for reader in (NETWORK, SPECTRUM)
    ]
    return pd.DataFrame(rows, columns=NOISE_COLUMNS)
