"""How many test radiographs would it take to distinguish 95 % from 96 % accuracy? By three designs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from ..evaluation.estimate import join_words, percent
from ..evaluation.metrics import DECIMALS, HALF, apply_threshold
from ..evaluation.scores import Scores, SplitScores
from ..evaluation.significance import design_effect, paired_size, unpaired_size
from ..results import Results
from .published_comparisons import find_right
from .study import Study

COLUMNS = ["design", "discordant", "design_effect", "accuracy_a", "accuracy_b", "n_radiographs", "n_test"]
ACCURACIES = (0.95, 0.96)  # the two that are to be distinguished


def compute_power(scores: Scores, model: str) -> pd.DataFrame:
    """How many test radiographs would distinguish the ACCURACIES: a frame with COLUMNS.

    Paired (McNemar, formula of Connor 1987): with the share of discordant predictions seen between two trainings of
    `model`, and between it and the network before it. Unpaired: two test sets, or two publications without predictions.
    All are multiplied by the design effect: radiographs of one child carry less information than as many children.
    """
    a, b = ACCURACIES
    test = scores.test(model)
    effect = design_effect(find_right(test), test.patient_ids)
    discordant = {"paired, two trainings of the final model": discordance_of_seeds(test)}
    if model != scores.models[0]:
        before = scores.models[scores.models.index(model) - 1]
        discordant[f"paired, final model and {before}"] = _discordance(test.ensemble, scores.test(before).ensemble)
    rows = []
    for design, share in discordant.items():
        share = max(share, b - a)  # there cannot be fewer discordant predictions than the difference
        rows.append((design, share, effect, a, b, int(np.ceil(effect * paired_size(share, b - a))), len(test.y_true)))
    rows.append(("unpaired", np.nan, effect, a, b, int(np.ceil(effect * unpaired_size(a, b))), len(test.y_true)))
    return pd.DataFrame(rows, columns=COLUMNS).round(DECIMALS)


def discordance_of_seeds(scores: SplitScores) -> float:
    """Share of radiographs that two trainings predict differently, mean over pairs; 0 for a single training."""
    shares = [_discordance(one, other) for one, other in combinations(scores.seeds, 2)]
    return float(np.mean(shares)) if shares else 0.0


def _discordance(one: np.ndarray, other: np.ndarray) -> float:
    return float((apply_threshold(one, HALF) != apply_threshold(other, HALF)).mean())


def describe(results: Results) -> dict[str, str]:
    """images: the numbers of test radiographs that it would take."""
    table = results.table("power")
    a, b, n = (table[name].iloc[0] for name in ("accuracy_a", "accuracy_b", "n_test"))
    sizes = [f"{row.n_radiographs:,} ({_with_titles(results, row.design)})" for row in table.itertuples()]
    return {
        "images": f"To distinguish {percent(a, 0)} from {percent(b, 0)} would take {join_words(sizes)} test "
        f"radiographs, where there are {n:,}."
    }


def _with_titles(results: Results, text: str) -> str:
    """The names of models as people read them; longer names first, since some begin like others."""
    for config in sorted(results.run.models, key=lambda config: -len(config.name)):
        text = text.replace(config.name, config.title)
    return text


STUDY = Study(lambda scores, final, draws: compute_power(scores, final), describe)
