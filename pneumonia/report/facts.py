"""Every number and every comparison that prose may use, formatted once, for notebook, README and slides alike."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import product

import pandas as pd

from ..config import CLAIMED_ACCURACY, PneumoniaError
from ..data.catalog import select_used
from ..evaluation.metrics import apply_threshold
from ..evaluation.wording import (
    NOTHING,
    Facts,
    compare,
    format_difference_interval,
    format_interval,
    format_p,
    format_size,
    format_value,
    is_share,
    percent,
)
from ..results import Results
from .consequences import change_facts, consequence_facts
from .measured_facts import measured_facts
from .provenance import catalog_facts, run_facts, training_facts

PLACEHOLDER = re.compile(r"\{([A-Za-z][^{}\s]*\.[^{}\s]*)\}")  # {a.b}; braces without a dot are left alone
COMPARED = ("accuracy", "sensitivity", "specificity", "balanced_accuracy", "roc_auc")
EXAMPLE_PREVALENCES = (0.15, 0.30)  # shares of ill children among those who are imaged; the test split's own is added
SIGNIFICANCE = 0.05  # of p-values after Holm's correction


def build_facts(results: Results) -> Facts:
    """Key -> text, from the result files alone. `final` stands for the final model wherever a model is named.

    <model>.title; <model>.<split>.<metric> (mean over seeds) with .interval (95 %, over patients), .sd (over seeds),
    .ensemble, .ensemble.interval, .seed0 ...; "sensitivity@chosen" is spelt sensitivity_chosen. Comparisons: gap.*
    (test against validation), versus.<a>.<b>.* (a against b on test), chosen.* (chosen threshold against 0.5), step.*
    (against the model before it). What they say changes with the sign: .direction, .phrase, .signed. The rest:
    claimed.*, best.*, errors.*, stress.*, per1000.*, point.*, subgroup.*,
    attribution.*, ablation.*, the sentences of measured_facts, catalog.*, training.*, looks.*, run.*.
    """
    facts: Facts = {}
    for build in (_metrics, _differences, _steps, _verdicts, _errors, _stress, _per_1000):
        facts |= build(results)
    for build in (consequence_facts, change_facts, measured_facts, catalog_facts, training_facts, run_facts):
        facts |= build(results)
    final = results.final_model
    for key in [key for key in facts if final in key.split(".")]:
        facts[".".join("final" if part == final else part for part in key.split("."))] = facts[key]
    return facts


def fill(text: str, facts: Facts) -> str:
    """`text` with every {dotted.key} replaced by its fact.

    Raises: PneumoniaError naming a key that is no fact, and the nearest ones that are.
    """

    def look_up(match: re.Match) -> str:
        key = match[1]
        if key not in facts:
            near = ", ".join(get_close_matches(key, facts, n=3, cutoff=0.5)) or "none is similar"
            raise PneumoniaError(f"no fact is called '{key}'; nearest: {near} (facts.py says what there is)")
        return facts[key]

    return PLACEHOLDER.sub(look_up, text)


# --- what there is to say ----------------------------------------------------------------------------------------


def _metrics(results: Results) -> Facts:
    facts = {f"{config.name}.title": config.title for config in results.run.models}
    several = set(results.metrics.query("seed == 'ensemble'")["model"])
    for row in results.metrics.itertuples():
        key = f"{row.model}.{row.split}.{row.metric.replace('@', '_')}"
        if row.seed == "sd":
            facts[f"{key}.sd"] = format_size(row.metric, row.value)
            continue
        value, interval = format_value(row.metric, row.value), format_interval(row.metric, row.ci_low, row.ci_high)
        names = {"mean": [key], "ensemble": [f"{key}.ensemble"]}.get(row.seed, [f"{key}.seed{row.seed}"])
        if row.seed == "mean" and row.model not in several:
            names.append(f"{key}.ensemble")  # a single seed is its own ensemble
            facts[f"{key}.sd"] = NOTHING
        for name in names:
            facts |= {name: value, f"{name}.interval": interval}
    return facts


def _means(results: Results) -> pd.DataFrame:
    """value, ci_low, ci_high of every mean over seeds, by (model, split, metric)."""
    return results.metrics.query("seed == 'mean'").set_index(["model", "split", "metric"])


def _differences(results: Results) -> Facts:
    """gap: test against validation. chosen: the chosen threshold against 0.5. versus: one model against another."""
    means = _means(results)["value"]
    models = list(results.metrics["model"].unique())
    facts: Facts = {}
    for metric in COMPARED:
        for model in models:
            test, validation = means[model, "test", metric], means[model, "validation", metric]
            facts |= compare(f"gap.{model}.{metric}", metric, test - validation)
            if is_share(metric):
                facts |= compare(f"chosen.{model}.{metric}", metric, means[model, "test", f"{metric}@chosen"] - test)
        for a, b in product(models, repeat=2):
            facts |= compare(f"versus.{a}.{b}.{metric}", metric, means[a, "test", metric] - means[b, "test", metric])
    return facts


def _steps(results: Results) -> Facts:
    """Each model against the one before it, as comparisons.csv has it."""
    facts: Facts = {}
    for row in results.comparisons.itertuples():
        metric = "accuracy" if row.test == "mcnemar" else "roc_auc"
        key = f"step.{row.model_b}.{metric}"
        better = "better than" if row.difference > 0 else "worse than"
        facts |= compare(key, metric, row.difference)
        facts |= {
            f"step.{row.model_b}.against": results.run.model(row.model_a).title,
            f"{key}.interval": format_difference_interval(metric, row.ci_low, row.ci_high),
            f"{key}.p": format_p(row.p_value),
            f"{key}.p_holm": format_p(row.p_holm),
            f"{key}.verdict": better if row.p_holm < SIGNIFICANCE else "not distinguishable from",
        }
    return facts


def _verdicts(results: Results) -> Facts:
    """The final model against the claim of the work this follows, and against the best of its rivals on test."""
    row = results.estimate(results.final_model, "test", "accuracy")
    claim, where = percent(CLAIMED_ACCURACY, 0), "includes"
    if row.low > CLAIMED_ACCURACY:
        where = "lies above"
    elif row.high < CLAIMED_ACCURACY:
        where = "lies below"
    facts = {"claimed.accuracy": claim, "claimed.phrase": f"{where} the claimed {claim}"}
    means = results.metrics.query("seed == 'mean' and split == 'test'")
    for metric in COMPARED:
        rows = means[means["metric"] == metric]
        best = rows.loc[rows["value"].idxmax()]
        title, value = results.run.model(best["model"]).title, format_value(metric, best["value"])
        name = {"roc_auc": "ROC AUC", "accuracy": "accuracy"}.get(metric, metric.replace("_", " "))
        facts |= {f"best.{metric}": value, f"best.{metric}.title": title}
        facts[f"best.{metric}.sentence"] = (
            f"Of the single models it also has the highest {name} on the test split"
            if best["model"] == results.final_model
            else f"On the test split another model, {title}, has a higher {name} ({value}): no reason to choose it"
        )
    return facts | {"baseline.sentence": _baseline_sentence(results, means)}


def _baseline_sentence(results: Results, means: pd.DataFrame) -> str:
    """Which networks are more accurate on test than the most accurate baseline, and which are not."""
    accuracy = means[means["metric"] == "accuracy"].set_index("model")["value"]
    is_cnn = pd.Series({config.name: config.is_cnn for config in results.run.models})
    best = accuracy[~is_cnn].idxmax()
    titles = {config.name: config.title for config in results.run.models}
    ahead = [titles[name] for name in accuracy.index[is_cnn[accuracy.index] & (accuracy > accuracy[best])]]
    behind = [titles[name] for name in accuracy.index[is_cnn[accuracy.index] & (accuracy <= accuracy[best])]]
    bar = f"{titles[best]} ({percent(accuracy[best])})"
    more = f"More accurate than the best baseline, {bar}: {'; '.join(ahead) or 'no network'}."
    return more + (f" Not more accurate: {'; '.join(behind)}." if behind else "")


def _errors(results: Results) -> Facts:
    """Counts of the ensemble on test, at 0.5 and at the chosen threshold; its sensitivity by kind."""
    kinds, means = results.catalog.set_index("path")["kind"], _means(results)["value"]
    facts: Facts = {}
    for model, rows in results.predictions.query("split == 'test'").groupby("model", sort=False):
        facts[f"errors.{model}.leaning"] = _leaning(
            means[model, "test", "sensitivity"], means[model, "test", "specificity"]
        )
        mean = rows.groupby("path").agg(label=("label", "first"), y_prob=("y_prob", "mean"))
        thresholds = {"": 0.5, "_chosen": results.estimate(model, "test", "threshold", "ensemble").value}
        for suffix, threshold in thresholds.items():
            called = apply_threshold(mean["y_prob"], threshold)
            facts[f"errors.{model}.missed{suffix}"] = str(int((~called & (mean["label"] == 1)).sum()))
            facts[f"errors.{model}.false_alarms{suffix}"] = str(int((called & (mean["label"] == 0)).sum()))
        ill = mean[mean["label"] == 1]
        found = pd.Series(apply_threshold(ill["y_prob"], 0.5), index=ill.index.map(kinds))
        for kind, share in found.groupby(level=0).mean().reindex(["bacteria", "virus"]).items():
            facts[f"errors.{model}.{kind}.sensitivity"] = percent(share)
        facts[f"errors.{model}.kinds.sentence"] = _kinds_sentence(model, facts)
    return facts


def _kinds_sentence(model: str, facts: Facts) -> str:
    bacteria, virus = (facts[f"errors.{model}.{kind}.sensitivity"] for kind in ("bacteria", "virus"))
    if NOTHING in (bacteria, virus):
        return "The files do not say which pneumonia is bacterial and which is viral."
    return f"The ensemble finds {bacteria} of the bacterial and {virus} of the viral pneumonias."


def _leaning(sensitivity: float, specificity: float) -> str:
    if format_value("accuracy", sensitivity) == format_value("accuracy", specificity):
        return "an ill child is missed as often as a healthy one is called ill"
    if specificity < sensitivity:
        return "a healthy child is called ill more often than an ill one is missed"
    return "an ill child is missed more often than a healthy one is called ill"


def _stress(results: Results) -> Facts:
    """The stress copy of validation that hurts a model most, against validation itself."""
    means = results.metrics.query("seed == 'mean' and split.str.startswith('validation_')")
    facts, validation = {}, _means(results)["value"]
    for (model, metric), rows in means[means["metric"].isin(COMPARED)].groupby(["model", "metric"], sort=False):
        worst = rows.loc[rows["value"].idxmin()]
        key = f"stress.{model}.{metric}"
        plain = validation[model, "validation", metric]
        facts |= {key: format_value(metric, worst["value"]), f"{key}.name": worst["split"].removeprefix("validation_")}
        facts |= compare(f"{key}.change", metric, worst["value"] - plain)
    return facts


def _per_1000(results: Results) -> Facts:
    """What a model's rates on test would mean for 1,000 imaged children, at several prevalences."""
    means = _means(results)
    test = select_used(results.catalog).query("split == 'test'")["label"].mean()
    prevalences = {f"p{round(100 * share)}": (share, 0) for share in EXAMPLE_PREVALENCES} | {"test": (test, 1)}
    facts: Facts = {}
    for name, (share, decimals) in prevalences.items():
        ill = round(1000 * share)
        facts[f"per1000.{name}.prevalence"] = percent(share, decimals)
        facts |= {f"per1000.{name}.ill": str(ill), f"per1000.{name}.well": str(1000 - ill)}
        for model in results.metrics["model"].unique():
            for suffix in ("", "@chosen"):
                key = f"per1000.{name}.{model}.{{}}{suffix.replace('@', '_')}"
                facts |= _wrong_calls(key.format("missed"), ill, means.loc[(model, "test", f"sensitivity{suffix}")])
                well = means.loc[(model, "test", f"specificity{suffix}")]
                facts |= _wrong_calls(key.format("false_alarms"), 1000 - ill, well)
    return facts


def _wrong_calls(key: str, children: int, rate: pd.Series) -> Facts:
    """How many of `children` are called wrong when `rate` of them are called right."""
    count, low, high = (round(children * (1 - rate[end])) for end in ("value", "ci_high", "ci_low"))
    return {key: str(count), f"{key}.interval": f"{low} to {high}"}
