"""What the final model would cost or save: calls per 1,000 children, net benefit, and a cost sheet with open prices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..config import PneumoniaError
from ..evaluation.metrics import DECIMALS, HALF, bootstrap_weights, percentile_interval, threshold_metrics
from ..evaluation.operating_points import choose_operating_points
from ..evaluation.probability import REFERENCE_PREVALENCE, rebase
from ..evaluation.scores import SplitScores, load_scores
from ..evaluation.wording import Facts, percent
from ..results import Results, title_of
from ..style import GRAY, model_colours, new_figure, own_axes, wrap

CHILDREN = 1000
PREVALENCES = (0.05, 0.15, 0.30, 0.625)  # shares of ill children among those imaged; the last is the test split's own
CURVE_THRESHOLDS = np.arange(1, 100) / 100  # probabilities at which a doctor would treat
QUANTITIES = ("missed", "needlessly_treated", "referred", "ill_among_referred")
PER_1000_COLUMNS = ["model", "prevalence", "operating_point", "threshold", "quantity", "value", "ci_low", "ci_high"]
CURVE_COLUMNS = ["strategy", "prevalence", "threshold_probability", "net_benefit", "ci_low", "ci_high"]


class Prices(NamedTuple):
    """What an outcome costs, in any one unit. The defaults are EXAMPLES, not facts: a hospital sets its own."""

    missed_pneumonia: float = 5000.0
    needless_treatment: float = 300.0
    radiologist_read: float = 30.0  # of every radiograph that is referred


EXAMPLES = Prices()


def ensemble_scores(predictions: pd.DataFrame, model: str) -> tuple[SplitScores, dict[str, float]]:
    """Test scores of a model, and its operating points from everything but test.

    Raises: PneumoniaError when the model has no test or no validation rows.
    """
    splits = load_scores(predictions, model)
    chosen_on = [scores for split, scores in splits.items() if split.startswith("validation")]
    if "test" not in splits or not chosen_on:
        raise PneumoniaError(f"predictions.csv: {model} lacks test or validation rows; run `make run` to score them")
    y_true = np.concatenate([scores.y_true for scores in chosen_on])
    return splits["test"], choose_operating_points(y_true, np.concatenate([s.ensemble for s in chosen_on]))


def compute_per_1000(predictions: pd.DataFrame, model: str, draws: int) -> pd.DataFrame:
    """Of 1,000 imaged children, how many would be missed, needlessly treated and referred: frame of per_1000.csv.

    Rates are those of the ensemble on test, with 95 % intervals over patients; that they hold at another prevalence
    is an assumption. "referred" are all called ill; "ill_among_referred" is the share of the ill in percent (PPV).
    """
    scores, points = ensemble_scores(predictions, model)
    weights = bootstrap_weights(scores.patient_ids, draws)
    rows = []
    for name, threshold in points.items():
        rates = [threshold_metrics(scores.y_true, scores.ensemble, threshold, w) for w in (None, weights)]
        for prevalence in PREVALENCES:
            value, samples = (count_outcomes(r["sensitivity"], r["specificity"], prevalence) for r in rates)
            for quantity in QUANTITIES:
                interval = percentile_interval(samples[quantity])
                rows.append((model, prevalence, name, threshold, quantity, float(value[quantity]), *interval))
    return _rounded(pd.DataFrame(rows, columns=PER_1000_COLUMNS), ["value", "ci_low", "ci_high"])


def count_outcomes(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> dict[str, np.ndarray]:
    """The QUANTITIES among 1,000 children of whom `prevalence` are ill; rates as shares."""
    ill, well = CHILDREN * prevalence, CHILDREN * (1 - prevalence)
    found, alarms = ill * np.asarray(sensitivity), well * (1 - np.asarray(specificity))
    with np.errstate(invalid="ignore"):
        ppv = 100 * found / (found + alarms)
    return dict(zip(QUANTITIES, (ill - found, alarms, found + alarms, ppv), strict=True))


def compute_decision_curve(predictions: pd.DataFrame, model: str, draws: int) -> pd.DataFrame:
    """Net benefit per child (Vickers & Elkin 2006) of the model, treat-all and treat-none: frame of decision_curve.csv.

    A doctor who treats from a probability of p on holds one missed child for as bad as (1 - p) / p needless treatments;
    net benefit = ill treated - needlessly treated * p / (1 - p), as shares of all children. Intervals over patients.
    """
    scores, _ = ensemble_scores(predictions, model)
    weights = bootstrap_weights(scores.patient_ids, draws)
    rows = []
    for prevalence in PREVALENCES:
        for p in CURVE_THRESHOLDS:
            cut, price = float(rebase(p, REFERENCE_PREVALENCE, reference=prevalence)), p / (1 - p)
            rates = [threshold_metrics(scores.y_true, scores.ensemble, cut, w) for w in (None, weights)]
            value, samples = (
                r["sensitivity"] * prevalence - (1 - r["specificity"]) * (1 - prevalence) * price for r in rates
            )
            everybody = prevalence - (1 - prevalence) * price
            rows.append((model, prevalence, p, value, *percentile_interval(samples)))
            rows += [("treat all", prevalence, p, *[everybody] * 3), ("treat none", prevalence, p, 0.0, 0.0, 0.0)]
    return _rounded(pd.DataFrame(rows, columns=CURVE_COLUMNS), ["net_benefit", "ci_low", "ci_high"])


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


def price_operating_points(per_1000: pd.DataFrame, prevalence: float, prices: Prices = EXAMPLES) -> pd.DataFrame:
    """The cost sheet: what 1,000 children would cost at each operating point, cheapest first.

    Treating nobody and everybody, which need no model, stand beside them. All who are called ill are taken as read by a
    radiologist and treated. Returns: a frame (operating_point, missed, needlessly_treated, referred, cost).
    Raises: PneumoniaError for a prevalence that the table does not have.
    """
    rows = per_1000[np.isclose(per_1000["prevalence"], prevalence)]
    if rows.empty:
        known = ", ".join(f"{100 * share:g} %" for share in sorted(per_1000["prevalence"].unique()))
        raise PneumoniaError(f"per_1000.csv: no prevalence of {100 * prevalence:g} %; it has {known}")
    sheet = rows.pivot(index="operating_point", columns="quantity", values="value")[list(QUANTITIES[:3])]
    sheet.loc["no model: treat all"] = count_row(prevalence, everybody=True)
    sheet.loc["no model: treat none"] = count_row(prevalence, everybody=False)
    sheet["cost"] = sheet.to_numpy() @ np.array(prices)
    return sheet.sort_values("cost", kind="stable").rename_axis(columns=None).reset_index()


def count_row(prevalence: float, everybody: bool) -> list[float]:
    """missed, needlessly_treated and referred when all (or no) children are called ill."""
    outcomes = count_outcomes(np.array(float(everybody)), np.array(float(not everybody)), prevalence)
    return [float(outcomes[quantity]) for quantity in QUANTITIES[:3]]


def _rounded(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    frame[columns] = frame[columns].astype(float).round(DECIMALS) + 0.0
    return frame


def describe_decision(results: Results, table: pd.DataFrame) -> Facts:
    told = []
    for prevalence in table["prevalence"].unique():
        low, high = find_useful_range(table, prevalence)
        span = "at no value" if np.isnan(low) else f"from {percent(low, 0)} to {percent(high, 0)}"
        told.append(f"{span} where {100 * prevalence:g} % are ill")
    return {
        "decision.range": "At the lower end of its interval, the net benefit still exceeds that of treating all and of "
        f"treating none for one whose threshold for treatment lies {'; '.join(told)}."
    }


CALLS = {
    "missed": "ill children missed",
    "needlessly_treated": "healthy children called ill",
    "referred": "children called ill in all",
}


def plot_calls(rows: pd.DataFrame, colour: str, ax: Axes | None = None) -> Axes:
    """Children per 1,000, a line a row of the frame, interval as a bar, the number at its right."""
    ax = own_axes(ax)
    for height, row in enumerate(rows.itertuples()):
        ax.plot([row.ci_low, row.ci_high], [height] * 2, color=colour, linewidth=4, alpha=0.4)
        ax.plot(row.value, height, "o", color=colour, markersize=7, markeredgecolor="white", zorder=3)
        ax.annotate(f"{row.value:.0f}", (1.01, height), xycoords=("axes fraction", "data"), va="center", size=11)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_yticks(range(len(rows)), [""] * len(rows))
    ax.set_xlim(0, 1.06 * max(1.0, rows["ci_high"].max()))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return ax


def draw_per_1000(results: Results) -> Figure:
    table, final = results.table("per_1000"), results.final_model
    points = list(dict.fromkeys(table["operating_point"]))
    order = [(share, point) for share in PREVALENCES for point in points]
    middle = table.query("prevalence == 0.3 and operating_point == 'balanced'").set_index("quantity")["value"]
    title = (
        f"If 30 % of {CHILDREN:,} imaged children were ill, {title_of(results, final)} would miss "
        f"{middle['missed']:.0f} of 300 and call {middle['needlessly_treated']:.0f} of 700 healthy ones ill"
    )
    note = (
        f"Title: threshold {HALF}. Rates of the ensemble on test; bars: 95 % intervals over patients. Screening and "
        "rule-in thresholds come from validation and its twins. Prevalences are examples; 62.5 % is the test split's."
    )
    figure = new_figure(title, note, height=6.6)
    axes = figure.subplots(1, 3, sharey=True)
    colour = model_colours(results.run)[final]
    for ax, (quantity, label) in zip(axes, CALLS.items(), strict=True):
        rows = table[table["quantity"] == quantity].set_index(["prevalence", "operating_point"])
        plot_calls(rows.loc[order], colour, ax)
        ax.set_xlabel(f"{label} (per {CHILDREN:,})")
        for height in range(len(points), len(order), len(points)):
            ax.axhline(height - 0.5, color=GRAY, linewidth=0.8)
    axes[0].set_yticklabels([f"{100 * share:g} % ill, {point}" for share, point in order], size=12)
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


def draw_decision_curve(results: Results) -> Figure:
    curve, final = results.table("decision_curve"), results.final_model
    low, high = find_useful_range(curve, 0.15)
    span = "nowhere" if np.isnan(low) else f"wherever one would treat from {100 * low:.0f} to {100 * high:.0f} % on"
    title = (
        f"Where 15 % of the imaged children are ill, {title_of(results, final)} does more good than treating all or "
        f"none {span}"
    )
    note = (
        "Net benefit: ill children treated, less healthy ones treated, weighted by the odds of the probability from "
        "which one treats. Band: 95 % interval over patients, ensemble on test; the title goes by its lower end."
    )
    figure = new_figure(title, note, height=5.4)
    axes, colour = figure.subplots(1, len(PREVALENCES)), model_colours(results.run)[final]
    for ax, prevalence in zip(axes, PREVALENCES, strict=True):
        plot_decision_curve(curve[np.isclose(curve["prevalence"], prevalence)], final, colour, ax)
        ax.set_title(f"{100 * prevalence:g} % ill")
        ax.set_xlabel("treat from (%)")
    axes[0].set_ylabel(f"net benefit (per {CHILDREN:,})")
    strategies = ((title_of(results, final), "-", colour), ("treat all", "--", GRAY), ("treat none", ":", GRAY))
    for ax, (label, line, shade) in zip(axes, strategies, strict=False):
        ax.legend(handles=ax.plot([], [], line, color=shade, label=wrap(label, 1.5, 11)), loc="upper right")
    return figure
