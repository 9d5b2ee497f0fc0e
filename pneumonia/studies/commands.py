"""Which command makes a table that is not there yet."""

from __future__ import annotations

STEPS = {
    "attribution": "attribute",
    "ablation": "ablation",
    "robustness": "robustness",
    "masking": "masking",
    "learning_curve": "learning-curve",
    "pareto": "pareto",
    "three_class": "three-class",
    "outliers": "export",
    "heatmap_checks": "export",
}
OUTSIDE = {"bench": "python -m bench", "predict_bench": "python bench/predict.py"}  # speed is measured from outside


def command_for(table: str) -> str:
    """What follows from predictions alone is made by `report`."""
    return OUTSIDE.get(table) or f"python -m pneumonia {STEPS.get(table, 'report')}"
