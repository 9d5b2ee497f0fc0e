"""Facts and tables of the further measurements: operating points, referral, subgroups, attribution, ablation."""

from __future__ import annotations

from itertools import product

import pandas as pd

from ..evaluation.wording import NOTHING, Facts, format_interval, format_value, percent
from ..results import Results
from ..series import ABLATION
from ..studies.per_1000 import CHILDREN, EXAMPLES
from ..transforms.stress_copies import STRESS_COPIES

PREVALENCES = (0.05, 0.30)  # at which PPV and NPV are shown: a general clinic, a ward full of coughing children
SUBGROUP_TITLES = {
    "bacteria": ("bacterial pneumonia", "sensitivity"),
    "virus": ("viral pneumonia", "sensitivity"),
    "IM": ("normal, series IM", "specificity"),
    "NORMAL2-IM": ("normal, series NORMAL2", "specificity"),
}
CHANGES = ("validation", *STRESS_COPIES, "sharpness", "control", "border", "centre", "encoding_swap", "test")
CHANGE_METRICS = ("roc_auc", "accuracy", "sensitivity", "specificity", "logit_change_normal", "logit_sd")


def consequence_facts(results: Results) -> Facts:
    """point.<name>.<split>.<metric> with .interval, point.<name>.low and .high; subgroup.<model>.<split>.<name>.

    <name> of a point: screening, balanced, rule_in, conformal_90 ... Subgroups have .interval, .n and .patients.
    """
    facts: Facts = {}
    points = results.measured.get("operating_points", pd.DataFrame(columns=["point"]))
    for row in points.itertuples():
        name = point_key(row.point)
        facts |= {f"point.{name}.low": f"{row.low:.3f}", f"point.{name}.high": f"{row.high:.3f}"}
        metric = "accuracy" if row.metric == "referred" else row.metric  # written as a share, too
        facts[f"point.{name}.{row.split}.{row.metric}"] = format_value(metric, row.value)
        facts[f"point.{name}.{row.split}.{row.metric}.interval"] = format_interval(metric, row.ci_low, row.ci_high)
    for row in results.measured.get("subgroups", pd.DataFrame()).itertuples():
        key = f"subgroup.{row.model}.{row.split}.{row.subgroup.replace(' ', '')}"
        facts |= {key: percent(row.value), f"{key}.interval": format_interval("accuracy", row.ci_low, row.ci_high)}
        facts |= {f"{key}.n": f"{row.n:,}", f"{key}.patients": f"{row.patients:,}"}
    prices = [f"{name.replace('_', ' ')} {price:,.0f}" for name, price in EXAMPLES._asdict().items()]
    return facts | {"costs.prices": ", ".join(prices), "costs.read_all": f"{CHILDREN * EXAMPLES.radiologist_read:,.0f}"}


def change_facts(results: Results) -> Facts:
    """attribution.<network>.<change>.<metric>, ablation.<row>.<change>.<metric>: means over seeds.

    A dash where it was not measured: the encoding swap without its files, the ablation of simulated radiographs.
    """
    rows = [row.name.removeprefix("ablation_") for row in ABLATION]
    models = {"attribution": [config.name for config in results.run.models if config.is_cnn], "ablation": rows}
    keys = [f"{table}.{model}" for table, names in models.items() for model in names]
    facts = {".".join(key): NOTHING for key in product(keys, CHANGES, CHANGE_METRICS)}
    for name in models:
        if name not in results.measured:
            continue
        means = results.measured[name].groupby(["model", "change", "metric"])["value"].mean()
        for (model, change, metric), value in means.items():
            text = f"{value:+.3f}".replace("-", "−") if metric.startswith("logit") else format_value(metric, value)
            facts[f"{name}.{model.removeprefix('ablation_')}.{change}.{metric}"] = text
    return facts


def point_key(point: str) -> str:
    """ "rule-in" -> "rule_in", "conformal 90 %" -> "conformal_90"."""
    return point.removesuffix(" %").replace("-", "_").replace(" ", "_")


def with_interval(facts: Facts, key: str) -> str:
    """ "93.1 % (91.0 to 95.0)", or the value alone where there is no interval, or a dash where there is no value."""
    interval = facts.get(f"{key}.interval", NOTHING).removesuffix(" %")
    return facts.get(key, NOTHING) if interval == NOTHING else f"{facts[key]} ({interval})"
