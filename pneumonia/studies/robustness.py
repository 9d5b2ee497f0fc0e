"""What if another machine had taken the test radiographs? Corrupted in sixteen ways, resampled in four, as copies."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from ..config import Run
from ..evaluation.estimate import Estimate, percent
from ..evaluation.metrics import HALF
from ..results import Results
from ..style import new_figure
from ..transforms.corruptions import CORRUPTIONS, SEVERITIES, SIDE, corrupt
from .conditions import Boxes, Condition, Measured, measure_conditions, score_conditions, tabulate_conditions
from .drawing import name_rows, shade_cells, text_colour
from .study import Figure, Study

REFERENCE = "basic_cnn"  # whose errors are 1 in the corruption error
CLEAN, ALL = "none", "mean of all"
REALISTIC = 3  # radiographs of a hospital may well reach this severity
RESAMPLING = {  # by OpenCV; all but "area" are without antialiasing, as in many loaders
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
}
COPIES = (64, 96, 128, 160)  # pixels per side of smaller copies, in which the archive is passed on too


def build_conditions() -> list[Condition]:
    """As they are, resampled in four ways, from smaller copies, and under 16 corruptions of five severities."""
    plain = [Condition(CLEAN, 0, lambda images, digests: images)]
    plain += [
        Condition(f"resampled {name}", 0, lambda images, digests: images, partial(resample, method=method))
        for name, method in RESAMPLING.items()
    ]
    plain += [Condition(f"copy of {side} px", 0, partial(copy_at, side=side)) for side in COPIES]
    return plain + [
        Condition(name, severity, partial(corrupt, name=name, severity=severity))
        for name in CORRUPTIONS
        for severity in SEVERITIES
    ]


def copy_at(images: np.ndarray, digests: list[str], side: int) -> np.ndarray:
    """Copies (n, side, side) of images (n, h, w), antialiased: the file that a model is handed."""
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])


def resample(images: np.ndarray, size: int, boxes: Boxes, method: int) -> np.ndarray:
    """A box of each image (n, h, w), rounded to whole pixels, -> (n, size, size) by one of OpenCV's methods."""
    whole = np.rint(boxes).astype(int)
    parts = [image[top:bottom, left:right] for image, (left, top, right, bottom) in zip(images, whole, strict=True)]
    return np.stack([cv2.resize(part, (size, size), interpolation=method) for part in parts])


