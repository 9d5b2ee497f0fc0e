"""The studies: one question each, in a file of this folder that is named after the table that it leaves in results/.

That file says how the table is made, what is said about it, and how it is drawn. To add a study, write its file, add
its line here and test it; the command line, the figures, the pages and the tests find it in this list.

Six files here are no studies: study.py says what a study is; networks.py makes the runs of the small networks that
some train; conditions.py scores models on altered radiographs, for robustness and masking; drawing.py draws the tables
of shaded cells that they share; external.py is `evaluate --folder`, the final model on another hospital's radiographs;
recalibration.py, for it, measures drift and what re-calibration gains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .study import Question

if TYPE_CHECKING:
    from ..config import Run
    from ..results import Results

STUDIES = {
    line.name: line
    for line in (
        # from predictions.csv alone
        Question("subgroups", "report", "Which children does each model miss?"),
        Question("operating_points", "report", "Which threshold for which purpose, and when to ask a radiologist?"),
        Question(
            "per_1000", "report", "Of 1,000 children, how many would be missed or treated needlessly, and at what cost?"
        ),
        Question("decision_curve", "report", "For whom is the model better than treating every child, or none?"),
        Question("published_comparisons", "report", "Is the final model more accurate than published ones?"),
        Question("power", "report", "How many test radiographs would it take to distinguish 95 % from 96 % accuracy?"),
        Question("reading_list", "report", "Which test radiographs should somebody read again?"),
        Question("criteria", "report", "Which number, known without the test split, orders networks as it does?"),
        # measured on the radiographs alone
        Question("near_duplicates", "near-duplicates", "Is a test radiograph nearly the same picture as another one?"),
        # measured on the trained series
        Question("attribution", "attribute", "Which property of a radiograph moves each network?", "--encoding-swap"),
        Question(
            "robustness",
            "robustness",
            "What if another machine had taken the test radiographs?",
            "--seeds",
            looks_at_test=True,
        ),
        Question(
            "masking",
            "masking",
            "How well do the models do with parts of the radiograph hidden?",
            "--seeds",
            looks_at_test=True,
        ),
        Question("outliers", "export", "Does the final model notice what is not a child's chest radiograph?"),
        Question("heatmap_checks", "export", "Can the heatmaps be believed?"),
        # with small networks of their own, whose weights stay in build/
        Question(
            "ablation",
            "ablation",
            "What does each augmentation of the recipe contribute?",
            looks_at_test=True,
        ),
        Question("noise_control", "noise-control", "Can the label be read from noise of a file's original size?"),
        Question("learning_curve", "learning-curve", "Would more radiographs help?", looks_at_test=True),
        Question("pareto", "pareto", "Would more compute help?", looks_at_test=True),
        Question(
            "three_class",
            "three-class",
            "Can a network distinguish bacterial from viral pneumonia?",
            looks_at_test=True,
        ),
        # measured from outside
        Question("bench", "python -m bench", "How fast are reading and training, compared with the usual tools?"),
        Question("predict_bench", "python -m bench --only predict", "How fast are new radiographs read?"),
    )
}


def load_results(run: Run) -> Results:
    """All result files of a run, and the tables of the studies that are there and current.

    Raises: PneumoniaError when a file is missing, or when they were made with another catalog or configuration.
    """
    from ..results import read_results, read_run_record  # not where the command line is only asked for help

    record = read_run_record(run)
    return read_results(run, {name: question.digest(record) for name, question in STUDIES.items()})
