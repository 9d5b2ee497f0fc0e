"""Every figure of the project: result files -> images/<stem>.png.

Each is a function Results -> matplotlib Figure: those of a study are listed in its own file, all others in CORE below.
Comparison.png is drawn in the notebook, where its code is to be seen.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure

from ...config import PneumoniaError
from ...results import Results
from ...studies import STUDIES
from ...studies.study import Figure, Question
from ...style import mark_simulated, new_figure, use_style, write_png
from .calibration import draw_calibration
from .comparison import draw_confusion_matrices, draw_generalisation_gap
from .counts import draw_class_counts
from .curves import draw_roc_pr
from .mistakes import draw_worst_mistakes
from .radiographs import draw_augmented_batch, draw_examples, draw_mean_images, draw_stress_copies

CORE = {
    "class_counts": Figure(
        draw_class_counts, "Bars: radiographs and patients per split and class, PNEUMONIA split by kind"
    ),
    "examples": Figure(draw_examples, "Chest radiographs side by side: NORMAL, bacterial and viral pneumonia", True),
    "mean_images": Figure(draw_mean_images, "Mean radiograph of each class, and their difference as a map", True),
    "augmented_batch": Figure(draw_augmented_batch, "Train radiographs, each beside its augmented versions", True),
    "stress_copies": Figure(draw_stress_copies, "Two validation radiographs, each beside its stress copies", True),
    "confusion_matrices": Figure(
        draw_confusion_matrices, "Confusion matrices of the networks on test, counts and percent"
    ),
    "roc_pr": Figure(draw_roc_pr, "ROC and precision-recall curves of every model on test"),
    "calibration": Figure(
        draw_calibration, "Reliability diagrams on validation and test, with histograms of the probabilities"
    ),
    "generalisation_gap": Figure(
        draw_generalisation_gap,
        "Dots: accuracy and specificity of each model on validation, its stress copies and test",
    ),
    "worst_mistakes": Figure(draw_worst_mistakes, "The test radiographs on which the final model was most wrong", True),
}


QUESTIONS = {stem: question for question in STUDIES.values() for stem in question.load().figures}  # figure -> its study
FIGURES = CORE | {stem: question.load().figures[stem] for stem, question in QUESTIONS.items()}


def build_figure(results: Results, stem: str) -> matplotlib.figure.Figure:
    """The figure in the style of the project, marked when the run is simulated; nothing is written.

    Raises: PneumoniaError for an unknown stem, or when radiographs or weights that it needs are missing.
    """
    if stem not in FIGURES:
        raise PneumoniaError(f"unknown figure '{stem}'; known: {', '.join(FIGURES)}")
    with use_style():
        figure = FIGURES[stem].draw(results) if can_be_drawn(results, stem) else draw_placeholder(QUESTIONS[stem])
        if results.run.is_simulated:
            mark_simulated(figure)
    return figure


def draw_placeholder(question: Question) -> matplotlib.figure.Figure:
    """In place of a figure whose table was not measured in this run: how to measure it."""
    note = f"`{question.command}` makes results/{question.name}.csv."
    return new_figure(f"{question.name}: not measured in this run", note, height=2.0)


def can_be_drawn(results: Results, stem: str) -> bool:
    """Whether the table that a figure needs was measured."""
    return stem in CORE or QUESTIONS[stem].name in results.measured


def draw_figure(results: Results, stem: str, folder: Path | None = None) -> Path:
    """Write <stem>.png into `folder`, default images/; the same results give the same bytes.

    Returns: its path. Raises: as `build_figure`.
    """
    figure = build_figure(results, stem)
    with use_style():
        return write_png(
            figure, (folder or results.run.images_dir) / f"{stem}.png", true_gray=FIGURES[stem].needs_radiographs
        )


def draw_all(results: Results, with_radiographs: bool = True) -> list[Path]:
    """Write every figure that was measured, or only those of them that need neither radiographs nor weights.

    The other files stay as they are.
    """
    stems = [stem for stem, figure in FIGURES.items() if with_radiographs or not figure.needs_radiographs]
    return [draw_figure(results, stem) for stem in stems if can_be_drawn(results, stem)]
