"""What the final model would cost or save: calls per 1,000 children, net benefit, and a cost sheet with open prices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from .config import PneumoniaError
from .evaluation import DECIMALS, SplitScores, load_scores
from .metrics import bootstrap_weights, percentile_interval, threshold_metrics
from .operating import REFERENCE_PREVALENCE, choose_operating_points, rebase

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