def compute_robustness(run: Run, catalog: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Accuracy, sensitivity, specificity and ece of every model and condition: mean probability of its seeds, at 0.5.

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
        ratios = {name: _corruption_error(measured, model, name) for name in CORRUPTIONS}
        for name, (value, samples) in ratios.items():
            found[model, name, 0, "corruption_error"] = Measured(value, samples, cells[0].seeds)
        values, samples = zip(*ratios.values(), strict=True)
        found[model, ALL, 0, "corruption_error"] = Measured(
            float(np.mean(values)), np.mean(samples, axis=0), cells[0].seeds
        )
    return found


def _corruption_error(measured: dict[tuple, Measured], model: str, name: str) -> tuple[float, np.ndarray]:
    """Errors of a model over the severities of one corruption, as a share of those of REFERENCE."""
    ours, theirs = (
        [measured[who, name, severity, "accuracy"] for severity in SEVERITIES] for who in (model, REFERENCE)
    )
    values = [sum(1 - cell.value for cell in cells) for cells in (ours, theirs)]
    samples = [sum(1 - cell.samples for cell in cells) for cells in (ours, theirs)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.divide(*values)), np.divide(*samples)


def find_worst(table: pd.DataFrame, model: str, up_to: int = REALISTIC, metric: str = "accuracy") -> pd.Series:
    """The row of the lowest `metric` of a model among corruptions of severity 1 to `up_to`."""
    rows = table.query("model == @model and metric == @metric and 1 <= severity <= @up_to")
    return rows.loc[rows["value"].idxmin()]


def find_worst_resampling(table: pd.DataFrame, model: str) -> tuple[str, float]:
    """(method, change of the accuracy in points) of the resampling under which accuracy changes most."""
    rows = table.query("model == @model and metric == 'accuracy'").set_index("condition")["value"]
    moved = {name: 100 * (rows[f"resampled {name}"] - rows[CLEAN]) for name in RESAMPLING}
    worst = max(moved, key=lambda name: abs(moved[name]))
    return worst, float(moved[worst])


def describe(results: Results) -> dict[str, str]:
    """worst (corruption), error (over all of them), resampling, copies (smaller files)."""
    table, final, title = results.table("robustness"), results.final_model, results.title(results.final_model)
    rates = table[table["model"] == final].set_index(["condition", "severity", "metric"])["value"]
    worst, least_found, extreme = (
        find_worst(table, final, up_to, metric)
        for up_to, metric in ((REALISTIC, "accuracy"), (REALISTIC, "sensitivity"), (len(SEVERITIES), "accuracy"))
    )
    sensitivity, specificity = (
        percent(rates[worst["condition"], worst["severity"], metric]) for metric in ("sensitivity", "specificity")
    )
    method, moved = find_worst_resampling(table, final)
    return {
        "worst": f"The worst case up to severity {REALISTIC} of {len(SEVERITIES)} is {worst['condition']} "
        f"at severity {worst['severity']}: {Estimate.of_row('accuracy', worst).full} accuracy instead of "
        f"{percent(rates[CLEAN, 0, 'accuracy'])}, with a sensitivity of {sensitivity} and a specificity of "
        f"{specificity}. Sensitivity is lowest under {least_found['condition']} (severity {least_found['severity']}: "
        f"{Estimate.of_row('accuracy', least_found).full}). At the highest severity, accuracy falls to "
        f"{percent(extreme['value'])} "
        f"({extreme['condition']}).",
        "resampling": f"The way of resampling moves the accuracy of {title} by at most {abs(moved):.1f} points "
        f"({method}).",
        "copies": describe_copies(table, final),
        "error": describe_errors(results, table),
    }


def describe_copies(table: pd.DataFrame, final: str) -> str:
    """The range of the accuracy over smaller copies of the same files."""
    rows = table.query("model == @final and metric == 'accuracy'").set_index("condition")["value"]
    known = {f"{SIDE}-px files": rows[CLEAN]} | {f"{side} px": rows[f"copy of {side} px"] for side in COPIES}
    worst, best = min(known, key=known.get), max(known, key=known.get)
    return (
        f"Read from copies of {COPIES[0]} to {SIDE} pixels per side, its accuracy is between {percent(known[worst])} "
        f"({worst}) and {percent(known[best])} ({best})."
    )


def describe_errors(results: Results, table: pd.DataFrame) -> str:
    """The corruption error, and the same ratio without corruption, which may be much lower."""
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


def average_severities(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy (0-1), mean over severities: models by corruption."""
    return _pivot(table, "model")


def by_severity(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Accuracy (0-1) of one model: severities by corruption."""
    return _pivot(table[table["model"] == model], "severity")


def _pivot(table: pd.DataFrame, index: str) -> pd.DataFrame:
    rows = table[(table["metric"] == "accuracy") & (table["severity"] > 0)]
    cells = rows.pivot_table(index=index, columns="condition", values="value", sort=False)
    return cells[[name for name in CORRUPTIONS if name in cells]]


def draw_robustness(results: Results) -> Drawing:
    table, final = results.table("robustness"), results.final_model
    worst = find_worst(table, final)
    clean = table.query("model == @final and condition == @CLEAN and metric == 'accuracy'")["value"].iloc[0]
    title = (
        f"Up to severity {REALISTIC} of {len(SEVERITIES)}, {worst['condition']} is worst: {results.title(final)} "
        f"falls from {percent(clean)} to {percent(worst['value'])} accuracy{_compare_errors(results, table)}"
    )
    note = f"Accuracy on test in percent at threshold {HALF}. Above: mean of all severities."
    figure = new_figure(title, note, height=7.0)
    models, severities = average_severities(table), by_severity(table, final)
    upper, lower = figure.subplots(2, 1, height_ratios=(len(models), len(severities)), sharex=True)
    plot_percent(models, upper)
    plot_percent(severities, lower)
    upper.tick_params(labelbottom=False)
    name_rows(upper, results, models.index, 2.6)
    names = [f"severity {level}" for level in severities.index]
    lower.set_yticks(range(len(severities)), names, size=12, weight="bold")
    lower.set_xlabel(f"corruption; below the gap: {results.title(final)} by severity")
    return figure


def plot_percent(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shares of 1 as shade and as whole percent; rows and columns as in the frame."""
    ax = shade_cells(table, ax)
    for (row, column), value in np.ndenumerate(table.to_numpy(dtype=float)):
        ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", size=12, color=text_colour(value))
    ax.set_xticks(range(len(table.columns)), table.columns, rotation=90)
    return ax


def _compare_errors(results: Results, table: pd.DataFrame) -> str:
    """The end of the title: the mean corruption error of the final model, if there is a network to compare with."""
    chosen = (table["metric"] == "corruption_error") & (table["condition"] == ALL)
    rows = table[chosen].set_index("model")["value"]
    if results.final_model not in rows.index or results.final_model == REFERENCE:
        return ""
    return f"; all in all it errs {rows[results.final_model]:.2f} times as often as {results.title(REFERENCE)}"


STUDY = Study(
    compute_robustness,
    describe,
    figures={"robustness": Figure(draw_robustness, "Heat map: accuracy of every model under sixteen corruptions")},
    looks_at_test="robustness: the test split corrupted and resampled, models as they were",
)
