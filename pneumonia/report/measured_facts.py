"""Sentences about the slower measurements and what follows from them, for notebook, README and slides alike.

Every key is always there: what was not measured in this run says so, so that a page can be written without it.
"""

from __future__ import annotations

from ..results import Results
from ..studies.commands import command_for
from ..studies.decision import describe_decision
from ..studies.heatmap_checks import tell_heatmaps
from ..studies.learning_curve import describe_learning_curve
from ..studies.masking import describe_masking
from ..studies.pareto import describe_pareto, tell_growth
from ..studies.published import describe_power, describe_published
from ..studies.robustness import describe_robustness
from ..studies.speed import tell_agreement, tell_archive, tell_backends, tell_goal
from ..studies.three_class import describe_three_class
from .wording import Facts

SENTENCES = {  # key -> table
    "robustness.worst": "robustness",
    "robustness.error": "robustness",
    "robustness.resampling": "robustness",
    "masking.lungs": "masking",
    "masking.outside": "masking",
    "published.real": "published_comparisons",
    "power.images": "power",
    "decision.range": "decision_curve",
    "more_data.next": "learning_curve",
    "pareto.enough": "pareto",
    "three_class.kinds": "three_class",
    "heatmaps.believed": "heatmap_checks",
    "reading.agreement": "predict_bench",
    "cost.archive": "predict_bench",
    "cost.growth": "pareto",
    "cost.goal": "bench",
    "cost.backends": "bench",
}


def measured_facts(results: Results) -> Facts:
    """<key of SENTENCES>.sentence -> prose, from the tables alone; "Not measured in this run ..." without its table."""
    builders = (
        ("robustness", describe_robustness),
        ("masking", describe_masking),
        ("published_comparisons", describe_published),
        ("power", describe_power),
        ("decision_curve", describe_decision),
        ("learning_curve", describe_learning_curve),
        ("pareto", describe_pareto),
        ("pareto", tell_growth),
        ("three_class", describe_three_class),
        ("heatmap_checks", tell_heatmaps),
        ("predict_bench", tell_agreement),
        ("predict_bench", tell_archive),
        ("bench", tell_goal),
        ("bench", tell_backends),
    )
    facts = {
        f"{key}.sentence": f"Not measured in this run (`{command_for(table)}`)." for key, table in SENTENCES.items()
    }
    for table, build in builders:
        if table in results.measured:
            facts |= {f"{key}.sentence": text for key, text in build(results, results.table(table)).items()}
    return facts
