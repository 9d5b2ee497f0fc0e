"""ROC and precision-recall curves: roc_pr."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from ...evaluation.metrics import HALF, average_precision, compute_counts, roc_auc
from ...results import Results
from ...style import model_colours, new_figure, own_axes, wrap


def plot_roc(frame: pd.DataFrame, colour: str, ax: Axes | None = None, **line) -> Axes:
    """ROC curve of an ensemble frame (label, y_prob), the operating point at HALF as a dot."""
    ax = own_axes(ax)
    false_alarms, hits, _ = roc_curve(frame["label"], frame["y_prob"])
    ax.plot(100 * false_alarms, 100 * hits, color=colour, **line)
    (tn, fp), (fn, tp) = compute_counts(frame, HALF)
    ax.plot(
        100 * fp / (tn + fp), 100 * tp / (tp + fn), "o", color=colour, markersize=8, markeredgecolor="white", zorder=4
    )
    return ax


def plot_precision_recall(frame: pd.DataFrame, colour: str, ax: Axes | None = None, **line) -> Axes:
    """Precision against recall of an ensemble frame, the operating point at HALF as a dot."""
    ax = own_axes(ax)
    ppv, recall, _ = precision_recall_curve(frame["label"], frame["y_prob"])
    ax.plot(100 * recall, 100 * ppv, color=colour, drawstyle="steps-post", **line)
    (_, fp), (fn, tp) = compute_counts(frame, HALF)
    if tp + fp:
        ax.plot(
            100 * tp / (tp + fn),
            100 * tp / (tp + fp),
            "o",
            color=colour,
            markersize=8,
            markeredgecolor="white",
            zorder=4,
        )
    return ax


def describe_ranking(results: Results, scores: dict[str, float]) -> str:
    """The ROC AUC of the final model beside that of the best baseline, if there is one."""
    final = results.final_model
    text = f"{results.title(final)} has a test ROC AUC of {scores[final]:.3f}"
    baselines = [config.name for config in results.run.models if not config.is_cnn]
    if not baselines:
        return text
    best = max(baselines, key=scores.__getitem__)
    return f"{text}; the best baseline, {results.title(best)}, has {scores[best]:.3f}"


def draw_roc_pr(results: Results) -> Figure:
    colours = model_colours(results.run)
    frames = {config.name: results.scores.ensemble(config.name, "test") for config in results.run.models}
    scores = {name: roc_auc(frame["label"], frame["y_prob"]) for name, frame in frames.items()}
    note = f"Probabilities averaged over the seeds of each model. Dots: threshold {HALF}. Dashed: baselines."
    figure = new_figure(describe_ranking(results, scores), note, height=5.8)
    left, right, legend = figure.subplots(1, 3, width_ratios=(1, 1, 0.62))
    for config in results.run.models:
        frame, colour = frames[config.name], colours[config.name]
        width = 3 if config.name == results.final_model else 1.8
        line = {"linestyle": "-" if config.is_cnn else "--", "linewidth": width}
        plot_roc(frame, colour, left, **line)
        plot_precision_recall(frame, colour, right, **line)
        precision = average_precision(frame["label"], frame["y_prob"])
        label = f"{wrap(config.title, 2.1, 11)}\nAUC {scores[config.name]:.3f}, AP {precision:.3f}"
        legend.plot([], [], color=colour, label=label, **line)
    legend.axis("off")
    legend.legend(loc="center left", bbox_to_anchor=(-0.1, 0.5), borderaxespad=0, labelspacing=0.9)
    floor = 100 * frames[results.final_model]["label"].mean()  # the precision of predicting PNEUMONIA for every child
    left.set(title="ROC", xlabel="1 - specificity (% of NORMAL)", ylabel="sensitivity (% of PNEUMONIA)")
    right.set(
        title="precision and recall", xlabel="recall (% of PNEUMONIA)", ylabel="precision = PPV (% of predictions)"
    )
    left.set(xlim=(-2, 102), ylim=(-2, 102))
    right.set(xlim=(-2, 102), ylim=(floor - 4, 101.5))
    return figure
