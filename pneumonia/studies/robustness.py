"""Every model on the official test split as other machines would have delivered it: results/robustness.csv."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..config import Run
from ..evaluation.estimate import Estimate, percent
from ..evaluation.metrics import HALF
from ..results import Results
from ..style import new_figure, own_axes, wrap
from ..transforms.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from .conditions import Condition, Measured, measure_conditions, score_conditions, tabulate_conditions
from .masking import LOWEST

REFERENCE = "basic_cnn"  # whose errors are 1 in the corruption error
CLEAN, ALL = "none", "mean of all"
REALISTIC = 3  # up to this severity a hospital may well deliver it
RESAMPLING = {  # as OpenCV does it: but for "area" without antialiasing, which is what many loaders do
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
}


def build_conditions() -> list[Condition]:
    """The radiographs as they are, resampled in four ways, and under 16 corruptions of five severities."""
    plain = [Condition(CLEAN, 0, lambda images, digests: images)]
    plain += [
        Condition(f"resampled {name}", 0, lambda images, digests: images, partial(resample, method=method))
        for name, method in RESAMPLING.items()
    ]
    return plain + [
        Condition(name, severity, partial(corrupt, name=name, severity=severity))
        for name in CORRUPTIONS
        for severity in SEVERITIES
    ]


def resample(images: np.ndarray, size: int, method: int) -> np.ndarray:
    """(n, h, w) -> (n, size, size) by one of OpenCV's methods."""
    return np.stack([cv2.resize(image, (size, size), interpolation=method) for image in images])


