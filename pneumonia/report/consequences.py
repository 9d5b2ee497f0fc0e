"""Facts and tables of the further measurements: operating points, referral, subgroups, attribution, ablation."""

from __future__ import annotations

from itertools import product

import pandas as pd

from ..evaluation.probability import predictive_values
from ..evaluation.wording import NOTHING, Facts, Table, format_interval, format_value, percent
from ..results import Results
from ..series import ABLATION
from ..studies.decision import CHILDREN, EXAMPLES, price_operating_points
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


def tabulate_operating(results: Results, facts: Facts) -> Table:
    """The three operating points on test, and what a call would be worth where other shares are ill."""
    table, rows = results.table("operating_points").query("split == 'test'"), []
    for point in ("screening", "balanced", "rule-in"):
        key = f"point.{point_key(point)}"
        row = [point, facts[f"{key}.low"]]
        row += [with_interval(facts, f"{key}.test.{metric}") for metric in ("sensitivity", "specificity", "accuracy")]
        values = table[table["point"] == point].set_index("metric")["value"]
        for prevalence in PREVALENCES:
            ppv, npv = predictive_values(values["sensitivity"], values["specificity"], prevalence)
            row.append(f"{percent(ppv)} / {percent(npv)}")
        rows.append(row)
    shares = [f"PPV / NPV if {percent(prevalence, 0)} are ill" for prevalence in PREVALENCES]
    return ["operating point", "threshold", "sensitivity", "specificity", "accuracy", *shares], rows


def tabulate_referral(results: Results, facts: Facts) -> Table:
    """The referral bands on test: how many are left to a radiologist, and how the others are called."""
    points = [point for point in results.table("operating_points")["point"].unique() if point.startswith("conformal")]
    metrics = ("referred", "accuracy", "sensitivity", "specificity")
    rows = []
    for point in points:
        key = f"point.{point_key(point)}"
        band = f"{facts[f'{key}.low']} to {facts[f'{key}.high']}"
        values = [with_interval(facts, f"{key}.test.{metric}") for metric in metrics]
        rows.append([point.removeprefix("conformal "), band, *values])
    head = ["coverage asked for", "referred between", "share referred", "accuracy on the rest", "sensitivity"]
    return [*head, "specificity"], rows


def tabulate_subgroups(results: Results, facts: Facts) -> Table:
    """The final model on every kind of child: share called right on validation and test."""
    rows = []
    for name, (title, metric) in SUBGROUP_TITLES.items():
        keys = [f"subgroup.{results.final_model}.{split}.{name}" for split in ("validation", "test")]
        rows.append([title, metric, *(with_interval(facts, key) for key in keys), facts.get(f"{keys[1]}.n", NOTHING)])
    return ["children with", "measured by", "validation", "test", "radiographs in test"], rows


def tabulate_costs(results: Results, facts: Facts) -> Table:
    """What 1,000 children cost at example prices, a row per share of ill children; the cheapest way is bold."""
    table, rows = results.table("per_1000"), []
    for prevalence in table["prevalence"].unique():
        costs = price_operating_points(table, prevalence).set_index("operating_point")["cost"]
        costs = costs[["screening", "balanced", "rule-in", "no model: treat all", "no model: treat none"]]
        cells = [f"**{cost:,.0f}**" if name == costs.idxmin() else f"{cost:,.0f}" for name, cost in costs.items()]
        rows.append([percent(prevalence, 1).replace(".0 ", " "), *cells])
    return ["share ill", *costs.index], rows
