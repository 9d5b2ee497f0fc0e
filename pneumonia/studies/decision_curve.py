"""For whom is the model better than treating every child, or none? Net benefit over the threshold of treatment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..evaluation.estimate import join_words, percent
from ..evaluation.metrics import (
    apply_threshold,
    bootstrap_weights,
    percentile_interval,
    resample_ensemble,
    round_columns,
)
from ..evaluation.probability import REFERENCE_PREVALENCE, rebase
from ..evaluation.scores import Scores
from ..results import Results
from ..style import GRAY, model_colours, new_figure, own_axes, wrap
from .per_1000 import CHILDREN, PREVALENCES, spell_prevalence
from .study import Figure, Study

TREAT_FROM = np.arange(1, 100) / 100  # probabilities from which a doctor would treat
COLUMNS = ["strategy", "prevalence", "threshold_probability", "net_benefit", "ci_low", "ci_high"]


def compute_decision_curve(scores: Scores, model: str, draws: int) -> pd.DataFrame:
    """Net benefit per child (Vickers & Elkin 2006) of the model, treat-all and treat-none: a frame with COLUMNS.

    To a doctor who treats from a probability of p on, one missed child is as bad as (1 - p) / p needless treatments;
    net benefit = treated with pneumonia - treated without it * p / (1 - p), as shares of all children. Intervals are
    over patients and seeds.
    """
    test = scores.test(model)
    weights = bootstrap_weights(test.patient_ids, draws)
    rows = []
    for prevalence in PREVALENCES:
        cuts = rebase(TREAT_FROM, REFERENCE_PREVALENCE, reference=prevalence)
        price = TREAT_FROM / (1 - TREAT_FROM)

        def measure(y_prob: np.ndarray, drawn: np.ndarray, cuts=cuts, prevalence=prevalence, price=price) -> dict:
            sensitivity, specificity = measure_rates(test.y_true, y_prob, cuts, drawn)
            return {"benefit": sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * price}

        benefit = measure(test.ensemble, np.ones((1, len(test.y_true))))["benefit"][0]
        drawn = resample_ensemble(test.seeds, weights, measure)["benefit"]
        treat_all = prevalence - (1 - prevalence) * price
        for p, value, samples, of_all in zip(TREAT_FROM, benefit, drawn.T, treat_all, strict=True):
            rows.append((model, prevalence, p, value, *percentile_interval(samples)))
            rows += [("treat all", prevalence, p, *[of_all] * 3), ("treat none", prevalence, p, 0.0, 0.0, 0.0)]
    return round_columns(pd.DataFrame(rows, columns=COLUMNS), ["net_benefit", "ci_low", "ci_high"])


def measure_rates(
    y_true: np.ndarray, y_prob: np.ndarray, cuts: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """sensitivity and specificity at many thresholds at once, each (draws, cuts).

    nan in a draw without a child of the class. Args: y_true, y_prob: (n,). cuts: (cuts,). weights: float (draws, n).
    """
    positive = y_true == 1
    predicted = np.stack([apply_threshold(y_prob, cut) for cut in cuts], axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan on purpose
        return tuple(
            weights[:, group] @ right[group].astype(float) / weights[:, group].sum(axis=1, keepdims=True)
            for group, right in ((positive, predicted), (~positive, ~predicted))
        )


def find_useful_range(curve: pd.DataFrame, prevalence: float) -> tuple[float, float]:
    """Lowest and highest p between which the lower end of the model's interval beats both others; nan if nowhere."""
    rows = curve[np.isclose(curve["prevalence"], prevalence)]
    table = rows.pivot(index="threshold_probability", columns="strategy", values="ci_low")
    others = table[["treat all", "treat none"]].max(axis=1)
    ahead = table.drop(columns=["treat all", "treat none"]).iloc[:, 0] > others
    if not ahead.any():
        return np.nan, np.nan
    runs = (ahead != ahead.shift()).cumsum()[ahead]
    longest = runs[runs == runs.mode()[0]].index
    return float(longest.min()), float(longest.max())


def describe(results: Results) -> dict[str, str]:
    """range: for which thresholds of treatment the model is better, at each prevalence."""
    curve, ranges = results.table("decision_curve"), []
    for prevalence in curve["prevalence"].unique():
        low, high = find_useful_range(curve, prevalence)
        span = "no value" if np.isnan(low) else f"{100 * low:.0f} to {percent(high, 0)}"
        ranges.append(f"{span} {'where it is' if ranges else 'where the prevalence is'} {spell_prevalence(prevalence)}")
    return {
        "range": "Even at the lower limit of its 95 % interval, the model has more net benefit than treating all "
        f"children or none, for doctors who would treat from a probability of {join_words(ranges)}."
    }


def draw_decision_curve(results: Results) -> Drawing:
    curve, final = results.table("decision_curve"), results.final_model
    low, high = find_useful_range(curve, 0.15)
    span = "no probability" if np.isnan(low) else f"a probability of {100 * low:.0f} to {percent(high, 0)}"
    title = (
        f"At a prevalence of 15 %, {results.title(final)} has more net benefit than treating all children or none, for "
        f"doctors who would treat from {span}"
    )
    note = (
        "Net benefit: children with pneumonia treated, less normal children treated, weighted by the odds of the "
        "probability from which a doctor treats. Band: 95 % interval, ensemble on test; the title uses "
        "its lower limit."
    )
    figure = new_figure(title, note, height=5.4)
    axes, colour = figure.subplots(1, len(PREVALENCES)), model_colours(results.run)[final]
    for ax, prevalence in zip(axes, PREVALENCES, strict=True):
        plot_decision_curve(curve[np.isclose(curve["prevalence"], prevalence)], final, colour, ax)
        ax.set_title(f"prevalence {spell_prevalence(prevalence)}")
        ax.set_xlabel("treat from (%)")
    axes[0].set_ylabel(f"net benefit (per {CHILDREN:,})")
    strategies = ((results.title(final), "-", colour), ("treat all", "--", GRAY), ("treat none", ":", GRAY))
    for ax, (label, line, shade) in zip(axes, strategies, strict=False):
        ax.legend(handles=ax.plot([], [], line, color=shade, label=wrap(label, 1.5, 11)), loc="upper right")
    return figure


def plot_decision_curve(curve: pd.DataFrame, model: str, colour: str, ax: Axes | None = None) -> Axes:
    """Net benefit per 1,000 children of the model (with its interval), treat-all and treat-none."""
    ax = own_axes(ax)
    for strategy, line in ((model, "-"), ("treat all", "--"), ("treat none", ":")):
        rows = curve[curve["strategy"] == strategy]
        x, own = 100 * rows["threshold_probability"], strategy == model
        ax.plot(x, CHILDREN * rows["net_benefit"], line, color=colour if own else GRAY, linewidth=2.4 if own else 1.8)
        if own:
            low, high = CHILDREN * rows["ci_low"], CHILDREN * rows["ci_high"]
            ax.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    top = CHILDREN * curve["net_benefit"].max()
    ax.set(xlim=(0, 100), ylim=(-0.25 * top, 1.3 * top))
    return ax


STUDY = Study(
    compute_decision_curve,
    describe,
    figures={
        "decision_curve": Figure(draw_decision_curve, "Curves: net benefit of the model, treat-all and treat-none")
    },
)
