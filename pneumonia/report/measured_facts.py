"""The sentences of the studies under the names that the texts in slides/ still use."""

from __future__ import annotations

from ..evaluation.wording import Facts
from ..results import Results
from ..studies.study import STUDIES

SENTENCES = {  # name in the texts -> study, key
    "robustness.worst": ("robustness", "worst"),
    "robustness.error": ("robustness", "error"),
    "robustness.resampling": ("robustness", "resampling"),
    "masking.lungs": ("masking", "lungs"),
    "masking.outside": ("masking", "outside"),
    "published.real": ("published_comparisons", "real"),
    "power.images": ("power", "images"),
    "decision.range": ("decision_curve", "range"),
    "more_data.next": ("learning_curve", "next"),
    "pareto.enough": ("pareto", "enough"),
    "three_class.kinds": ("three_class", "kinds"),
    "heatmaps.believed": ("heatmap_checks", "believed"),
    "reading.agreement": ("predict_bench", "agreement"),
    "cost.archive": ("predict_bench", "archive"),
    "cost.growth": ("pareto", "growth"),
    "cost.goal": ("bench", "goal"),
    "cost.backends": ("bench", "backends"),
}


def measured_facts(results: Results) -> Facts:
    return {f"{name}.sentence": STUDIES[study].describe(results)[key] for name, (study, key) in SENTENCES.items()}