def compute_robustness(run: Run, catalog: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Accuracy, sensitivity, specificity and ece (mean over seeds, threshold 0.5) of every model and condition.

    Rows of metric "corruption_error" are relative to REFERENCE (Hendrycks & Dietterich 2019): the errors over five
    severities, over those of REFERENCE, per corruption and as their mean; 1 is as bad, 0 is perfect.
    Returns: a frame with conditions.COLUMNS. Raises as `score_conditions`.
    """
    scored = score_conditions(run, catalog, split, build_conditions())
    measured = measure_conditions(scored, run.bootstrap_draws)
    return tabulate_conditions(measured | compute_corruption_errors(measured), split, len(scored.rows))


def compute_corruption_errors(measured: dict[tuple, Measured]) -> dict[tuple, Measured]:
    """(model, corruption or ALL, 0, "corruption_error") -> Measured, and the mean accuracy over all corruptions."""
    models = list(dict.fromkeys(model for model, *_ in measured))
    found = {}
    for model in models:
        cells = [measured[model, name, severity, "accuracy"] for name in CORRUPTIONS for severity in SEVERITIES]
        mean = np.mean([cell.value for cell in cells]), np.mean([cell.samples for cell in cells], axis=0)
        found[model, ALL, 0, "accuracy"] = Measured(float(mean[0]), mean[1], cells[0].seeds)
        if REFERENCE not in models:
            continue
        ratios = {name: _error(measured, model, name) for name in CORRUPTIONS}
        for name, (value, samples) in ratios.items():
            found[model, name, 0, "corruption_error"] = Measured(value, samples, cells[0].seeds)
        values, samples = zip(*ratios.values(), strict=True)
        found[model, ALL, 0, "corruption_error"] = Measured(
            float(np.mean(values)), np.mean(samples, axis=0), cells[0].seeds
        )
    return found


def find_worst(table: pd.DataFrame, model: str, up_to: int = REALISTIC, metric: str = "accuracy") -> pd.Series:
    """The row of the lowest `metric` of a model among corruptions of severity 1 to `up_to`."""
    rows = table.query("model == @model and metric == @metric and 1 <= severity <= @up_to")
    return rows.loc[rows["value"].idxmin()]


def describe_resampling(table: pd.DataFrame, model: str) -> tuple[str, float]:
    """(method, change of the accuracy in points) of the resampling that moves a model most from how it was trained."""
    rows = table.query("model == @model and metric == 'accuracy'").set_index("condition")["value"]
    moved = {name: 100 * (rows[f"resampled {name}"] - rows[CLEAN]) for name in RESAMPLING}
    worst = max(moved, key=lambda name: abs(moved[name]))
    return worst, float(moved[worst])


def _error(measured: dict[tuple, Measured], model: str, name: str) -> tuple[float, np.ndarray]:
    """Errors of a model over the severities of one corruption, as a share of those of REFERENCE."""
    ours, theirs = (
        [measured[who, name, severity, "accuracy"] for severity in SEVERITIES] for who in (model, REFERENCE)
    )
    values = [sum(1 - cell.value for cell in cells) for cells in (ours, theirs)]
    samples = [sum(1 - cell.samples for cell in cells) for cells in (ours, theirs)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(*values)), np.divide(*samples)


RESAMPLING_LIMIT = 1.0  # points of accuracy that the way of resampling may move


def describe_robustness(results: Results, table: pd.DataFrame) -> dict[str, str]:
    final, title = results.final_model, results.title(results.final_model)
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
        f"at severity {worst['severity']}: {Estimate.of_row('accuracy', worst).full} accuracy instead of "
        f"{percent(rates[CLEAN, 0, 'accuracy'])}, with a sensitivity of {sensitivity} and a specificity of "
        f"{specificity}. "
        f"Sensitivity is lowest under {blind['condition']} (severity {blind['severity']}: "
        f"{Estimate.of_row('sensitivity', blind).full}). At the highest severity, accuracy falls to "
        f"{percent(extreme['value'])} ({extreme['condition']}).",
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
        f"{Estimate.of_row('accuracy', mean.loc[(final, 'accuracy')]).full}, and it errs {ratio['value']:.2f} times "
        f"({ratio['ci_low']:.2f} to {ratio['ci_high']:.2f}) as often as {results.title(REFERENCE)}; "
        f"on untouched radiographs {untouched:.2f} times."
    )


def plot_shares(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shares of 1 as shade and as whole percent; rows and columns as in the frame."""
    ax = own_axes(ax)
    values = table.to_numpy(dtype=float)
    ax.imshow(values, cmap="cividis", vmin=LOWEST, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.75 else "white"
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", size=12, color=colour)
    ax.set_xticks(range(len(table.columns)), table.columns, rotation=90)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def compute_heat(table: pd.DataFrame, model: str | None = None) -> pd.DataFrame:
    """Accuracy (0-1): models by corruption, mean over severities; or of one model, severities by corruption."""
    rows = table[(table["metric"] == "accuracy") & (table["severity"] > 0)]
    index = "model" if model is None else "severity"
    rows = rows if model is None else rows[rows["model"] == model]
    heat = rows.pivot_table(index=index, columns="condition", values="value", sort=False)
    return heat[[name for name in CORRUPTIONS if name in heat]]


def describe_corruption_error(results: Results, table: pd.DataFrame) -> str:
    """The mean corruption error of the final model, if there is a network to measure it by."""
    chosen = (table["metric"] == "corruption_error") & (table["condition"] == ALL)
    rows = table[chosen].set_index("model")["value"]
    if results.final_model not in rows.index or results.final_model == REFERENCE:
        return ""
    return f"; all in all it errs {rows[results.final_model]:.2f} times as often as {results.title(REFERENCE)}"


def draw_robustness(results: Results) -> Figure:
    table, final = results.table("robustness"), results.final_model
    worst = find_worst(table, final)
    clean = table.query("model == @final and condition == 'none' and metric == 'accuracy'")["value"].iloc[0]
    title = (
        f"Up to severity {REALISTIC} of {len(SEVERITIES)}, {worst['condition']} is worst: {results.title(final)} "
        f"falls from {percent(clean)} to {percent(worst['value'])} accuracy"
        f"{describe_corruption_error(results, table)}"
    )
    note = f"Accuracy on test in percent at threshold {HALF}, mean over seeds. Above: mean of all severities."
    figure = new_figure(title, note, height=7.0)
    models, severities = compute_heat(table), compute_heat(table, final)
    upper, lower = figure.subplots(2, 1, height_ratios=(len(models), len(severities)), sharex=True)
    plot_shares(models, upper)
    plot_shares(severities, lower)
    upper.tick_params(labelbottom=False)
    upper.set_yticks(range(len(models)), [wrap(results.title(name), 2.6, 12) for name in models.index], size=12)
    for label, name in zip(upper.get_yticklabels(), models.index, strict=True):
        label.set_weight("bold" if name == final else "normal")
    lower.set_yticks(
        range(len(severities)), [f"severity {level}" for level in severities.index], size=12, weight="bold"
    )
    lower.set_xlabel(f"corruption; below the gap: {results.title(final)} by severity")
    return figure
