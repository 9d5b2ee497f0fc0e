"""Which number, known without the test split, orders networks as the test split does?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..evaluation.evaluate import measure_agreement
from ..evaluation.metrics import DECIMALS, roc_auc, size_adjusted_auc
from ..evaluation.scores import Scores
from ..results import Results
from .study import Study, Table

COLUMNS = ["criterion", "with", "rank_correlation", "networks"]
CRITERIA = {
    "validation": "ROC AUC on validation",
    "worst": "lowest ROC AUC over validation and its stress copies",
    "mean": "mean ROC AUC over them",
    "adjusted_worst": "lowest size-adjusted ROC AUC over them",
    "agreement": "mean correlation of the logits on validation and on its stress copies",
}


def compute_criteria(scores: Scores, final: str, draws: int) -> pd.DataFrame:
    """Spearman's rank correlation of each criterion with the test split, over single networks: a frame with COLUMNS.

    Models that do not see the pixels have no stress copies and are left out.
    """
    rows = [judge(scores, model, seed) for model in scores for seed in list_seeds(scores, model)]
    table = pd.DataFrame([row for row in rows if row])
    return pd.DataFrame(
        [
            (name, with_, round(float(spearmanr(table[name], table[with_]).statistic), DECIMALS), len(table))
            for name in CRITERIA
            for with_ in ("roc_auc", "size_adjusted_auc")
        ],
        columns=COLUMNS,
    )


def list_seeds(scores: Scores, model: str) -> list[str]:
    return [seed for seed in scores.test(model).y_prob if seed != "ensemble"]


def judge(scores: Scores, model: str, seed: str) -> dict[str, float]:
    """Every criterion of one network, and what it reaches on test; empty without stress copies."""
    splits, test = scores[model], scores.test(model)
    copies = [splits[name] for name in scores.stress_copies if name in splits]
    if not copies or np.ptp(splits["validation"].y_prob[seed]) == 0:
        return {}
    parts = [splits["validation"], *copies]
    ranked = [roc_auc(part.y_true, part.y_prob[seed]) for part in parts]
    adjusted = [size_adjusted_auc(part.y_true, part.y_prob[seed], part.pixels) for part in parts]
    return {
        "validation": ranked[0],
        "worst": min(ranked),
        "mean": float(np.mean(ranked)),
        "adjusted_worst": min(adjusted),
        "agreement": measure_agreement([part.y_prob[seed] for part in parts]),
        "roc_auc": roc_auc(test.y_true, test.y_prob[seed]),
        "size_adjusted_auc": size_adjusted_auc(test.y_true, test.y_prob[seed], test.pixels),
    }


def tabulate(results: Results) -> Table:
    table = results.table("criteria").pivot(index="criterion", columns="with", values="rank_correlation")
    rows = [
        [text, f"{table.loc[name, 'roc_auc']:+.2f}", f"{table.loc[name, 'size_adjusted_auc']:+.2f}"]
        for name, text in CRITERIA.items()
    ]
    return Table(["criterion", "ROC AUC on test", "size-adjusted ROC AUC on test"], rows)


def describe(results: Results) -> dict[str, str]:
    """networks: how many; <criterion>: rank correlation with ROC AUC on test."""
    table = results.table("criteria")
    found = table[table["with"] == "roc_auc"].set_index("criterion")["rank_correlation"]
    return {"networks": str(table["networks"].iloc[0])} | {name: f"{value:+.2f}" for name, value in found.items()}


STUDY = Study(compute_criteria, describe, tables={"criteria": tabulate})
