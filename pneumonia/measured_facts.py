"""Sentences about the slower measurements and what follows from them, for notebook, README and slides alike.

Every key is always there: what was not measured in this run says so, so that a page can be written without it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .corruptions import SEVERITIES
from .cost_facts import tell_archive, tell_backends, tell_goal, tell_growth
from .decision import find_useful_range
from .learning_curve import extrapolate, is_undetermined
from .reading_facts import tell_agreement, tell_heatmaps
from .results import Results, command_for
from .robustness import ALL, CLEAN, REALISTIC, REFERENCE, describe_resampling, find_worst
from .wording import Facts, format_interval, format_value, join_words, percent

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
RESAMPLING_LIMIT = 1.0  # points of accuracy that the way of resampling may move


def measured_facts(results: Results) -> Facts:
    """<key of SENTENCES>.sentence -> prose, from the tables alone; "Not measured in this run ..." without its table."""
    builders = (
        ("robustness", _robustness),
        ("masking", _masking),
        ("published_comparisons", _published),
        ("power", _power),
        ("decision_curve", _decision),
        ("learning_curve", _more_data),
        ("pareto", _pareto),
        ("pareto", tell_growth),
        ("three_class", _three_class),
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


def title_of(results: Results, model: str) -> str:
    return results.run.model(model).title


def with_span(metric: str, row: pd.Series) -> str:
    """ "93.1 % (91.0 to 95.0 %)", "0.981 (0.972 to 0.989)"; what is no metric of its own is a share."""
    metric = metric if metric == "roc_auc" else "accuracy"
    return f"{format_value(metric, row['value'])} ({format_interval(metric, row['ci_low'], row['ci_high'])})"


def _robustness(results: Results, table: pd.DataFrame) -> Facts:
    final, title = results.final_model, title_of(results, results.final_model)
    rates = table[table["model"] == final].set_index(["condition", "severity", "metric"])["value"]
    worst, blind, extreme = (
        find_worst(table, final, up_to, metric)
        for up_to, metric in ((REALISTIC, "accuracy"), (REALISTIC, "sensitivity"), (len(SEVERITIES), "accuracy"))
    )
    sensitivity, specificity = (
        percent(rates[worst["condition"], worst["severity"], metric]) for metric in ("sensitivity", "specificity")
    )
    method, moved = describe_resampling(table, final)
    within = "less than" if abs(moved) < RESAMPLING_LIMIT else "not less than"
    return {
        "robustness.worst": f"The worst case up to severity {REALISTIC} of {len(SEVERITIES)} is {worst['condition']} "
        f"at severity {worst['severity']}: {with_span('accuracy', worst)} accuracy instead of "
        f"{percent(rates[CLEAN, 0, 'accuracy'])}, with a sensitivity of {sensitivity} and a specificity of "
        f"{specificity}. "
        f"Sensitivity is lowest under {blind['condition']} (severity {blind['severity']}: "
        f"{with_span('sensitivity', blind)}). At the highest severity, accuracy falls to {percent(extreme['value'])} "
        f"({extreme['condition']}).",
        "robustness.resampling": f"The way of resampling moves the accuracy of {title} by at most {abs(moved):.1f} "
        f"points ({method}), {within} one point.",
        "robustness.error": _corruption_error(results, table),
    }


def _corruption_error(results: Results, table: pd.DataFrame) -> str:
    """Beside the same ratio on radiographs as they are: most of what is gained there is lost under corruptions."""
    final = results.final_model
    mean = table[table["condition"] == ALL].set_index(["model", "metric"])
    if (final, "corruption_error") not in mean.index:
        return f"There is no {REFERENCE} in this run to compare with."
    clean = table[(table["condition"] == CLEAN) & (table["metric"] == "accuracy")].set_index("model")["value"]
    ratio, kinds = mean.loc[(final, "corruption_error")], table.loc[table["severity"] > 0, "condition"].nunique()
    untouched = (1 - clean[final]) / (1 - clean[REFERENCE])
    return (
        f"Over {kinds} corruptions of {len(SEVERITIES)} severities its accuracy is "
        f"{with_span('accuracy', mean.loc[(final, 'accuracy')])}, and it errs {ratio['value']:.2f} times "
        f"({ratio['ci_low']:.2f} to {ratio['ci_high']:.2f}) as often as {title_of(results, REFERENCE)}; "
        f"on untouched radiographs {untouched:.2f} times."
    )


def _masking(results: Results, table: pd.DataFrame) -> Facts:
    areas = table[(table["metric"] == "roc_auc") & (table["split"] == "test")].set_index(["model", "condition"])
    final = results.final_model
    whole, lungs, only = (areas.loc[(final, name)] for name in ("nothing", "lungs", "all but lungs"))
    facts = {
        "masking.lungs": "Two ellipses, the same for every child, stand for the lungs. "
        f"With them hidden, the ROC AUC of {title_of(results, final)} on test falls from "
        f"{whole['value']:.3f} to {with_span('roc_auc', lungs)}; "
        f"with only them to see it is {with_span('roc_auc', only)}.",
        "masking.outside": "No other model was measured.",
    }
    others = areas.xs("lungs", level="condition").drop(final)
    if len(others):
        most = others["value"].idxmax()
        seeds, area = int(others.loc[most, "seeds"]), with_span("roc_auc", others.loc[most])
        named = f"{title_of(results, most)} ({seeds} seed{'s' * (seeds > 1)})"
        facts["masking.outside"] = f"Of the others, {named} still tells most without them: {area}."
    return facts


def _published(results: Results, table: pd.DataFrame) -> Facts:
    rows = table[table["metric"] == "accuracy"]
    groups = {
        "more accurate than": rows[rows["verdict"].str.startswith("above, however")],
        "less accurate than": rows[rows["verdict"].str.startswith("below, however")],
    }
    told = [f"{words} {'; '.join(group['work'])}" for words, group in groups.items() if len(group)]
    alike = int(rows["verdict"].str.startswith("not distinguishable").sum())
    rest = len(rows) - alike - sum(map(len, groups.values()))
    surely = f" is {join_words(told)}, however the errors pair (p < 0.05 after Holm's correction);" if told else ":"
    tail = f" {rest} of {len(rows)} accuracies cannot be decided without the calls that others made"
    none = f", {alike} by no calls at all" if alike else ""
    taken = "films of a child cluster in their errors as in ours, and that a mean over seeds stands for one network"
    return {"published.real": f"At threshold 0.5 the ensemble{surely}{tail}{none}. This takes it that the {taken}."}


def _power(results: Results, table: pd.DataFrame) -> Facts:
    rows = table.set_index("design")["n_radiographs"]
    a, b, n = (table[name].iloc[0] for name in ("accuracy_a", "accuracy_b", "n_test"))
    told = [f"{size:,} ({_with_titles(results, design)})" for design, size in rows.items()]
    return {
        "power.images": f"To tell {percent(a, 0)} from {percent(b, 0)} would take {join_words(told)} test radiographs, "
        f"where there are {n:,}."
    }


def _with_titles(results: Results, text: str) -> str:
    """The names of models as people read them; longer names first, since some begin like others."""
    for config in sorted(results.run.models, key=lambda config: -len(config.name)):
        text = text.replace(config.name, config.title)
    return text


def _decision(results: Results, table: pd.DataFrame) -> Facts:
    told = []
    for prevalence in table["prevalence"].unique():
        low, high = find_useful_range(table, prevalence)
        span = "at no value" if np.isnan(low) else f"from {percent(low, 0)} to {percent(high, 0)}"
        told.append(f"{span} where {100 * prevalence:g} % are ill")
    return {
        "decision.range": "At the lower end of its interval, the net benefit still exceeds that of treating all and of "
        f"treating none for one whose threshold for treatment lies {'; '.join(told)}."
    }


def _more_data(results: Results, table: pd.DataFrame) -> Facts:
    means = table.query("split == 'test' and metric == 'accuracy' and seed == 'mean'").sort_values("patients")
    least, most = means.iloc[0], means.iloc[-1]
    told = (
        f"A small network (96 px) that learns from {least['patients']:,.0f} to {most['patients']:,.0f} patients has a "
        f"test accuracy of {with_span('accuracy', least)} to {with_span('accuracy', most)}."
    )
    law = extrapolate(table)
    value, low, high = law["next_point"]
    if np.isnan(value):
        return {"more_data.next": f"{told} No power law fits the errors, so nothing is extrapolated."}
    flattest, steepest = law["exponent"][1:]
    if is_undetermined(law):
        far = (means["value"] - most["value"]).abs() > 0.01
        near = means[~far[::-1].cummax()[::-1]].iloc[0]  # the first size after which none is far
        return {
            "more_data.next": f"{told} From {near['patients']:,.0f} patients on it stays within a point of the last, "
            f"too flat for a power law: the errors fit any exponent from −{flattest:.2f} to −{steepest:.2f} (the "
            "steepest allowed), so what the next point of accuracy would take cannot be said."
        }
    needed = "no number of patients" if np.isinf(value) else f"about {value:,.0f} patients"
    return {
        "more_data.next": f"{told} A power law through the errors has an exponent of −{law['exponent'][0]:.2f} "
        f"(−{flattest:.2f} to −{steepest:.2f}); by it the next point of accuracy would take {needed} "
        f"(95 %: {_spell_patients(low, high)})."
    }


def _spell_patients(low: float, high: float) -> str:
    if np.isinf(low):
        return "no number of patients"
    return f"{low:,.0f} patients at least, if any number" if np.isinf(high) else f"{low:,.0f} to {high:,.0f} patients"


def _pareto(results: Results, table: pd.DataFrame) -> Facts:
    """Chosen on the exchange twin of validation, told on test."""
    chosen_on = table[(table["split"] == "validation_exchange") & (table["metric"] == "balanced_accuracy")]
    best = chosen_on.loc[chosen_on["value"].idxmax()]
    enough = chosen_on[chosen_on["value"] >= best["value"] - 0.01].sort_values("cpu_seconds").iloc[0]
    test = table[(table["split"] == "test") & (table["metric"] == "accuracy")].set_index("model")
    told = [
        f"{row['image_size']} px, {row['epochs']} epochs, width {row['width']:g} (on test "
        f"{with_span('accuracy', test.loc[row['model']])} accuracy; {row['cpu_seconds'] / 60:.1f} CPU minutes)"
        for row in (best, enough)
    ]
    return {
        "pareto.enough": f"Of {len(test)} small networks, one seed each, the best on the exchange twin of validation "
        f"has {told[0]}. The cheapest within one point of it there has {told[1]}."
    }


def _three_class(results: Results, table: pd.DataFrame) -> Facts:
    rows = table.set_index(["split", "model", "metric"])
    told, before = (
        with_span("accuracy", rows.loc[(split, "three_class", "bacteria or virus")]) for split in ("test", "validation")
    )
    three, two = (with_span("roc_auc", rows.loc[("test", model, "roc_auc")]) for model in ("three_class", "two_class"))
    return {
        "three_class.kinds": f"A small network (96 px) tells bacterial from viral pneumonia in {told} of the ill "
        f"on test and in {before} on validation, whose labels no third physician checked. For ill or healthy, three "
        f"outputs have a ROC AUC of {three}, two have {two}."
    }
