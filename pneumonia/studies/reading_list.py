"""On which test radiographs do the final model and the label disagree, and do the other networks disagree as well?

A list for readers of films: the prediction may be wrong, or the label.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..config import CLASS_NAMES
from ..evaluation.estimate import percent
from ..evaluation.metrics import HALF, apply_threshold, round_columns
from ..evaluation.scores import Scores
from ..results import Results
from ..series import MODEL_SERIES
from .study import Study, Table

COLUMNS = ["path", "patient_id", "label", "y_prob", "wrong_networks", "networks"]
BASELINES = {config.name for config in MODEL_SERIES if not config.is_cnn}


def list_wrong_calls(scores: Scores, final: str, draws: int = 0) -> pd.DataFrame:
    """The test radiographs that the ensemble of `final` predicts wrong at 0.5: a frame with COLUMNS.

    wrong_networks: by how many of all `networks`, each the ensemble of its seeds, it is predicted wrong. Those come
    first that most networks predict wrong, then those whose probability is farthest from the label.
    """
    test = scores.test(final)
    networks = [model for model in scores if model not in BASELINES]
    wrong = {model: find_wrong(scores, model) for model in networks}
    table = test.to_frame().assign(networks=len(networks), wrong_networks=np.sum(list(wrong.values()), axis=0))
    table = table.assign(distance=(table["y_prob"] - table["label"]).abs())[wrong[final]]
    order = table.sort_values(["wrong_networks", "distance", "path"], ascending=[False, False, True], ignore_index=True)
    return round_columns(order, ["y_prob"])[COLUMNS]


def find_wrong(scores: Scores, model: str) -> np.ndarray:
    """bool (n,): which test radiographs, in order of path, the ensemble of a model predicts wrong at 0.5."""
    test = scores.test(model)
    return apply_threshold(test.ensemble, HALF) != (test.y_true == 1)


def describe(results: Results) -> dict[str, str]:
    """n: how many are listed; of: of how many; networks: how many there are; by_all: how many all predict wrong."""
    table = results.table("reading_list")
    return {
        "n": str(len(table)),
        "of": str(len(results.scores.test(results.final_model).paths)),
        "networks": str(sum(model not in BASELINES for model in results.scores)),
        "by_all": str(int((table["wrong_networks"] == table["networks"]).sum())),
    }


def tabulate(results: Results) -> Table:
    """Every line of reading_list.csv."""
    rows = [
        [
            f"`{row.path}`",
            str(row.patient_id),
            CLASS_NAMES[row.label],
            percent(row.y_prob),
            f"{row.wrong_networks} of {row.networks}",
        ]
        for row in results.table("reading_list").itertuples()
    ]
    head = ["radiograph", "child", "label", "probability of PNEUMONIA", "networks that disagree with the label"]
    return Table(head, rows or [["none", *["–"] * (len(head) - 1)]])


STUDY = Study(list_wrong_calls, describe, tables={"reading_list": tabulate})
