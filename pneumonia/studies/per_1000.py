"""Of 1,000 children, how many would be missed or treated needlessly, and at what cost? Prices can be changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..config import PneumoniaError
from ..evaluation.metrics import (
    HALF,
    bootstrap_weights,
    percentile_interval,
    resample_ensemble,
    round_columns,
    threshold_metrics,
)
from ..evaluation.operating_points import choose_operating_points
from ..evaluation.probability import predictive_values
from ..evaluation.scores import Scores
from ..results import Results
from ..style import GRAY, new_figure, own_axes
from .study import Figure, Study, Table

CHILDREN = 1000
PREVALENCES = (0.05, 0.15, 0.30, 0.625)  # of pneumonia among the imaged children; the last is that of the test split
DEFAULT_PREVALENCE = 0.30  # where a reader is shown one of them; an example
QUANTITIES = ("missed", "needlessly_treated", "referred", "ill_among_referred")
COLUMNS = ["model", "prevalence", "operating_point", "threshold", "quantity", "value", "ci_low", "ci_high"]


class Prices(NamedTuple):
    """What an outcome costs, in any one unit. The defaults are EXAMPLES, not facts: a hospital sets its own."""

    missed_pneumonia: float = 5000.0
    needless_treatment: float = 300.0
    radiologist_read: float = 30.0  # of every radiograph that is referred


EXAMPLES = Prices()


def compute_per_1000(scores: Scores, model: str, draws: int) -> pd.DataFrame:
    """Of 1,000 imaged children, how many would be missed, needlessly treated and referred: frame with COLUMNS.

    Rates are those of the ensemble on test, with 95 % intervals over patients and seeds; that they hold at another
    prevalence is an assumption. "referred" are all with the prediction PNEUMONIA; "ill_among_referred" is the PPV in
    percent.
    """
    test, pooled = scores.test(model), scores.pooled(model)
    points = choose_operating_points(pooled.y_true, pooled.ensemble)
    weights = bootstrap_weights(test.patient_ids, draws).astype(float)
    rows = []
    for name, threshold in points.items():

        def measure(y_prob: np.ndarray, drawn: np.ndarray, threshold=threshold) -> dict[str, np.ndarray]:
            return threshold_metrics(test.y_true, y_prob, threshold, drawn)

        rates = measure(test.ensemble, np.ones((1, len(test.y_true)))), resample_ensemble(test.seeds, weights, measure)
        for prevalence in PREVALENCES:
            value, samples = (count_outcomes(r["sensitivity"], r["specificity"], prevalence) for r in rates)
            for quantity in QUANTITIES:
                interval = percentile_interval(samples[quantity])
                rows.append((model, prevalence, name, threshold, quantity, float(value[quantity][0]), *interval))
    return round_columns(pd.DataFrame(rows, columns=COLUMNS), ["value", "ci_low", "ci_high"])


def count_outcomes(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> dict[str, np.ndarray]:
    """The QUANTITIES among 1,000 children of whom a share of `prevalence` has pneumonia; rates as shares."""
    sensitivity, specificity = np.asarray(sensitivity), np.asarray(specificity)
    pneumonia, normal = CHILDREN * prevalence, CHILDREN * (1 - prevalence)
    found, alarms = pneumonia * sensitivity, normal * (1 - specificity)
    ppv, _ = predictive_values(sensitivity, specificity, prevalence)
    return dict(zip(QUANTITIES, (pneumonia - found, alarms, found + alarms, 100 * ppv), strict=True))


def price_operating_points(per_1000: pd.DataFrame, prevalence: float, prices: Prices = EXAMPLES) -> pd.DataFrame:
    """The cost sheet: what 1,000 children would cost at each operating point, cheapest first.

    Treating all and treating none, which need no model, are listed with them. All with the prediction PNEUMONIA count
    as read by a radiologist and treated.

    Returns: a frame (operating_point, missed, needlessly_treated, referred, cost).
    Raises: PneumoniaError for a prevalence that the table does not have.
    """
    rows = per_1000[np.isclose(per_1000["prevalence"], prevalence)]
    if rows.empty:
        known = ", ".join(f"{100 * share:g} %" for share in sorted(per_1000["prevalence"].unique()))
        raise PneumoniaError(f"per_1000.csv: no prevalence of {100 * prevalence:g} %; it has {known}")
    sheet = rows.pivot(index="operating_point", columns="quantity", values="value")[list(QUANTITIES[:3])]
    sheet.loc["no model: treat all"] = count_row(prevalence, treat_all=True)
    sheet.loc["no model: treat none"] = count_row(prevalence, treat_all=False)
    sheet["cost"] = sheet.to_numpy() @ np.array(prices)
    return sheet.sort_values("cost", kind="stable").rename_axis(columns=None).reset_index()


def count_row(prevalence: float, treat_all: bool) -> list[float]:
    """missed, needlessly_treated and referred when PNEUMONIA is predicted for all children, or for none."""
    outcomes = count_outcomes(np.array(float(treat_all)), np.array(float(not treat_all)), prevalence)
    return [float(outcomes[quantity]) for quantity in QUANTITIES[:3]]


def describe(results: Results) -> dict:
    """p5, p15, p30, p62 and `default`, the one that is shown where only one is: .prevalence, .pneumonia, .normal, and
    .<point>.missed, .needlessly_treated, .referred with _interval; .<point>.found and .cleared are the rest of each
    class, .to_confirm what is predicted PNEUMONIA, all of them whole children that add up. shares: the four in order;
    prices, read_all.
    """
    table = results.table("per_1000")
    found: dict = {}
    for prevalence, rows in table.groupby("prevalence"):
        children = round(CHILDREN * prevalence)
        numbers: dict = {
            "prevalence": spell_prevalence(prevalence),
            "pneumonia": str(children),
            "normal": str(CHILDREN - children),
        }
        for row in rows.itertuples():
            point = numbers.setdefault(row.operating_point.replace("-", "_"), {})
            point[row.quantity] = f"{row.value:.0f}"
            point[f"{row.quantity}_interval"] = f"{row.ci_low:.0f} to {row.ci_high:.0f}"
        for point in rows["operating_point"].unique():
            missed, alarms = (int(numbers[point.replace("-", "_")][name]) for name in QUANTITIES[:2])
            whole = {"found": children - missed, "cleared": CHILDREN - children - alarms}
            whole["to_confirm"] = whole["found"] + alarms
            numbers[point.replace("-", "_")] |= {name: str(count) for name, count in whole.items()}
        found[f"p{int(100 * prevalence)}"] = numbers
    found |= {"default": found[f"p{int(100 * DEFAULT_PREVALENCE)}"], "shares": [*found.values()]}
    prices = [f"{name.replace('_', ' ')} {price:,.0f}" for name, price in EXAMPLES._asdict().items()]
    return found | {"prices": ", ".join(prices), "read_all": f"{CHILDREN * EXAMPLES.radiologist_read:,.0f}"}


def spell_prevalence(share: float) -> str:
    """ "15 %", "62.5 %"."""
    return f"{100 * share:g} %"


def tabulate_per_1000(results: Results) -> Table:
    """Children missed and false alarms at each operating point, a row per prevalence."""
    table, rows = results.table("per_1000"), []
    points = list(dict.fromkeys(table["operating_point"]))
    for prevalence, of_share in table.groupby("prevalence"):
        cells = of_share.set_index(["operating_point", "quantity"])
        ends = [cells.loc[(point, quantity)] for point in points for quantity in QUANTITIES[:2]]
        children = round(CHILDREN * prevalence)
        counts = [f"{row['value']:.0f} ({row['ci_low']:.0f} to {row['ci_high']:.0f})" for row in ends]
        rows.append([spell_prevalence(prevalence), str(children), str(CHILDREN - children), *counts])
    head = [f"{what}, {point}" for point in points for what in ("missed", "false alarms")]
    return Table(["prevalence", "pneumonia", "normal", *head], rows)


def tabulate_costs(results: Results) -> Table:
    """What 1,000 children cost at example prices, a row per prevalence; the cheapest way is bold."""
    table, rows = results.table("per_1000"), []
    for prevalence in table["prevalence"].unique():
        costs = price_operating_points(table, prevalence).set_index("operating_point")["cost"]
        costs = costs[["screening", "balanced", "rule-in", "no model: treat all", "no model: treat none"]]
        cells = [f"**{cost:,.0f}**" if name == costs.idxmin() else f"{cost:,.0f}" for name, cost in costs.items()]
        rows.append([spell_prevalence(prevalence), *cells])
    return Table(["prevalence", *costs.index], rows)


# Okabe & Ito (2008), and a gray; the orange is too light for words.
FOUND, MISSED, ALARM, CLEARED, ALARM_TEXT = "#0072B2", "#D55E00", "#E69F00", "#A9B7C4", "#A66F00"
ROWS = 25  # children above each other: every one of PREVALENCES then fills whole columns
GAP = 2  # empty columns between the children with pneumonia and the normal ones


def draw_per_1000(results: Results) -> Drawing:
    """A child a mark, at DEFAULT_PREVALENCE and the threshold HALF."""
    children, final = describe(results)["default"], results.title(results.final_model)
    counts = children["balanced"]
    title = (
        f"Of {CHILDREN:,} children, {children['prevalence']} of them with pneumonia, {final} would miss "
        f"{counts['missed']} of {children['pneumonia']} and raise a false alarm for "
        f"{counts['needlessly_treated']} of {children['normal']}"
    )
    note = (
        f"Rates of the ensemble on test at threshold {HALF}; that they hold at this prevalence is an assumption. 95 % "
        f"intervals: {counts['missed_interval']} missed, {counts['needlessly_treated_interval']} false "
        "alarms. Squares are errors."
    )
    figure = new_figure(title, note, height=5.6)
    ax = figure.add_subplot()
    ill, alarms = int(children["pneumonia"]), int(counts["needlessly_treated"])
    plot_children(ill, int(counts["missed"]), alarms, ax)
    words = {"missed": "missed", "found": "found", "needlessly_treated": "false alarms", "cleared": "cleared"}
    label_children([f"{counts[name]}\n{word}" for name, word in words.items()], ax)
    return figure


def plot_children(ill: int, missed: int, alarms: int, ax: Axes | None = None) -> Axes:
    """CHILDREN marks in ROWS rows: those with pneumonia at the left, errors on top, as squares.

    The ticks are the middles of the four groups: missed and found at the left, ill and normal below.
    """
    ax = own_axes(ax)
    wide = ill // ROWS
    blocks = ((0, ill, missed, (MISSED, FOUND)), (wide + GAP, CHILDREN - ill, alarms, (ALARM, CLEARED)))
    for left, size, errors, (wrong, right) in blocks:
        row, column = np.divmod(np.arange(size), size // ROWS)
        for chosen, colour, mark in ((slice(errors), wrong, "s"), (slice(errors, None), right, "o")):
            ax.scatter(left + column[chosen], row[chosen], 34, colour, marker=mark, linewidths=0)
    ax.set(xlim=(-0.7, CHILDREN // ROWS + GAP - 0.3), ylim=(ROWS - 0.3, -0.7), aspect="equal")
    middles = [(wide - 1) / 2, wide + GAP + (CHILDREN // ROWS - wide - 1) / 2]
    ax.set_xticks(middles, [f"{ill} with pneumonia", f"{CHILDREN - ill} normal"], size=14)
    ax.set_xlabel(f"one mark is one of {CHILDREN:,} imaged children", color=GRAY, labelpad=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return ax


def label_children(labels: list[str], ax: Axes) -> None:
    """Beside the groups of `plot_children`: missed and found at the left, false alarms and cleared at the right."""
    heights, edge = (1, ROWS / 2 + 1), ax.get_xlim()[1]
    ax.set_yticks(heights, labels[:2], size=17, weight="bold")
    for height, label in zip(heights, labels[2:], strict=True):
        ax.text(edge + 0.5, height, label, size=17, weight="bold", va="center")
    for text, colour in zip([*ax.get_yticklabels(), *ax.texts], (MISSED, FOUND, ALARM_TEXT, GRAY), strict=True):
        text.set_color(colour)


STUDY = Study(
    compute_per_1000,
    describe,
    figures={
        "per_1000": Figure(
            draw_per_1000,
            "1,000 marks, one a child: pneumonias found and missed, normal children cleared, false alarms",
        )
    },
    tables={"per_1000": tabulate_per_1000, "costs": tabulate_costs},
)
