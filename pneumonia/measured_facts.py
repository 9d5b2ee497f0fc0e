"""Sentences about the slower measurements and what follows from them, for notebook, README and slides alike.

Every key is always there: what was not measured in this run says so, so that a page can be written without it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .corruptions import SEVERITIES
from .decision import find_useful_range
from .learning_curve import extrapolate
from .results import MEASURED, Results
from .robustness import ALL, CLEAN, REALISTIC, REFERENCE, describe_resampling, find_worst
from .wording import Facts, format_interval, join_words, percent

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
}
RESAMPLING_LIMIT = 1.0  # points of accuracy that the way of resampling may move


def measured_facts(results: Results) -> Facts:
    """<key of SENTENCES>.sentence -> prose, from the tables alone; "Not measured in this run ..." without its table."""
    builders = {
        "robustness": _robustness,
        "masking": _masking,
        "published_comparisons": _published,
        "power": _power,
        "decision_curve": _decision,
        "learning_curve": _more_data,
        "pareto": _pareto,
        "three_class": _three_class,
    }
    facts = {
        f"{key}.sentence": f"Not measured in this run (`python -m pneumonia {MEASURED[table]}`)."
        for key, table in SENTENCES.items()
    }
    for table, build in builders.items():
        if table in results.measured:
            facts |= {f"{key}.sentence": text for key, text in build(results, results.table(table)).items()}
    return facts


def title_of(results: Results, model: str) -> str:
    return results.run.model(model).title


def with_span(metric: str, row: pd.Series) -> str:
    """ "93.1 % (91.0 to 95.0 %)"."""
    return f"{percent(row['value'])} ({format_interval(metric, row['ci_low'], row['ci_high'])})"


def _robustness(results: Results, table: pd.DataFrame) -> Facts:
    final, title = results.final_model, title_of(results, results.final_model)
    accuracy = table[(table["model"] == final) & (table["metric"] == "accuracy")]
    clean = accuracy[accuracy["condition"] == CLEAN].iloc[0]
    worst, (method, moved) = find_worst(table, final), describe_resampling(table, final)
    within = "less than" if abs(moved) < RESAMPLING_LIMIT else "not less than"
    facts = {
        "robustness.worst": f"The worst case up to severity {REALISTIC} of {len(SEVERITIES)} is {worst['condition']} "
        f"at severity {worst['severity']}: {with_span('accuracy', worst)} accuracy "
        f"instead of {percent(clean['value'])}.",
        "robustness.resampling": f"The way of resampling moves the accuracy of {title} by at most {abs(moved):.1f} "
        f"points ({method}), {within} one point.",
        "robustness.error": f"There is no {REFERENCE} in this run to compare with.",
    }
    error = table[(table["metric"] == "corruption_error") & (table["condition"] == ALL)].set_index("model")
    if {final, REFERENCE} <= set(error.index):
        row, kinds = error.loc[final], table.loc[table["severity"] > 0, "condition"].nunique()
        facts["robustness.error"] = (
            f"Over {kinds} corruptions it errs {row['value']:.2f} times "
            f"({row['ci_low']:.2f} to {row['ci_high']:.2f}) as often as {title_of(results, REFERENCE)}."
        )
    return facts


def _masking(results: Results, table: pd.DataFrame) -> Facts:
    areas = table[(table["metric"] == "roc_auc") & (table["split"] == "test")].set_index(["model", "condition"])
    final = results.final_model
    whole, lungs, only = (areas.loc[(final, name)] for name in ("nothing", "lungs", "all but lungs"))
    others = areas.xs("lungs", level="condition")["value"].drop(final)
    told = [f"{title_of(results, model)} {value:.3f}" for model, value in others.items()]
    span = format_interval("roc_auc", lungs["ci_low"], lungs["ci_high"])
    return {
        "masking.lungs": f"With the lungs hidden, the ROC AUC of {title_of(results, final)} on test falls from "
        f"{whole['value']:.3f} to {lungs['value']:.3f} ({span}); "
        f"with only the lungs to see it is {only['value']:.3f}.",
        "masking.outside": f"What others still tell without the lungs: {join_words(told) or 'no other measured'}.",
    }


def _published(results: Results, table: pd.DataFrame) -> Facts:
    rows = table[table["metric"] == "accuracy"]
    groups = {
        "more accurate than": rows[rows["verdict"].str.startswith("above, however")],
        "less accurate than": rows[rows["verdict"].str.startswith("below, however")],
    }
    told = [f"{words} {join_words(list(group['work']))}" for words, group in groups.items() if len(group)]
    rest = len(rows) - sum(map(len, groups.values()))
    surely = f"is {join_words(told)}, however the errors pair; " if told else ""
    tail = f"{rest} of {len(rows)} cannot be decided without the calls that others made"
    return {"published.real": f"At threshold 0.5 the ensemble {surely}{tail}."}


def _power(results: Results, table: pd.DataFrame) -> Facts:
    rows = table.set_index("design")["n_radiographs"]
    a, b, n = (table[name].iloc[0] for name in ("accuracy_a", "accuracy_b", "n_test"))
    told = [f"{size:,} ({design})" for design, size in rows.items()]
    return {
        "power.images": f"To tell {percent(a, 0)} from {percent(b, 0)} would take {join_words(told)} test radiographs, "
        f"where there are {n:,}."
    }


def _decision(results: Results, table: pd.DataFrame) -> Facts:
    told = []
    for prevalence in table["prevalence"].unique():
        low, high = find_useful_range(table, prevalence)
        span = "nowhere" if np.isnan(low) else f"from {percent(low, 0)} to {percent(high, 0)}"
        told.append(f"{span} where {100 * prevalence:g} % are ill")
    return {
        "decision.range": "It does more good than treating all or none, with its interval, for one who would treat "
        f"from a probability {'; '.join(told)}."
    }


def _more_data(results: Results, table: pd.DataFrame) -> Facts:
    law, most = extrapolate(table), table["patients"].max()
    value, low, high = law["next_point"]
    if np.isnan(value):
        return {"more_data.next": "No power law fits the errors, so nothing is extrapolated."}
    ends = ["no number" if np.isinf(end) else f"{end:,.0f}" for end in (low, high)]
    needed = "no number of patients" if np.isinf(value) else f"about {value:,.0f} patients"
    exponent = "{:.2f} ({:.2f} to {:.2f})".format(*law["exponent"])
    return {
        "more_data.next": f"The error falls with the number of patients to the power of −{exponent}; by this law the "
        f"next point of accuracy would take {needed} (95 %: {' to '.join(ends)}) instead of {most:,.0f}."
    }


def _pareto(results: Results, table: pd.DataFrame) -> Facts:
    rows = table[(table["split"] == "test") & (table["metric"] == "accuracy")]
    best = rows.loc[rows["value"].idxmax()]
    enough = rows[rows["value"] >= best["value"] - 0.01].sort_values("cpu_seconds").iloc[0]
    told = [
        f"{row['image_size']} px, {row['epochs']} epochs, width {row['width']:g} ({percent(row['value'])} in "
        f"{row['cpu_seconds'] / 60:.1f} CPU minutes)"
        for row in (best, enough)
    ]
    return {"pareto.enough": f"Most accurate on test: {told[0]}. The cheapest within one point of it: {told[1]}."}


def _three_class(results: Results, table: pd.DataFrame) -> Facts:
    rows = table[table["split"] == "test"].set_index(["model", "metric"])
    names = (("three_class", "bacteria or virus"), ("three_class", "accuracy"), ("two_class", "accuracy"))
    kinds, three, two = (with_span("accuracy", rows.loc[name]) for name in names)
    return {
        "three_class.kinds": f"Bacterial and viral pneumonia are told apart in {kinds} of the ill. "
        f"For ill or healthy, three outputs have {three} accuracy, two have {two}."
    }
