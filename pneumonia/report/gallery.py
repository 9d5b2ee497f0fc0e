"""Every plot of the project: result files -> images/<stem>.png.

A new figure: write a function Results -> matplotlib Figure in a module here, and enter it in FIGURES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure

from ..config import PneumoniaError
from ..results import Results
from ..studies.ablation import draw_ablation
from ..studies.attribution import draw_suspects
from ..studies.commands import command_for
from ..studies.decision import draw_decision_curve, draw_per_1000
from ..studies.learning_curve import draw_more_data
from ..studies.masking import draw_masking
from ..studies.pareto import draw_pareto
from ..studies.published import draw_published
from ..studies.robustness import draw_robustness
from ..studies.speed import draw_bench
from ..studies.subgroups import draw_subgroups
from ..studies.three_class import draw_three_class
from ..style import mark_simulated, new_figure, use_style, write_png
from .comparison import draw_comparison, draw_confusion_matrices, draw_generalisation_gap
from .counts import draw_class_counts, draw_small_validation
from .curves import draw_learning_curves, draw_roc_pr
from .mistakes import draw_gradcam, draw_worst_mistakes
from .probabilities import draw_calibration, draw_threshold_curve
from .radiographs import draw_augmented_batch, draw_examples, draw_mean_images, draw_twins

# All pictures together stay below 2.2 MB: they are embedded in the notebook.
CHART_BYTES, RADIOGRAPH_BYTES = 70_000, 165_000


@dataclass(frozen=True)
class Figure:
    """One plot: how it is drawn, whether that takes radiographs or weights, and what it shows, in words."""

    function: Callable[[Results], matplotlib.figure.Figure]
    needs_radiographs: bool
    alt: str
    table: str = ""  # of results.MEASURED; without it a placeholder is drawn


FIGURES: dict[str, Figure] = {
    "class_counts": Figure(
        draw_class_counts, False, "Bars: radiographs and patients per split and class, PNEUMONIA parted by kind"
    ),
    "examples": Figure(draw_examples, True, "Chest radiographs side by side: NORMAL, bacterial and viral pneumonia"),
    "mean_images": Figure(draw_mean_images, True, "Mean radiograph of each class, and their difference as a map"),
    "small_validation": Figure(
        draw_small_validation, False, "Curve: width of the 95 % interval of an accuracy against number of radiographs"
    ),
    "augmented_batch": Figure(draw_augmented_batch, True, "Train radiographs, each beside its augmented versions"),
    "twins": Figure(draw_twins, True, "Two validation radiographs, each beside its altered twins"),
    "suspects": Figure(
        draw_suspects,
        False,
        "Table: ROC AUC and specificity of each network on validation and on altered copies of it",
        table="attribution",
    ),
    "ablation": Figure(
        draw_ablation,
        False,
        "Dots: ROC AUC and test accuracy of one network as cures are added and exchanged",
        table="ablation",
    ),
    "learning_curves": Figure(
        draw_learning_curves, False, "Curves: loss and accuracy on train and validation per epoch, for each network"
    ),
    "Comparison": Figure(
        draw_comparison, False, "Dots with intervals: accuracy, recall, specificity and ROC AUC of every model on test"
    ),
    "confusion_matrices": Figure(
        draw_confusion_matrices, False, "Confusion matrices of the networks on test, counts and percent"
    ),
    "roc_pr": Figure(draw_roc_pr, False, "ROC and precision-recall curves of every model on test"),
    "calibration": Figure(
        draw_calibration, False, "Reliability diagrams on validation and test, with histograms of the probabilities"
    ),
    "generalisation_gap": Figure(
        draw_generalisation_gap, False, "Dots: accuracy and specificity of each model on validation, twins and test"
    ),
    "threshold_curve": Figure(
        draw_threshold_curve, False, "Curves: sensitivity and specificity of the final model against the threshold"
    ),
    "gradcam": Figure(
        draw_gradcam, True, "Test radiographs the final model got right and wrong, with maps of where it looked"
    ),
    "worst_mistakes": Figure(draw_worst_mistakes, True, "The test radiographs on which the final model was most wrong"),
    "subgroups": Figure(
        draw_subgroups, False, "Dots: sensitivity per kind of pneumonia, specificity per normal series", "subgroups"
    ),
    "published": Figure(
        draw_published, False, "Dots: published accuracies beside the final model's interval", "published_comparisons"
    ),
    "per_1000": Figure(
        draw_per_1000, False, "Dots: missed, needlessly treated and referred children per 1,000", "per_1000"
    ),
    "decision_curve": Figure(
        draw_decision_curve, False, "Curves: net benefit of the model, treat-all and treat-none", "decision_curve"
    ),
    "robustness": Figure(
        draw_robustness, False, "Heat map: accuracy of every model under sixteen corruptions", "robustness"
    ),
    "masking": Figure(draw_masking, False, "Table: ROC AUC of every model with parts of the film hidden", "masking"),
    "more_data": Figure(draw_more_data, False, "Curves: error against patients, with a power law", "learning_curve"),
    "pareto": Figure(draw_pareto, False, "Dots: accuracy against CPU minutes, with the front", "pareto"),
    "three_class": Figure(
        draw_three_class, False, "Confusion of normal, bacterial and viral; accuracy beside two outputs", "three_class"
    ),
    "bench": Figure(
        draw_bench,
        False,
        "Dots and bars: speed of reading radiographs and of training, beside the usual ways",
        table="bench",
    ),
}


def build_figure(results: Results, stem: str) -> matplotlib.figure.Figure:
    """The figure in the style of the project, marked when the run is simulated; nothing is written.

    Raises: PneumoniaError for an unknown stem, or when radiographs or weights that it needs are missing.
    """
    if stem not in FIGURES:
        raise PneumoniaError(f"unknown figure '{stem}'; known: {', '.join(FIGURES)}")
    with use_style():
        figure = FIGURES[stem].function(results) if can_be_drawn(results, stem) else draw_placeholder(stem)
        if results.run.is_simulated:
            mark_simulated(figure)
    return figure


def draw_placeholder(stem: str) -> matplotlib.figure.Figure:
    """Stands where a figure would be whose table was not measured in this run, and says how to measure it."""
    table = FIGURES[stem].table
    title = f"{stem}: not measured in this run"
    return new_figure(title, f"`{command_for(table)}` makes results/{table}.csv.", height=2.0)


def draw_figure(results: Results, stem: str, folder: Path | None = None) -> Path:
    """Write <stem>.png into `folder`, default images/; the same results give the same bytes.

    Returns: its path. Raises: as `build_figure`.
    """
    figure = build_figure(results, stem)
    limit = RADIOGRAPH_BYTES if FIGURES[stem].needs_radiographs else CHART_BYTES
    with use_style():
        return write_png(figure, (folder or results.run.images_dir) / f"{stem}.png", limit)


def draw_all(results: Results, with_radiographs: bool = True) -> list[Path]:
    """Write every figure that was measured, or only those of them that need neither radiographs nor weights.

    The other files stay as they are.
    """
    stems = [stem for stem, figure in FIGURES.items() if with_radiographs or not figure.needs_radiographs]
    return [draw_figure(results, stem) for stem in stems if can_be_drawn(results, stem)]


def can_be_drawn(results: Results, stem: str) -> bool:
    """Whether the table that a figure needs was measured."""
    return FIGURES[stem].table in ("", *results.measured)
