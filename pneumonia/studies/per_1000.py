"""Of 1,000 children, how many would be missed or treated needlessly, and at what cost? Prices can be changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

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
from ..style import GRAY, model_colours, new_figure, own_axes
from .study import Figure, Study, Table

CHILDREN = 1000
PREVALENCES = (0.05, 0.15, 0.30, 0.625)  # of pneumonia among the imaged children; the last is that of the test split
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
    """p5, p15, p30, p62: .<point>.missed, .needlessly_treated, .referred with _interval; prices, read_all."""
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
        found[f"p{int(100 * prevalence)}"] = numbers
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


LABELS = {"missed": "pneumonias missed", "needlessly_treated": "false alarms", "referred": "PNEUMONIA predicted"}


def draw_per_1000(results: Results) -> Drawing:
    table, final = results.table("per_1000"), results.final_model
    points = list(dict.fromkeys(table["operating_point"]))
    order = [(share, point) for share in PREVALENCES for point in points]
    middle = table.query("prevalence == 0.3 and operating_point == 'balanced'").set_index("quantity")["value"]
    title = (
        f"If 30 % of {CHILDREN:,} imaged children had pneumonia, {results.title(final)} would miss "
        f"{middle['missed']:.0f} of 300 and predict it for {middle['needlessly_treated']:.0f} of 700 normal children"
    )
    note = (
        f"Title: threshold {HALF}. Rates of the ensemble on test; bars: 95 % intervals over patients. Screening and "
        "rule-in thresholds come from validation and its stress copies. Prevalences are examples; 62.5 % is that of "
        "the test split."
    )
    figure = new_figure(title, note, height=6.6)
    axes = figure.subplots(1, 3, sharey=True)
    colour = model_colours(results.run)[final]
    for ax, (quantity, label) in zip(axes, LABELS.items(), strict=True):
        rows = table[table["quantity"] == quantity].set_index(["prevalence", "operating_point"])
        plot_counts(rows.loc[order], colour, ax)
        ax.set_xlabel(f"{label} (per {CHILDREN:,})")
        for height in range(len(points), len(order), len(points)):
            ax.axhline(height - 0.5, color=GRAY, linewidth=0.8)
    axes[0].set_yticklabels([f"prevalence {spell_prevalence(share)}, {point}" for share, point in order], size=12)
    return figure


def plot_counts(rows: pd.DataFrame, colour: str, ax: Axes | None = None) -> Axes:
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


STUDY = Study(
    compute_per_1000,
    describe,
    figures={
        "per_1000": Figure(
            draw_per_1000, "Dots: pneumonias missed, false alarms and PNEUMONIA predicted per 1,000 children"
        )
    },
    tables={"per_1000": tabulate_per_1000, "costs": tabulate_costs},
)
