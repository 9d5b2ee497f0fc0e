"""How many test radiographs would it take to distinguish 95 % from 96 % accuracy, by three designs, and how many films
would a silent pilot at another hospital need?
"""

from __future__ import annotations

from itertools import combinations
from math import ceil

import numpy as np
import pandas as pd
from scipy.stats import norm

from ..evaluation.estimate import Estimate, join_words, percent
from ..evaluation.metrics import DECIMALS, HALF, apply_threshold
from ..evaluation.scores import Scores, SplitScores
from ..evaluation.significance import SIGNIFICANCE, design_effect, paired_size, unpaired_size
from ..results import Results
from .per_1000 import DEFAULT_PREVALENCE, PREVALENCES, spell_prevalence
from .published_comparisons import find_right
from .study import Study

COLUMNS = ["design", "discordant", "design_effect", "accuracy_a", "accuracy_b", "n_radiographs", "n_test"]
ACCURACIES = (0.95, 0.96)  # the two that are to be distinguished
MARGIN = 0.03  # to which a pilot measures recall and specificity: half the width of their 95 % intervals


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


def describe(results: Results) -> dict:
    """images: the numbers of test radiographs that it would take; pilot: see `describe_pilot`."""
    table = results.table("power")
    a, b, n = (table[name].iloc[0] for name in ("accuracy_a", "accuracy_b", "n_test"))
    sizes = [f"{row.n_radiographs:,} ({_with_titles(results, row.design)})" for row in table.itertuples()]
    images = (
        f"To distinguish {percent(a, 0)} from {percent(b, 0)} would take {join_words(sizes)} test "
        f"radiographs, where there are {n:,}."
    )
    return {"images": images, "pilot": describe_pilot(results)}


def describe_pilot(results: Results) -> dict:
    """How many children a silent pilot needs, one film each, and below what it ends the matter.

    sensitivity, specificity: the lower ends of their intervals on test. The pilot is planned for them, since another
    hospital may well be harder, and what is clearly below them there is not what was measured here. shares: for each
    prevalence, .prevalence, .pneumonia, .normal and .films, in whole tens; `default` is one of them.
    """
    rates = [results.estimate(results.final_model, "test", name) for name in ("sensitivity", "specificity")]
    of_share = {share: size_pilot(*rates, share) for share in PREVALENCES}
    return {
        "margin": f"{100 * MARGIN:.0f} points",
        **{name: percent(rate.low) for name, rate in zip(("sensitivity", "specificity"), rates, strict=True)},
        "shares": list(of_share.values()),
        "default": of_share[DEFAULT_PREVALENCE],
    }


def size_pilot(sensitivity: Estimate, specificity: Estimate, prevalence: float) -> dict[str, str]:
    """Children of both classes, and all together, that measure both rates to MARGIN (Buderer 1996, Acad Emerg Med 3:
    895): enough of the rarer kind decides.
    """
    ill, normal = (
        norm.ppf(1 - SIGNIFICANCE / 2) ** 2 * r.low * (1 - r.low) / MARGIN**2 for r in (sensitivity, specificity)
    )
    films = 10 * ceil(max(ill / prevalence, normal / (1 - prevalence)) / 10)
    return {
        "prevalence": spell_prevalence(prevalence),
        "films": f"{films:,}",
        "pneumonia": f"{films * prevalence:,.0f}",
        "normal": f"{films * (1 - prevalence):,.0f}",
    }


def _with_titles(results: Results, text: str) -> str:
    """The names of models as people read them; longer names first, since some begin like others."""
    for config in sorted(results.run.models, key=lambda config: -len(config.name)):
        text = text.replace(config.name, config.title)
    return text


STUDY = Study(lambda scores, final, draws: compute_power(scores, final), describe)
