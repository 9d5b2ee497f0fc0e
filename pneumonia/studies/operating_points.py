"""Which threshold for which purpose, and when to ask a radiologist? The maths is in evaluation/operating_points."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..evaluation.estimate import Estimate, percent
from ..evaluation.metrics import HALF
from ..evaluation.operating_points import WANTED, compute_operating_points
from ..evaluation.probability import predictive_values
from ..results import Results
from ..style import GRAY, SPLIT_LINES, SPLIT_TITLES, model_colours, new_figure, own_axes
from .study import Figure, Study, Table

POINTS = ("screening", "balanced", "rule-in")
PREVALENCES = (0.05, 0.30)  # at which PPV and NPV are shown: a general clinic, a ward of children with a cough
THRESHOLDS = np.linspace(0, 1, 401)


def describe(results: Results) -> dict:
    """screening, balanced, rule_in, conformal_90 ...: .low and .high (thresholds), .<split>.<metric> (estimates).

    wanted: the sensitivity that screening, and the specificity that rule-in, must have where thresholds are chosen.
    """
    found: dict = {"wanted": percent(WANTED, 0)}
    for _, row in results.table("operating_points").iterrows():
        point = found.setdefault(row["point"].removesuffix(" %").replace("-", "_").replace(" ", "_"), {})
        point |= {"low": f"{row['low']:.3f}", "high": f"{row['high']:.3f}"}
        point.setdefault(row["split"], {})[row["metric"]] = Estimate.of_row("accuracy", row)
    return found


def _on_test(results: Results) -> pd.DataFrame:
    return results.table("operating_points").query("split == 'test'").set_index(["point", "metric"])


def tabulate_operating(results: Results) -> Table:
    """The three operating points on test, and PPV and NPV at other prevalences."""
    table, rows = _on_test(results), []
    for point in POINTS:
        rates = [
            Estimate.of_row("accuracy", table.loc[(point, name)]) for name in ("sensitivity", "specificity", "accuracy")
        ]
        values = [predictive_values(float(rates[0]), float(rates[1]), prevalence) for prevalence in PREVALENCES]
        pairs = [f"{percent(ppv)} / {percent(npv)}" for ppv, npv in values]
        rows.append([point, f"{table.loc[point, 'low'].iloc[0]:.3f}", *(rate.full for rate in rates), *pairs])
    shares = [f"PPV / NPV at a prevalence of {percent(prevalence, 0)}" for prevalence in PREVALENCES]
    return Table(["operating point", "threshold", "sensitivity", "specificity", "accuracy", *shares], rows)


def tabulate_referral(results: Results) -> Table:
    """The referral bands on test: how many radiographs are referred, and how well the others are predicted."""
    table, rows = _on_test(results), []
    for point in (name for name in table.index.unique("point") if name.startswith("conformal")):
        band = f"{table.loc[point, 'low'].iloc[0]:.3f} to {table.loc[point, 'high'].iloc[0]:.3f}"
        metrics = ("referred", "accuracy", "sensitivity", "specificity")
        cells = [Estimate.of_row("accuracy", table.loc[(point, metric)]).full for metric in metrics]
        rows.append([point.removeprefix("conformal "), band, *cells])
    head = ["coverage asked for", "referred between", "share referred", "accuracy on the rest", "sensitivity"]
    return Table([*head, "specificity"], rows)


def draw_threshold_curve(results: Results) -> Drawing:
    final, colour = results.final_model, model_colours(results.run)[results.final_model]
    splits = [split for split in SPLIT_LINES if len(results.scores.ensemble(final, split))]
    curves = {split: compute_threshold_curve(results.scores.ensemble(final, split)) for split in splits}
    names = ("sensitivity", "specificity", "sensitivity@chosen", "specificity@chosen", "threshold")
    *values, chosen = (results.estimate(final, "test", name).value for name in names)
    sensitivity, specificity, sensitivity_then, specificity_then = (percent(value) for value in values)
    title = (
        f"From threshold {HALF:.2f} to the chosen {chosen:.2f}, test sensitivity goes from {sensitivity} to "
        f"{sensitivity_then} and specificity from {specificity} to {specificity_then}"
    )
    chosen_on = "The threshold is chosen on validation and its stress copies."
    note = f"{results.title(final)}, probabilities averaged over seeds. {chosen_on}"
    figure = new_figure(title, note, height=5.8)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, metric, of in zip(axes, ("sensitivity", "specificity"), ("PNEUMONIA", "NORMAL"), strict=True):
        plot_threshold_curve(curves, metric, colour, ax)
        mark_thresholds(chosen, ax)
        ax.set(xlabel="threshold on the probability of PNEUMONIA", ylabel=f"{metric} (% of {of})", xlim=(0, 1))
        ax.set_title(metric, pad=24)
    axes[0].legend(loc="lower left")
    return figure


def compute_threshold_curve(frame: pd.DataFrame) -> pd.DataFrame:
    """sensitivity and specificity in percent at each of THRESHOLDS (the index)."""
    y_prob, positive = frame["y_prob"].to_numpy(), frame["label"].to_numpy() == 1
    pneumonia, normal = np.sort(y_prob[positive]), np.sort(y_prob[~positive])
    sensitivity = 1 - np.searchsorted(pneumonia, THRESHOLDS, side="left") / len(pneumonia)
    specificity = np.searchsorted(normal, THRESHOLDS, side="left") / len(normal)
    return pd.DataFrame({"sensitivity": 100 * sensitivity, "specificity": 100 * specificity}, index=THRESHOLDS)


def plot_threshold_curve(curves: dict[str, pd.DataFrame], metric: str, colour: str, ax: Axes | None = None) -> Axes:
    """One line per split: the metric (percent) against the threshold."""
    ax = own_axes(ax)
    for split, curve in curves.items():
        ax.plot(curve.index, curve[metric], SPLIT_LINES[split], color=colour, label=SPLIT_TITLES[split], linewidth=2.2)
    return ax


def mark_thresholds(chosen: float, ax: Axes) -> None:
    """HALF and the chosen threshold as vertical lines, labelled above the axes so that the labels cannot overlap."""
    right = chosen >= HALF
    for threshold, text, shade in ((HALF, f"{HALF}", GRAY), (chosen, f"chosen: {chosen:.2f}", "black")):
        ax.axvline(threshold, color=shade, linewidth=1.2)
        outwards = "left" if (threshold == chosen) == right else "right"
        side = outwards if 0.25 < threshold < 0.75 else ("right" if right else "left")
        ax.text(threshold, 1.01, f" {text} ", ha=side, va="bottom", color=shade, transform=ax.get_xaxis_transform())


STUDY = Study(
    compute_operating_points,
    describe,
    figures={
        "threshold_curve": Figure(
            draw_threshold_curve, "Curves: sensitivity and specificity of the final model against the threshold"
        )
    },
    tables={"operating": tabulate_operating, "referral": tabulate_referral},
)
