"""Made-up measurements for the figures: the same shape as the real tables, numbers that no training made."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.measure import summarise
from pneumonia.config import KINDS, Run
from pneumonia.evaluation.scores import Scores
from pneumonia.studies import STUDIES
from pneumonia.studies.bench import READERS
from pneumonia.studies.conditions import COLUMNS as CONDITION_COLUMNS
from pneumonia.studies.learning_curve import COLUMNS as CURVE_COLUMNS
from pneumonia.studies.learning_curve import power_law
from pneumonia.studies.masking import MASKS
from pneumonia.studies.pareto import COLUMNS as PARETO_COLUMNS
from pneumonia.studies.pareto import GRID, METRICS, WIDTHS
from pneumonia.studies.robustness import ALL, CLEAN, RESAMPLING
from pneumonia.studies.three_class import COLUMNS as THREE_COLUMNS
from pneumonia.transforms.corruptions import CORRUPTIONS, SEVERITIES

LAW = (0.02, 0.2, 0.6)


def make_measured(run: Run, scores: Scores, final: str) -> dict[str, pd.DataFrame]:
    """Tables of studies: those that follow from predictions, and made-up ones."""
    following = [question for question in STUDIES.values() if question.made_by == "report"]
    return {question.name: question.load().compute(scores, final, 20) for question in following} | {
        "robustness": make_robustness(run),
        "masking": make_masking(run),
        "learning_curve": make_learning_curve(),
        "pareto": make_pareto(),
        "three_class": make_three_class(),
        "bench": make_bench(),
    }


def looking(run: Run) -> list[str]:
    return [config.name for config in run.models if config.name not in ("majority", "metadata_logistic")]


def make_robustness(run: Run) -> pd.DataFrame:
    rows = []
    for number, model in enumerate(looking(run)):
        clean = 0.75 + 0.03 * number
        shown = [(CLEAN, 0, clean), (ALL, 0, clean - 0.05), *((f"resampled {name}", 0, clean) for name in RESAMPLING)]
        shown += [
            (name, severity, clean - 0.002 * severity * place)
            for place, name in enumerate(CORRUPTIONS)
            for severity in SEVERITIES
        ]
        for condition, severity, value in shown:
            for metric, moved in (("accuracy", 0.0), ("sensitivity", 0.05), ("specificity", -0.05)):
                told = value + moved, value + moved - 0.02, value + moved + 0.02
                rows.append((model, "test", condition, severity, metric, *told, 624, 3))
        rows.append((model, "test", ALL, 0, "corruption_error", 1 - 0.1 * number, 0.1, 1.2, 624, 3))
    return pd.DataFrame(rows, columns=CONDITION_COLUMNS)


def make_masking(run: Run) -> pd.DataFrame:
    rows = [
        (model, split, name, 0, metric, 0.95 - 0.04 * place - 0.01 * number, 0.5, 1.0, 624, 3)
        for number, model in enumerate(looking(run))
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
        told = (f"{builder} {pixels} {epochs}", WIDTHS[builder], pixels, epochs, 9000, cost, 1)
        for split in ("validation", "validation_exchange", "test"):
            rows += [(*told, split, metric, value, value - 0.02, value + 0.02) for metric in METRICS]
    return pd.DataFrame(rows, columns=PARETO_COLUMNS)


def make_three_class() -> pd.DataFrame:
    values = {"accuracy": 0.91, "sensitivity": 0.95, "specificity": 0.84, "roc_auc": 0.97}
    three = values | {"accuracy of three": 0.75, "bacteria or virus": 0.78}
    three |= {f"{true} as {called}": 0.8 if true == called else 0.1 for true in KINDS for called in KINDS}
    rows = [
        (model, split, metric, value, value - 0.03, value + 0.03, 624, 3)
        for split in ("validation", "test")
        for model, told in (("two_class", values), ("three_class", three))
        for metric, value in told.items()
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
